import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

@Suite struct ForwardingTests {
  @Test func `a request reaches the function with the headers of the contract, and the answer comes back with ours`()
    async throws
  {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      let answer = try await clients.request(
        .POST, "/function/echo/a%2Fb?x=%20y",
        [
          ("x-call-id", "my-call"), ("x-apus-secret", "1"), ("connection", "x-hop"), ("x-hop", "1"),
          ("x-forwarded-for", "10.0.0.1"),
        ], body: Array("hello".utf8))
      #expect(answer.status == 200)
      #expect(answer.text == "hello")
      #expect(answer.header("x-path") == "/a%2Fb?x=%20y")
      #expect(answer.header("x-call-id") == "my-call")
      #expect(answer.header("x-apus-error") == nil, "a function cannot forge a platform error")
      #expect(answer.header("x-duration-seconds")?.wholeMatch(of: /\d+\.\d{6}/) != nil)
      let head = platform.pod("u1")?.counts.withLock { $0.heads.first }
      let headers = head?.headers ?? [:]
      #expect(headers["host"] == ["gateway.test"])
      #expect(headers["x-call-id"] == ["my-call"])
      #expect(headers["x-apus-secret"].isEmpty && headers["x-hop"].isEmpty && headers["connection"].isEmpty)
      #expect(headers["x-forwarded-for"] == ["10.0.0.1, 127.0.0.1"])
      #expect(headers["x-forwarded-host"] == ["gateway.test"])
      #expect(headers["x-forwarded-proto"] == ["http"])
      #expect(headers["x-forwarded-prefix"] == ["/function/echo"])
      #expect(headers["forwarded"] == ["for=127.0.0.1;host=\"gateway.test\";proto=http"])
      let trace = Array((headers["traceparent"].first ?? "").utf8)
      #expect(trace.withUnsafeBytes { HeaderRules.isTraceparent($0) })
      let deadline = headers["x-apus-deadline"].first.flatMap { Int64($0) } ?? 0
      let left = deadline - Timestamp.now().milliseconds
      #expect(left > 20_000 && left <= 30_000)
    }
  }

  @Test func `a call without an id gets a UUIDv7`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let answer = try await clients.request(.GET, "/function/echo", [("x-call-id", "not allowed!")])
      #expect(
        answer.header("x-call-id")?.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/)
          != nil)
    }
  }

  @Test func `connections are kept on both sides`() async throws {
    try await withGateway([makeRoute()], threads: 1) { (platform, _, clients) async throws in
      let connection = try await clients.connect()
      for number in 0..<50 {
        let answer = try await connection.request(.POST, "/function/echo", body: Array("n\(number)".utf8))
        #expect(answer.text == "n\(number)")
      }
      #expect(platform.pod("u1")?.counts.withLock { $0.connections } == 1)
      await connection.close()
    }
  }

  @Test func `pipelined requests are answered in order`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      var text = ""
      for number in 0..<20 {
        text += "POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nn-\(number + 10)"
      }
      let (got, _) = try await clients.raw(text, until: "n-29")
      let order = got.matches(of: /n-(\d\d)/).map { String($0.1) }
      #expect(order == (10..<30).map(String.init))
    }
  }

  @Test func `a small answer does not pass the rest of a large one that its client has not taken`() async throws {
    try await withGateway([makeRoute(concurrency: 4)]) { (_, _, clients) async throws in
      let host = "HTTP/1.1\r\nHost: h\r\n"
      let requests = (0..<20).map { "POST /function/echo \(host)Content-Length: 4\r\n\r\nn-\($0 + 10)" }
      let text = "GET /function/echo/large \(host)\r\n" + requests.joined()
      let reader = try await clients.slowReader(text + "GET /function/echo \(host)Connection: close\r\n\r\n")
      let size = try await reader.readAll()
      // The last byte of the large body stands before the first small answer.
      let bytes = reader.bytes
      let end = String(decoding: bytes.suffix(16 * 1024), as: UTF8.self)
      let small = end.drop { $0 == "l" }
      #expect(end.hasPrefix("l") && small.hasPrefix("HTTP/1.1 200"), "\(small)")
      #expect(small.matches(of: /n-(\d\d)/).map { String($0.1) } == (10..<30).map(String.init))
      #expect(
        size - small.utf8.count > 8_000_000 && String(decoding: bytes.prefix(12), as: UTF8.self) == "HTTP/1.1 200")
    }
  }

  @Test func `bodies stream both ways in chunks`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let answer = try await clients.request(.GET, "/function/echo/chunked")
      #expect(answer.text == "one,two,three")
      let connection = try await clients.connect()
      try await connection.send(head: .POST, "/function/echo/stream", [("transfer-encoding", "chunked")])
      try await connection.send(body: Array("ping".utf8))
      // The answer to the first part is here before the second is sent.
      let first = await eventually { connection.inbox.partial?.text == "ping" }
      #expect(first)
      try await connection.send(body: Array("pong".utf8))
      try await connection.sendEnd()
      #expect(try await connection.inbox.next().text == "pingpong")
      await connection.close()
    }
  }

  @Test func `a mebibyte goes there and back unharmed`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      var random = SeededGenerator(seed: 5)
      let body = (0..<1_048_576).map { _ in UInt8.random(in: 0...255, using: &random) }
      let answer = try await clients.request(.POST, "/function/echo", body: body)
      #expect(answer.body == body)
      let connection = try await clients.connect()
      try await connection.send(head: .POST, "/function/echo/stream", [("transfer-encoding", "chunked")])
      for start in stride(from: 0, to: body.count, by: 65_536) {
        try await connection.send(body: Array(body[start..<start + 65_536]))
      }
      try await connection.sendEnd()
      #expect(try await connection.inbox.next().body == body)
      await connection.close()
    }
  }

  @Test func `a body is only read as fast as it is taken`() async throws {
    try await withGateway([makeRoute(queueTimeout: .seconds(60))]) { (platform, _, clients) async throws in
      platform.state.withLock { $0.autoStart = false }
      let connection = try await clients.connect()
      let size = 32 << 20
      try await connection.send(head: .POST, "/function/echo", [("content-length", String(size))])
      let part = [UInt8](repeating: 7, count: 1 << 20)
      let sent = Task { for _ in 0..<(size >> 20) { try await connection.send(body: part) } }
      let queued = await eventually { platform.state.withLock { !$0.wants.isEmpty } }
      #expect(queued)
      // The client cannot get rid of its body while the request waits: socket buffers hold some, the rest stays there.
      let blocked = await eventually(within: .seconds(60)) { !connection.channel.isWritable }
      #expect(blocked)
      await platform.startPod("echo", "echo-00001")
      try await sent.value
      try await connection.sendEnd()
      #expect(try await connection.inbox.next().body.count == size)
      await connection.close()
    }
  }

  @Test func `HEAD, OPTIONS and 204 have no body and keep the connection`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let connection = try await clients.connect()
      let head = try await connection.request(.OPTIONS, "/function/echo")
      #expect(head.header("x-method") == "OPTIONS")
      let empty = try await connection.request(.GET, "/function/echo/no-content")
      #expect(empty.status == 204 && empty.body.isEmpty && empty.header("transfer-encoding") == nil)
      #expect(try await connection.request(.GET, "/function/echo").status == 200)
      await connection.close()
      let (raw, _) = try await clients.raw(
        "HEAD /function/echo HTTP/1.1\r\nHost: h\r\n\r\nHEAD /function/echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
      )
      #expect(raw.components(separatedBy: "HTTP/1.1 200 OK").count == 3)
      #expect(raw.lowercased().contains("content-length: 5"))
      #expect(raw.hasSuffix("\r\n\r\n"))
    }
  }

  @Test func `the gateway itself says 100-continue when it reads the body`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let connection = try await clients.connect()
      try await connection.send(head: .POST, "/function/echo", [("content-length", "5"), ("expect", "100-continue")])
      #expect(try await connection.inbox.next().status == 100)
      try await connection.send(body: Array("later".utf8))
      try await connection.sendEnd()
      #expect(try await connection.inbox.next().text == "later")
      await connection.close()
    }
  }

  @Test func `an answer may come before the body is complete, and ends the connection`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let connection = try await clients.connect()
      try await connection.send(head: .POST, "/function/echo/early", [("content-length", "1000000")])
      try await connection.send(body: [1, 2, 3])
      let answer = try await connection.inbox.next()
      #expect(answer.status == 413 && answer.text == "early" && answer.complete)
      #expect(answer.header("connection") == "close")
      await connection.close()
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test func `HTTP 1.0 clients get an answer and the end of the connection`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let (text, closed) = try await clients.raw("GET /function/echo/chunked HTTP/1.0\r\n\r\n")
      #expect(closed)
      #expect(text.hasSuffix("one,two,three"))
      #expect(!text.lowercased().contains("transfer-encoding"))
    }
  }

  @Test func `pipelined requests keep their order whoever answers at once`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      func request(_ path: String, _ body: String) -> String {
        "POST \(path) HTTP/1.1\r\nHost: h\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
      }
      let health = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
      let text =
        request("/function/echo", "first") + health + request("/function/nope", "x")
        + request("/function/echo", "second")
        + health + health + request("/function/echo", "third") + request("/function/echo", "fourth, the last")
      let (answers, _) = try await clients.raw(text, until: "fourth, the last")
      let found = ["first", "ok\n", "function_not_found", "second", "ok\n", "ok\n", "third", "fourth, the last"]
      var rest = Substring(answers)
      for word in found {
        let place = rest.range(of: word)
        #expect(place != nil, "\(word) is missing or out of order in \(answers)")
        rest = place.map { rest[$0.upperBound...] } ?? rest
      }
      #expect(answers.components(separatedBy: "HTTP/1.1 ").count - 1 == found.count)
    }
  }

  @Test func `what follows a request for an upgrade is not collected`() async throws {
    try await withGateway([makeRoute()]) { (_, gateway, clients) async throws in
      let head = "GET /function/echo/sleep?ms=700 HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
      let flood = String(repeating: "z", count: 8 << 20)
      let (text, closed) = try await clients.raw(head + flood, within: .seconds(5))
      #expect(closed, "the connection ends after the answer, or because it sent too much: \(text.prefix(200))")
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      _ = gateway
    }
  }

  @Test func `an upgrade becomes a tunnel, and its slot is free when it ends`() async throws {
    try await withGateway([makeRoute(max: 1)]) { (platform, gateway, clients) async throws in
      let (text, _) = try await clients.raw(
        "GET /function/echo/upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly bytes",
        until: "early bytes")
      #expect(text.hasPrefix("HTTP/1.1 101"))
      #expect(text.lowercased().contains("upgrade: echo"))
      #expect(text.hasSuffix("\r\n\r\nearly bytes"))
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      #expect(platform.pod("u1")?.counts.withLock { $0.mostRunning } == 1)
      let connection = try await clients.connect()
      let refused = try await connection.request(
        .GET, "/function/echo", [("connection", "upgrade"), ("upgrade", "echo")])
      #expect(refused.status == 200 && refused.header("connection") == "close")
      _ = gateway
    }
  }

  @Test func `clients that leave as soon as they see a 101 are counted out once`() async throws {
    try await withGateway([makeRoute(max: 1)]) { (_, gateway, clients) async throws in
      for round in 0..<50 {
        let (answer, _) = try await clients.raw(
          "GET /function/echo/upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
          until: round % 2 == 0 ? "HTTP/1.1 101" : "\r\n\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 101"))
      }
      let counted = await eventually { gateway.metricsText().contains("apus_gateway_connections 0\n") }
      #expect(counted)
    }
  }

  @Test func `a pod on another host is reached through its worker`() async throws {
    let worker = try await FakeWorker()
    let platform = try FakePlatform(host: "there", worker: "127.0.0.1:\(worker.port)")
    worker.socket = { uid in platform.pod(uid)?.socket }
    try await withGateway([makeRoute()], platform: platform) { (_, _, clients) async throws in
      let connection = try await clients.connect()
      for _ in 0..<3 {
        #expect(try await connection.request(.POST, "/function/echo", body: Array("far".utf8)).text == "far")
      }
      await connection.close()
      #expect(worker.lines == ["CONNECT u1"])
      worker.refuse = true
      platform.state.withLock { $0.endpoints.values.map { $0 } }.forEach { endpoint in
        var gone = endpoint
        gone.state = .gone
        platform.publish(gone)
      }
      await platform.startPod("echo", "echo-00001")
      let slow = Task { try await clients.request(.GET, "/function/echo") }
      let tried = await eventually { worker.lines.count >= 3 }
      #expect(tried)
      worker.refuse = false
      #expect(try await slow.value.status == 200, "a refusal delivered nothing, so the request is sent again")
    }
    await worker.stop()
  }
}
