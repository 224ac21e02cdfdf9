import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

@Suite struct FailureTests {
  private func code(_ answer: Answer) -> String? {
    let error = try? JSONDecoder().decode(CallError.self, from: Data(answer.body))
    #expect(error?.code == answer.header("x-apus-error"))
    #expect(error?.call == answer.header("x-call-id"))
    return error?.code
  }

  @Test func `unknown paths and functions are 404 with a body that says so`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      for path in ["/", "/function/nope", "/function/echo.other", "/system/functions"] {
        let answer = try await clients.request(.GET, path)
        #expect(answer.status == 404)
        #expect(code(answer) == "function_not_found")
      }
      #expect(try await clients.request(.GET, "/healthz").text == "ok\n")
    }
  }

  @Test func `a full queue answers 429 with Retry-After`() async throws {
    try await withGateway([makeRoute(queueLimit: 1, queueTimeout: .seconds(30))]) {
      (platform, gateway, clients) async throws in
      platform.state.withLock { $0.autoStart = false }
      let waiting = Task { try await clients.request(.GET, "/function/echo") }
      let queued = await eventually {
        gateway.metricsText().contains("apus_gateway_queue_depth{function=\"default/echo\"} 1")
      }
      #expect(queued)
      let refused = try await clients.request(.GET, "/function/echo")
      #expect(refused.status == 429)
      #expect(code(refused) == "queue_full")
      #expect(refused.header("retry-after") == "1")
      await platform.startPod("echo", "echo-00001")
      #expect(try await waiting.value.status == 200)
    }
  }

  @Test func `who waits too long gets queue_timeout`() async throws {
    try await withGateway([makeRoute(queueTimeout: TimeSpan(milliseconds: 200))]) {
      (platform, _, clients) async throws in
      platform.state.withLock { $0.autoStart = false }
      let late = try await clients.request(.GET, "/function/echo")
      #expect(late.status == 503)
      #expect(code(late) == "queue_timeout")
    }
  }

  @Test func `who waits while the control plane does not answer gets no_control_plane`() async throws {
    try await withGateway([makeRoute(queueTimeout: .seconds(6))]) { (platform, _, clients) async throws in
      platform.state.withLock { $0.refusesWants = true }
      let dark = try await clients.request(.GET, "/function/echo")
      #expect(dark.status == 503)
      #expect(code(dark) == "no_control_plane")
    }
  }

  @Test func `a function that takes too long is 504, and its slot is free when the pod let go`() async throws {
    try await withGateway([makeRoute(timeout: TimeSpan(milliseconds: 150), max: 1)]) {
      (platform, _, clients) async throws in
      let late = try await clients.request(.GET, "/function/echo/hang")
      #expect(late.status == 504)
      #expect(code(late) == "function_timeout")
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      #expect(platform.pod("u1")?.counts.withLock { $0.cancelled } == 1)
      #expect(platform.pod("u1")?.counts.withLock { $0.mostRunning } == 1)
    }
  }

  @Test func `a pod that ignores the cancellation is given up, and another takes its place`() async throws {
    try await withGateway([makeRoute(timeout: TimeSpan(milliseconds: 100), max: 1)]) {
      (platform, _, clients) async throws in
      #expect(try await clients.request(.GET, "/function/echo/stubborn").status == 504)
      let answer = try await clients.request(.GET, "/function/echo")
      #expect(answer.status == 200)
      #expect(answer.header("x-pod") == "u2")
      #expect(platform.state.withLock { $0.idles.contains("u1") })
    }
  }

  @Test func `a client that goes away cancels the call and leaves the queue`() async throws {
    try await withGateway([makeRoute(max: 1)]) { (platform, gateway, clients) async throws in
      let inside = try await clients.connect()
      try await inside.send(head: .GET, "/function/echo/hang")
      try await inside.sendEnd()
      let running = await eventually { platform.pod("u1")?.counts.withLock { $0.running } == 1 }
      #expect(running)
      let waiting = try await clients.connect()
      try await waiting.send(head: .GET, "/function/echo/never")
      try await waiting.sendEnd()
      let queued = await eventually {
        gateway.metricsText().contains("apus_gateway_queue_depth{function=\"default/echo\"} 1")
      }
      #expect(queued)
      await waiting.close()
      let left = await eventually {
        gateway.metricsText().contains("apus_gateway_queue_depth{function=\"default/echo\"} 0")
      }
      #expect(left)
      await inside.close()
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      let paths = platform.pod("u1")?.counts.withLock { $0.heads.map(\.uri) } ?? []
      #expect(paths == ["/hang", "/"])
    }
  }

  @Test func `a client that leaves in the middle of a body that is not read on leaves the queue too`() async throws {
    try await withGateway([makeRoute()]) { (platform, gateway, clients) async throws in
      platform.state.withLock { $0.autoStart = false }
      let connection = try await clients.connect()
      try await connection.send(head: .POST, "/function/echo", [("content-length", "10000000")])
      connection.channel.writeAndFlush(
        HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(repeating: 1, count: 150_000))), promise: nil)
      let depth = "apus_gateway_queue_depth{function=\"default/echo\"}"
      let queued = await eventually { gateway.metricsText().contains("\(depth) 1") }
      #expect(queued)
      await connection.close()
      let left = await eventually { gateway.metricsText().contains("\(depth) 0") }
      #expect(left)
    }
  }

  @Test(arguments: ["/die", "/crash-on-head"])
  func `a pod that dies under a call is 502 and named`(path: String) async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let answer = try await clients.request(.GET, "/function/echo\(path)")
      #expect(answer.status == 502)
      #expect(code(answer) == "pod_crashed")
      #expect(answer.text.contains("echo-00001-u1"))
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test func `an idempotent call runs once more on another pod, and only once`() async throws {
    try await withGateway([makeRoute(idempotent: true)]) { (platform, gateway, clients) async throws in
      await platform.startPod("echo", "echo-00001")
      await platform.startPod("echo", "echo-00001")
      let known = await eventually { gateway.metricsText().contains(#"function="default/echo",state="ready"} 2"#) }
      #expect(known)
      let answer = try await clients.request(.POST, "/function/echo/die", body: Array("again".utf8))
      #expect(answer.status == 502)
      let runs = ["u1", "u2"].map { uid in platform.pod(uid)?.counts.withLock { $0.heads.count } ?? 0 }
      #expect(runs == [1, 1])
    }
  }

  @Test func `an answer that breaks off is broken off for the client too`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let answer = try await clients.request(.GET, "/function/echo/die-in-answer")
      #expect(answer.status == 200 && !answer.complete && answer.text == "half")
    }
  }

  @Test func `what is not HTTP is bad_response`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let answer = try await clients.request(.GET, "/function/echo/garbage")
      #expect(answer.status == 502)
      #expect(code(answer) == "bad_response")
    }
  }

  @Test func `a pod that takes no connections costs nothing: the request goes to another one`() async throws {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      let dead = await platform.startPod("echo", "echo-00001")
      await dead.stopListening()
      let answer = Task { try await clients.request(.POST, "/function/echo", body: Array("kept".utf8)) }
      await platform.startPod("echo", "echo-00001")
      let got = try await answer.value
      #expect(got.status == 200 && got.text == "kept" && got.header("x-pod") != dead.uid)
    }
  }

  @Test func `failed starts are told with their message`() async throws {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      platform.state.withLock { $0.autoStart = false }
      let call = Task { try await clients.request(.GET, "/function/echo") }
      let asked = await eventually { !platform.state.withLock { $0.wants.isEmpty } }
      #expect(asked)
      platform.send(
        .startFailed(
          StartFailure(
            namespace: "default", function: "echo", code: .startFailed, message: "exit 1: no module named x",
            attempts: 3)))
      let answer = try await call.value
      #expect(answer.status == 502)
      #expect(code(answer) == "start_failed")
      #expect(answer.text.contains("no module named x"))
    }
  }

  @Test func `bodies above maxBody are 413, announced or not`() async throws {
    try await withGateway([makeRoute(maxBody: 1000)]) { (_, _, clients) async throws in
      let announced = try await clients.request(.POST, "/function/echo", body: [UInt8](repeating: 1, count: 1001))
      #expect(announced.status == 413)
      #expect(code(announced) == "body_too_large")
      let connection = try await clients.connect()
      try await connection.send(head: .POST, "/function/echo", [("transfer-encoding", "chunked")])
      try await connection.send(body: [UInt8](repeating: 1, count: 1001))
      #expect(try await connection.inbox.next().status == 413)
      await connection.close()
      #expect(
        try await clients.request(.POST, "/function/echo", body: [UInt8](repeating: 1, count: 1000)).status == 200)
    }
  }

  @Test func `a deleted function is 404 at once`() async throws {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      let before = try await clients.request(.GET, "/function/echo")
      #expect(before.status == 200)
      platform.remove("echo")
      let gone = await eventually { (try? await clients.request(.GET, "/function/echo").status) == 404 }
      #expect(gone)
    }
  }

  @Test(arguments: [
    (
      "POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
      "400"
    ),
    ("POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", "400"),
    ("POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nabcd", "400"),
    ("POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400"),
    ("POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400"),
    ("POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", "400"),
    ("POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400"),
    ("POST /function/echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
    ("POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", "400"),
    ("GET /function/echo HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", "400"),
    ("GET /function/echo HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", "400"),
    ("GET /function/echo HTTP/1.1\nHost: h\n\n", "400"),
    ("GET /function/echo HTTP/1.1\r\nHost: h\r\nX: a\nY: b\r\n\r\n", "400"),
    ("GET /function/echo HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n", "400"),
    ("GET /function/echo HTTP/1.1\r\nHost: h\r\nX: a\u{0}b\r\n\r\n", "400"),
    ("GET /function/echo HTTP/1.1\r\n\r\n", "400"),
    ("GET /function/echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
    ("GET /function/echo HTTP/2.0\r\nHost: h\r\n\r\n", "400"),
    ("GET /function/ec ho HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
    ("NONSENSE\r\n\r\n", "400"), ("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "405"),
    ("TRACE /function/echo HTTP/1.1\r\nHost: h\r\n\r\n", "405"),
  ])
  func `what two servers could read in two ways is refused and not forwarded`(text: String, status: String) async throws
  {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      let pod = await platform.startPod("echo", "echo-00001")
      let (got, closed) = try await clients.raw(text)
      #expect(closed, "\(text.debugDescription) hangs: \(got)")
      let lines = got.components(separatedBy: "HTTP/1.1 ").dropFirst()
      #expect(lines.count == 1 && lines.first?.hasPrefix(status) == true, "\(text.debugDescription) → \(got)")
      let complete = pod.counts.withLock { $0.served }
      #expect(complete == 0, "\(text.debugDescription) was forwarded")
    }
  }

  @Test func `heads that are too large are refused`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let line = "X: \(String(repeating: "a", count: 40_000))\r\n"
      let large = try await clients.raw("GET /function/echo HTTP/1.1\r\nHost: h\r\n\(line)\r\n")
      #expect(large.0.hasPrefix("HTTP/1.1 431"))
      let many = (0..<10_000).map { "X-\($0): a\r\n" }.joined()
      let crowded = try await clients.raw("GET /function/echo HTTP/1.1\r\nHost: h\r\n\(many)\r\n")
      #expect(crowded.0.hasPrefix("HTTP/1.1 431") || (crowded.0.isEmpty && crowded.closed))
      let long = try await clients.raw(
        "GET /function/echo/\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nHost: h\r\n\r\n")
      #expect(long.0.hasPrefix("HTTP/1.1 414"))
    }
  }
}
