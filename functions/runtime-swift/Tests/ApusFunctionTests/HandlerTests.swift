import Testing

@testable import ApusFunction

@Suite struct HandlerTests {
  struct Greeter: FunctionHandler {
    struct Refused: Error {}

    func handle(_ event: Event, _ context: Context) async throws -> Response {
      print("greeting", event.text)
      await Task.yield()
      if event.query["fail"] == "yes" { throw Refused() }
      if event.path == "/stream" {
        return .stream { writer in
          try await writer.write("a")
          print("streaming")
          try await writer.write("b")
        }
      }
      return "Hello, \(event.text)!"
    }
  }

  @Test("a handler's text is the answer, what it prints a frame")
  func text() throws {
    let wire = Wire()
    HandlerRunner(Greeter()).run(
      try wire.call("POST / HTTP/1.1\r\nHost: x\r\nX-Call-Id: c\r\nContent-Length: 3\r\n\r\nAda"))
    #expect(wire.received().hasSuffix("Content-Length: 11\r\n\r\nHello, Ada!"))
    #expect(wire.lines() == [#"{"call":"c","stream":"stdout","line":"greeting Ada"}"#])
  }

  @Test("an error is a 500 that names its type")
  func failure() throws {
    let wire = Wire()
    HandlerRunner(Greeter()).run(try wire.call("GET /?fail=yes HTTP/1.1\r\nHost: x\r\n\r\n"))
    #expect(wire.received().contains("X-Function-Error: Refused\r\n"))
    #expect(wire.lines().count == 2)
  }

  @Test("a stream is sent piece by piece under the same call")
  func stream() throws {
    let wire = Wire()
    HandlerRunner(Greeter()).run(try wire.call("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"))
    #expect(wire.received().hasSuffix("\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"))
    #expect(wire.lines().last == #"{"stream":"stdout","line":"streaming"}"#)
  }

  @Test("the query is decoded, a broken escape stays")
  func query() {
    let event = Event(rawQuery: "a=1&b=%C3%A9+x&a=2&c&d=%zz&=e")
    #expect(event.query == ["a": "1", "b": "é x", "c": "", "d": "%zz", "": "e"])
  }

  @Test("header look-ups ignore case and join what is repeated")
  func headers() {
    var headers: Headers = ["Accept": "a"]
    headers.append("ACCEPT", "b")
    #expect(headers["accept"] == "a, b")
    headers["Accept"] = nil
    #expect(headers["accept"] == nil)
  }

  @Test("a cancelled call runs its action, also when it came late")
  func cancellation() {
    let cancellation = Cancellation()
    cancellation.cancel()
    var output = CallExecutor().run { () async -> Bool in
      await withCheckedContinuation { continuation in
        cancellation.onCancel { continuation.resume(returning: true) }
      }
    }
    #expect(output)
    output = cancellation.isCancelled
    #expect(output)
  }
}
