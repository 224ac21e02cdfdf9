import ClusterModel
import ClusterTestSupport
import Foundation
import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import Synchronization
import Testing

@testable import Gateway

/// HTTP/2 over real sockets, to fake pods.
@Suite struct HTTP2ServingTests {
  @Test func `a hundred streams are open at once, and each answer carries its own nonce`() async throws {
    try await withHTTP2Client { (platform, _, client) async throws in
      var streams: [HTTP2TestStream] = []
      for number in 0..<100 {
        let stream = try await client.open()
        stream.head("POST", "/function/echo/stream?\(number)", end: false)
        stream.data([120], end: false)
        streams.append(stream)
      }
      let open = streams
      let begun = await eventually(within: .seconds(20)) {
        open.allSatisfy { $0.inbox.state.withLock { $0.text == "x" } }
      }
      #expect(begun, "all are answered before one has sent its body")
      #expect(platform.pod("u1")?.counts.withLock { $0.running } == 100)
      for (number, stream) in streams.enumerated().reversed() { stream.data(Array("nonce-\(number)".utf8), end: true) }
      for (number, stream) in streams.enumerated() {
        let answer = await stream.result()
        #expect(answer.ended && answer.text == "xnonce-\(number)")
      }
    }
  }

  @Test func `many streams one after the other on one connection all get their own answer`() async throws {
    try await withHTTP2Client { (_, _, client) async throws in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for lane in 0..<8 {
          group.addTask {
            for round in 0..<50 {
              let nonce = "\(lane)/\(round)"
              let answer = try await client.request("POST", "/function/echo", body: Array(nonce.utf8))
              #expect(answer.status == 200 && answer.text == nonce && answer.ended)
            }
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test func `bodies of a megabyte pass in both directions, with a told length and without`() async throws {
    try await withHTTP2Client { (_, _, client) async throws in
      let body = (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
      let told = try await client.request(
        "POST", "/function/echo", [("content-length", String(body.count))], body: body)
      #expect(told.status == 200 && told.body == body && told.header("content-length") == String(body.count))
      let open = try await client.request("POST", "/function/echo/stream", body: body)
      #expect(open.status == 200 && open.body == body && open.header("content-length") == nil)
      #expect(open.header("transfer-encoding") == nil && open.header("connection") == nil)
    }
  }

  @Test func `trailers pass in both directions`() async throws {
    try await withHTTP2Client { (platform, _, client) async throws in
      let answer = try await client.request(
        "POST", "/function/echo/trailers", [("te", "trailers")], body: Array("a".utf8), trailers: [("x-check", "7")])
      #expect(answer.text == "a" && answer.ended)
      #expect(answer.trailers?.first(name: "x-sum") == "42" && answer.trailers?.first(name: "x-last") == "yes")
      let seen = platform.pod("u1")?.counts.withLock { $0.trailers.map { "\($0.0)=\($0.1)" } }
      #expect(seen == ["x-check=7"])
    }
  }

  @Test func `heads are those of HTTP/1.1, without what belongs to a connection`() async throws {
    try await withHTTP2Client { (platform, _, client) async throws in
      let head = try await client.request(
        "HEAD", "/function/echo/a?b=c", [("x-a", "b"), ("cookie", "a=1"), ("cookie", "b=2")])
      #expect(head.status == 200 && head.ended && head.body.isEmpty && head.header("content-length") == "5")
      #expect(head.header("x-method") == "HEAD" && head.header("x-path") == "/a?b=c")
      #expect(head.header("x-apus-error") == nil && head.header("connection") == nil)
      #expect(head.headers.allSatisfy { name, _, _ in name == name.lowercased() })
      let seen = platform.pod("u1")?.counts.withLock { $0.heads.last }
      #expect(seen?.headers.first(name: "cookie") == "a=1; b=2" && seen?.headers.first(name: "x-a") == "b")
      #expect(seen?.headers.first(name: "x-forwarded-host") == "gateway.test")
      let none = try await client.request("GET", "/function/echo/no-content")
      #expect(none.status == 204 && none.ended && none.body.isEmpty)
      let unknown = try await client.request("GET", "/function/nobody")
      #expect(unknown.status == 404 && unknown.header("x-apus-error") == "function_not_found" && unknown.ended)
      let health = try await client.request("GET", "/healthz")
      #expect(health.status == 200 && health.text == "ok\n")
      let long = try await client.request("GET", "/function/echo/" + String(repeating: "a", count: 9000))
      #expect(long.status == 414)
    }
  }

  @Test func `an answer whose head no frame holds costs its stream, not the connection`() async throws {
    try await withHTTP2Client { (_, _, client) async throws in
      let fits = try await client.request("GET", "/function/echo/large-head?n=3500")
      #expect(fits.status == 200 && fits.header("x-large")?.count == 3500)
      let large = try await client.request("GET", "/function/echo/large-head?n=12000")
      #expect(large.reset == 2 && large.status == 0)
      #expect(try await client.request("GET", "/function/echo").status == 200)
    }
  }

  @Test func `a client that waits for 100 gets it on its stream`() async throws {
    try await withHTTP2Client { (_, _, client) async throws in
      let stream = try await client.open()
      stream.head("POST", "/function/echo", [("content-length", "2"), ("expect", "100-continue")], end: false)
      let told = await eventually { stream.inbox.state.withLock { $0.interim == [100] } }
      #expect(told)
      stream.data(Array("hi".utf8), end: true)
      let answer = await stream.result()
      #expect(answer.status == 200 && answer.text == "hi")
    }
  }

  @Test func `a stream that is reset cancels its call in the pod, and no other`() async throws {
    try await withHTTP2Client { (platform, _, client) async throws in
      let stays = try await client.open()
      stays.head("POST", "/function/echo/stream", end: false)
      let leaves = try await client.open()
      leaves.head("GET", "/function/echo/hang", end: true)
      let running = await eventually { platform.pod("u1")?.counts.withLock { $0.running } == 2 }
      #expect(running)
      leaves.reset()
      let cancelled = await eventually { platform.pod("u1")?.counts.withLock { $0.cancelled } == 1 }
      #expect(cancelled)
      stays.data(Array("still here".utf8), end: true)
      #expect(await stays.result().text == "still here")
      await client.close()
      let gone = await eventually { platform.pod("u1")?.counts.withLock { $0.running } == 0 }
      #expect(gone)
    }
  }

  @Test func `a connection that closes cancels the calls of all its streams`() async throws {
    try await withHTTP2Client { (platform, _, client) async throws in
      for _ in 0..<5 { try await client.open().head("GET", "/function/echo/hang", end: true) }
      let running = await eventually { platform.pod("u1")?.counts.withLock { $0.running } == 5 }
      #expect(running)
      await client.close()
      let cancelled = await eventually { platform.pod("u1")?.counts.withLock { $0.cancelled } == 5 }
      #expect(cancelled)
    }
  }

  @Test func `malformed streams are reset, reach no pod, and leave the others alone`() async throws {
    try await withHTTP2Client { (platform, _, client) async throws in
      #expect(try await client.request("GET", "/function/echo").status == 200)
      for (why, list) in StreamRequestTests.malformed where !list.contains(where: { $0.0.isEmpty }) {
        let stream = try await client.open()
        stream.headers(list, end: true)
        let result = await stream.result()
        #expect(result.reset == 1 && result.status == 0, "\(why): \(result)")
      }
      #expect(platform.pod("u1")?.counts.withLock { $0.heads.count } == 1)
      let connect = try await client.open()
      connect.headers([(":method", "CONNECT"), (":authority", "a.test:443")], end: false)
      #expect(await connect.result().status == 405)
      #expect(try await client.request("GET", "/function/echo").status == 200)
      #expect(client.state.value.withLock { $0.goAways.isEmpty })
    }
  }

  @Test func `data that is not as long as content-length says resets the stream and cancels the call`() async throws {
    try await withHTTP2Client { (platform, _, client) async throws in
      for (told, body, end) in [("5", "hello!", false), ("5", "hell", true), ("0", "a", false)] {
        let stream = try await client.open()
        stream.head("POST", "/function/echo", [("content-length", told)], end: false)
        stream.data(Array(body.utf8), end: end)
        let result = await stream.result()
        // A request of no bytes may be answered before the first one too many comes.
        #expect(result.reset == 1 || (told == "0" && result.status == 200), "\(told) \(body): \(result)")
      }
      let over = await eventually { platform.pod("u1")?.counts.withLock { $0.running } ?? 0 == 0 }
      #expect(over)
      #expect(platform.pod("u1")?.counts.withLock { $0.served } ?? 0 <= 1, "only the empty body was complete")
      #expect(try await client.request("GET", "/function/echo").status == 200)
    }
  }

  @Test func `an answer before the body's end resets the rest with NO_ERROR and costs the connection nothing`()
    async throws
  {
    try await withHTTP2Client { (_, _, client) async throws in
      for _ in 0..<40 {
        let stream = try await client.open()
        stream.head("POST", "/function/echo/early", [("content-length", "100000")], end: false)
        stream.data(Array(repeating: 120, count: 60_000), end: false)
        let result = await stream.result()
        #expect(result.status == 413 && result.text == "early" && result.ended)
      }
      let body = Array(repeating: UInt8(121), count: 1 << 20)
      let after = try await client.request("POST", "/function/echo", body: body)
      #expect(after.body.count == body.count, "the connection's window is whole")
    }
  }

  @Test func `a body nobody takes is held back on its stream, and others go on`() async throws {
    let platform = try FakePlatform()
    platform.state.withLock { $0.autoStart = false }
    try await withGateway([makeRoute(queueTimeout: .seconds(60))], platform: platform) { (_, _, clients) async throws in
      let client = try await HTTP2Client.connect(port: clients.port)
      let waits = try await client.open()
      let taken = Counter()
      waits.head("POST", "/function/echo", end: false)
      for _ in 0..<64 { waits.data(Array(repeating: 122, count: 16 * 1024), end: false) { taken.add(16 * 1024) } }
      let some = await eventually { taken.value >= 48 * 1024 }
      #expect(some)
      for _ in 0..<20 { #expect(try await client.request("GET", "/healthz").status == 200) }
      #expect(taken.value <= GatewayLimits.heldBody + 2 * GatewayLimits.streamWindow, "\(taken.value)")
      await platform.startPod("echo", "echo-00001")
      waits.data([], end: true)
      #expect(await waits.result().body.count == 1 << 20)
      await client.close()
    }
  }

  @Test func `an answer nobody takes holds the pod back, and arrives whole in the end`() async throws {
    try await withHTTP2Client { (platform, _, client) async throws in
      let slow = try await client.open(reads: false)
      slow.head("GET", "/function/echo/big", end: true)
      let begun = await eventually { platform.pod("u1")?.counts.withLock { $0.sent } ?? 0 > 0 }
      #expect(begun)
      for _ in 0..<50 {
        #expect(try await client.request("POST", "/function/echo", body: [1, 2, 3]).body == [1, 2, 3])
      }
      let sent = platform.pod("u1")?.counts.withLock { $0.sent } ?? 0
      #expect(sent < FakePodHandler.bigBytes / 2, "the pod was taken \(sent) bytes of")
      try await slow.channel.setOption(.autoRead, value: true).get()
      slow.channel.read()
      let answer = await slow.result()
      #expect(answer.body.count == FakePodHandler.bigBytes && answer.ended)
    }
  }

  @Test func `events arrive as the pod writes them, on both protocols`() async throws {
    try await withHTTP2Client { (_, clients, client) async throws in
      let stream = try await client.open()
      stream.head("GET", "/function/echo/events", [("accept", "text/event-stream")], end: true)
      let plain = try await clients.connect()
      try await plain.send(head: .GET, "/function/echo/events")
      try await plain.sendEnd()
      // A collector that saw only the whole would see the first event 2 s late.
      let early = await eventually {
        let first = stream.inbox.state.withLock { $0.text.contains("data: 3 ") && !$0.text.contains("data: 30 ") }
        return first || stream.inbox.state.withLock { $0.ended }
      }
      let http1 = plain.inbox.partial.map { $0.text.contains("data: 1 ") } ?? false
      #expect(early && http1 && !stream.inbox.state.withLock { $0.ended })
      let answer = await stream.result()
      #expect(answer.header("content-type") == "text/event-stream" && answer.ended)
      let sent = answer.text.matches(of: /data: \d+ (\d+)/).compactMap { Int64($0.1) }
      #expect(sent.count == FakePodHandler.events.count && answer.times.count >= sent.count)
      let late = zip(sent, answer.times).map { ($1 - $0) / 1_000_000 }.max() ?? .max
      #expect(late < 1000, "an event was \(late) ms on its way")
      let other = try await plain.inbox.next()
      #expect(other.text.matches(of: #/data: /#).count == FakePodHandler.events.count)
      await plain.close()
    }
  }
}
