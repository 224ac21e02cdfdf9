import ApusFunction

@main
struct Function: FunctionHandler {
  func handle(_ event: Event, _ context: Context) async throws -> Response {
    context.log.info("greeting", ["name": .string(event.text)])
    return "Hello, \(event.text)!"
  }
}
