// The function that a waiting Node pod answers before it has one, so that the code of a call is compiled by then.
export async function handle(event, context) {
  console.log('warm', event.path);
  context.log.info('warm', { method: event.method });
  const { greeting = 'warm' } = event.body.length > 0 ? event.json() : {};
  return { greeting, query: event.query };
}
