export function handle(event, context) {
  const name = event.text.trim() || 'world';
  context.log.info('greeting', { characters: name.length });
  return `Hello, ${name}!`;
}
