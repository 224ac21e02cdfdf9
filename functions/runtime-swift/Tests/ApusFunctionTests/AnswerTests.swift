import Glibc
import Testing

@testable import ApusFunction

@Suite struct AnswerTests {
  @Test("a text is answered with its length and type, and the connection goes on")
  func text() throws {
    let wire = Wire()
    let call = try wire.call("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nAdaGET")
    #expect(try call.readBody() == Array("Ada".utf8))
    try call.answer(status: 200, headers: ["Content-Type": "text/plain"], body: Array("hi".utf8))
    #expect(wire.received() == "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi")
    #expect(call.keepAlive)
    #expect(call.buffer == Array("GET".utf8))
  }

  @Test("more of a body is waited for through pauses that end other reads, and no longer than there is a client")
  func pauses() throws {
    let wire = Wire()
    var pause = timeval(tv_sec: 0, tv_usec: 20_000)
    setsockopt(wire.theirs, SOL_SOCKET, SO_RCVTIMEO, &pause, socklen_t(MemoryLayout<timeval>.size))
    let call = try wire.call("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n", maxBody: 8)
    let mine = wire.mine
    let started = CallThreads().start {
      usleep(100_000)  // the pause under test: five times as long as a read waits
      _ = Sockets.sendAll(mine, Array("late".utf8)[...])
      shutdown(mine, Int32(SHUT_WR))
    }
    #expect(started)
    var body: [UInt8] = []
    #expect(try !call.takeBody(into: &body))
    #expect(call.receiveMore(100))
    #expect(try !call.takeBody(into: &body))
    #expect(body == Array("late".utf8) && !call.receiveMore(100))
  }

  @Test("HEAD and 204 carry no body")
  func bodiless() throws {
    let wire = Wire()
    try wire.call("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").answer(status: 200, headers: [:], body: [1, 2, 3])
    #expect(wire.received() == "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
    try wire.call("GET / HTTP/1.1\r\nHost: x\r\n\r\n").answer(status: 204, headers: [:], body: [1])
    #expect(wire.received() == "HTTP/1.1 204 No Content\r\n\r\n")
  }

  @Test("a stream is chunked, and ends with the connection for HTTP/1.0")
  func streams() throws {
    let wire = Wire()
    let call = try wire.call("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(try call.beginStream(status: 200, headers: [:]))
    #expect(call.writer.send(Array("piece".utf8)))
    call.finishStream()
    #expect(wire.received() == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npiece\r\n0\r\n\r\n")
    let old = try wire.call("GET / HTTP/1.0\r\n\r\n")
    #expect(try old.beginStream(status: 200, headers: [:]))
    #expect(old.writer.send(Array("piece".utf8)))
    old.finishStream()
    #expect(wire.received() == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npiece")
    #expect(!old.keepAlive)
  }

  @Test("a header that could forge another is refused, framing fields are dropped")
  func headers() throws {
    let wire = Wire()
    let call = try wire.call("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(throws: InvalidResponse.self) {
      try call.answer(status: 200, headers: ["A": "b\r\nSet-Cookie: c"], body: [])
    }
    #expect(throws: InvalidResponse.self) { try call.answer(status: 200, headers: ["A B": "c"], body: []) }
    #expect(throws: InvalidResponse.self) { try call.answer(status: 99, headers: [:], body: []) }
    try call.answer(status: 200, headers: ["Content-Length": "9", "Connection": "close"], body: [])
    #expect(wire.received() == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
  }

  @Test("a failed call is a 500 and one error record")
  func failure() throws {
    let wire = Wire()
    let call = try wire.call("GET / HTTP/1.1\r\nHost: x\r\nX-Call-Id: c1\r\n\r\n")
    call.fail(kind: "Wrong", message: "Wrong: \"so\"")
    let answer = wire.received()
    #expect(answer.hasPrefix("HTTP/1.1 500 Internal Server Error\r\n"))
    #expect(answer.contains("X-Function-Error: Wrong\r\n"))
    #expect(
      answer.hasSuffix(
        #"{"code":"function_failed","message":"Wrong: \"so\"","component":"function","call":"c1"}"#))
    #expect(
      wire.lines() == [
        #"{"call":"c1","stream":"stderr","level":"error","msg":"Wrong: \"so\"","fields":{"error":"Wrong"}}"#
      ])
  }

  @Test("a body over the limit is refused, in one piece or in chunks")
  func tooLarge() throws {
    let wire = Wire()
    let heads = [
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n",
    ]
    for head in heads {
      let call = try wire.call(head, maxBody: 10)
      do throws(Call.BodyError) {
        _ = try call.readBody()
        Issue.record("it was read")
      } catch {
        guard case .refused(let bad) = error else { throw error }
        #expect(bad.status == 413)
      }
    }
  }

  @Test("an interim answer asks for the body once")
  func expectsContinue() throws {
    let wire = Wire()
    let call = try wire.call("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    var body: [UInt8] = []
    #expect(try !call.takeBody(into: &body))
    #expect(try !call.takeBody(into: &body))
    #expect(wire.received() == "HTTP/1.1 100 Continue\r\n\r\n")
  }
}
