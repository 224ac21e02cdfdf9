"""A function as AWS Lambda runs it: the event is what the caller's JSON says, the result is sent as JSON."""


def handler(event, context):
    name = event.get("name", "world") if isinstance(event, dict) else event
    print(f"greeting {name}, request {context.aws_request_id}")
    return {"message": f"Hello, {name}!"}
