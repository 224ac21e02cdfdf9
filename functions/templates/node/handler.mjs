export function handle(event, context) {
  context.log.info('greeting', { name: event.text });
  return `Hello, ${event.text}!`;
}
