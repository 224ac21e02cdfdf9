import ApusFunction

@main
struct Hello: FunctionHandler {
  func handle(_ event: Event, _ context: Context) async throws -> Response {
    var name = Substring(event.text)
    while name.first?.isWhitespace == true { name.removeFirst() }
    while name.last?.isWhitespace == true { name.removeLast() }
    context.log.info("greeting", ["characters": .int(name.count)])
    return "Hello, \(name.isEmpty ? "world" : name)!"
  }
}
