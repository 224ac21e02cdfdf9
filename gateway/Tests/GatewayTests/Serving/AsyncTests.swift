import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// A queue the test holds the keys of.
final class FakeQueue: CallQueue {
  struct State {
    var calls: [AsyncCall] = []
    var refusal: APIStatus?
    /// What is known of calls, by their id.
    var details: [String: CallDetail] = [:]
    var isHeld = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  let state = Mutex(State())

  func enqueue(_ call: AsyncCall) async throws(APIStatus) {
    await withCheckedContinuation { continuation in
      let goesOn = state.withLock { state in
        if state.isHeld { state.waiting.append(continuation) }
        return !state.isHeld
      }
      if goesOn { continuation.resume() }
    }
    let refusal = state.withLock { state in
      if state.refusal == nil { state.calls.append(call) }
      return state.refusal
    }
    if let refusal { throw refusal }
  }

  func result(_ id: String, owner: String) async throws(APIStatus) -> CallDetail {
    let (detail, refusal) = state.withLock { ($0.details[id], $0.refusal) }
    if let refusal { throw refusal }
    guard let detail, detail.owner == owner else {
      throw APIStatus(code: 404, reason: "NotFound", message: "not this credential's")
    }
    return detail
  }

  func hold() { state.withLock { $0.isHeld = true } }

  func letGo() {
    let waiting = state.withLock { state in
      state.isHeld = false
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  var calls: [AsyncCall] { state.withLock { $0.calls } }
}

/// `/async-function/NAME`: taken when durable, refused with a reason, and never run by the gateway itself.
@Suite struct AsyncTests {
  @Test func `a call is acknowledged only once it is durable, and carries what the function will see`() async throws {
    let queue = FakeQueue()
    try await withGateway([makeRoute()], calls: queue) { platform, _, clients in
      queue.hold()
      let connection = try await clients.connect()
      let fields = [
        ("x-call-id", "my-1"), ("content-type", "text/x"), ("connection", "x-secret"), ("x-secret", "s"),
        ("x-apus-deadline", "1"), ("x-callback-url", "https://example.com/cb"), ("x-forwarded-for", "9.9.9.9"),
        ("te", "trailers"), ("x-multi", "1"), ("x-multi", "2"),
      ]
      async let pending = connection.request(
        .POST, "/async-function/echo.default/a%2Fb?q=%20", fields, body: Array("hello".utf8))
      #expect(await eventually { queue.state.withLock { $0.waiting.count } == 1 })
      #expect(connection.inbox.state.withLock { $0.answers.isEmpty }, "nothing is said before it is durable")
      queue.letGo()
      let answer = try await pending
      #expect(answer.status == 202 && answer.body.isEmpty && answer.header("x-call-id") == "my-1")
      #expect(answer.header("x-apus-error") == nil && answer.header("content-length") == "0")
      let call = try #require(queue.calls.first)
      #expect(call.body == Array("hello".utf8) && call.head.path == "/a%2Fb?q=%20" && call.head.method == "POST")
      #expect(call.head.namespace == "default" && call.head.function == "echo")
      #expect(call.head.callback == "https://example.com/cb")
      let names = call.head.headers.map { $0.name.lowercased() }
      #expect(names.filter { $0 == "x-multi" }.count == 2)
      for name in ["x-secret", "x-apus-deadline", "x-callback-url", "te", "connection", "content-length", "x-call-id"] {
        #expect(!names.contains(name), "\(name) is not the function's")
      }
      #expect(call.head.headers.contains(CallHeader("host", "gateway.test")))
      #expect(call.head.headers.contains(CallHeader("x-forwarded-for", "9.9.9.9, 127.0.0.1")))
      #expect(try AsyncCall(encoded: call.encoded()) == call)
      #expect(platform.state.withLock { $0.wants.isEmpty && $0.pods.isEmpty }, "the gateway starts nothing for it")
      // The connection goes on, and the second call gets an id of its own.
      let second = try await connection.request(.POST, "/async-function/echo")
      #expect(second.status == 202 && queue.calls.count == 2)
      #expect(queue.calls[1].head.id == second.header("x-call-id") && queue.calls[1].head.id.count == 36)
      await connection.close()
      #expect(
        await eventually {
          platform.state.withLock { $0.lines }.contains {
            String(decoding: $0, as: UTF8.self).contains(#""status":202"#)
          }
        })
    }
  }

  @Test(arguments: [
    (409, CallErrorCode.callKnown), (429, .queueFull), (404, .functionNotFound), (507, .storageFull),
    (503, .noControlPlane), (500, .noControlPlane),
  ])
  func `what the queue refuses the client is told, with the reason`(status: Int, code: CallErrorCode) async throws {
    let queue = FakeQueue()
    queue.state.withLock { $0.refusal = APIStatus(code: status, reason: "R", message: "because") }
    try await withGateway([makeRoute()], calls: queue) { _, _, clients in
      let answer = try await clients.request(.POST, "/async-function/echo", body: [1])
      #expect(answer.status == code.status && answer.header("x-apus-error") == code.rawValue)
      #expect(answer.text.contains("because"))
      #expect((answer.header("retry-after") != nil) == (code == .queueFull))
    }
  }

  @Test func `what cannot be a call is refused before anything is kept`() async throws {
    let queue = FakeQueue()
    try await withGateway([makeRoute(), makeRoute("small", uid: "f2", maxBody: 10)], calls: queue) { _, _, clients in
      let get = try await clients.request(.GET, "/async-function/echo")
      #expect(get.status == 405 && get.header("allow") == "POST")
      #expect(try await clients.request(.POST, "/async-function/nobody").status == 404)
      #expect(try await clients.request(.POST, "/async-function/").status == 404)
      for url in ["ftp://x/", "http://", "/relative", "http://u@h/"] {
        let answer = try await clients.request(.POST, "/async-function/echo", [("x-callback-url", url)])
        #expect(answer.status == 400 && answer.header("x-apus-error") == "bad_request", "\(url)")
      }
      let long = [UInt8](repeating: 1, count: Limits.asyncBody + 1)
      #expect(try await clients.request(.POST, "/async-function/echo", body: long).status == 413)
      #expect(try await clients.request(.POST, "/async-function/small", body: Array(long[..<11])).status == 413)
      let chunk = String(repeating: "x", count: 64)
      let (chunked, _) = try await clients.raw(
        "POST /async-function/small HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n40\r\n\(chunk)\r\n",
        until: "body_too_large")
      #expect(chunked.hasPrefix("HTTP/1.1 413 "))
      #expect(queue.calls.isEmpty)
      let most = try await clients.request(.POST, "/async-function/echo", body: Array(long.dropLast()))
      #expect(most.status == 202 && queue.calls.first?.body.count == Limits.asyncBody)
    }
  }

  @Test func `bodies in chunks, 100-continue and pipelined calls are taken whole and in order`() async throws {
    let queue = FakeQueue()
    try await withGateway([makeRoute()], calls: queue) { _, _, clients in
      let (text, _) = try await clients.raw(
        """
        POST /async-function/echo HTTP/1.1\r\nhost: h\r\nx-call-id: one\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n\
        POST /async-function/echo HTTP/1.1\r\nhost: h\r\nx-call-id: two\r\ncontent-length: 1\r\n\r\nz\
        POST /async-function/echo HTTP/1.1\r\nhost: h\r\nx-call-id: three\r\nexpect: 100-continue\r\n\
        content-length: 2\r\n\r\nhi
        """, until: "X-Call-Id: three\r\n")
      #expect(text.components(separatedBy: "HTTP/1.1 202 Accepted").count == 4)
      #expect(text.contains("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202"))
      #expect(queue.calls.map(\.head.id) == ["one", "two", "three"])
      #expect(queue.calls.map { String(decoding: $0.body, as: UTF8.self) } == ["abcde", "z", "hi"])
    }
  }

  @Test func `a client that leaves in the middle of its body leaves no call; after its end the call is kept`()
    async throws
  {
    let queue = FakeQueue()
    try await withGateway([makeRoute()], calls: queue) { platform, gateway, clients in
      let half = try await clients.connect()
      try await half.send(head: .POST, "/async-function/echo", [("content-length", "10")])
      try await half.send(body: [1, 2])
      await half.close()
      queue.hold()
      let whole = try await clients.connect()
      try await whole.send(head: .POST, "/async-function/echo", [("content-length", "1"), ("x-call-id", "kept")])
      try await whole.send(body: [1])
      try await whole.sendEnd()
      #expect(await eventually { queue.state.withLock { $0.waiting.count } == 1 })
      await whole.close()
      queue.letGo()
      #expect(await eventually { queue.calls.map(\.head.id) == ["kept"] })
    }
  }

  @Test func `bodies that are not durable yet are held up to a bound, and their room comes back`() async throws {
    let queue = FakeQueue()
    let most = 4
    let body = [UInt8](repeating: 1, count: 1000)
    try await withGateway([makeRoute()], calls: queue, intakeBytes: most * body.count) { _, _, clients in
      queue.hold()
      try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<most {
          group.addTask { try await clients.request(.POST, "/async-function/echo", body: body).status }
        }
        #expect(await eventually(within: .seconds(30)) { queue.state.withLock { $0.waiting.count } == most })
        let more = try await clients.request(.POST, "/async-function/echo", body: [1])
        #expect(more.status == 429 && more.header("retry-after") == "1")
        queue.letGo()
        for try await status in group { #expect(status == 202) }
      }
      #expect(try await clients.request(.POST, "/async-function/echo", body: body).status == 202)
    }
  }

  @Test func `a gateway without a queue says so`() async throws {
    try await withGateway([makeRoute()]) { _, _, clients in
      let answer = try await clients.request(.POST, "/async-function/echo", body: [1])
      #expect(answer.status == 503 && answer.header("x-apus-error") == "no_control_plane")
    }
  }
}
