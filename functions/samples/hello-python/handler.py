def handle(event, context):
    name = event.text.strip() or "world"
    context.log.info("greeting", characters=len(name))
    return f"Hello, {name}!"
