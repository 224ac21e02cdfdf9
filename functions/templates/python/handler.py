def handle(event, context):
    context.log.info("greeting", name=event.text)
    return f"Hello, {event.text}!"
