import ClusterTestSupport
import NIOCore
import NIOHPACK
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// What a client may not do for long. All of it ends the connection, with GOAWAY, and leaves the gateway as it was.
@Suite struct HTTP2AbuseTests {
  private static let enhanceYourCalm = 11

  /// Sends what `next` gives, 50 at a time, until the gateway closes or `most` were sent; answers the code of its GOAWAY.
  private func flood(
    _ clients: TestClients, most: Int, _ next: (Int) -> [RawFrame]
  ) async throws -> (code: Int?, closed: Bool) {
    let client = try await ByteClient(port: clients.port)
    await client.send(RawFrame.preface + RawFrame.settings.bytes)
    var sent = 0
    while sent < most, !client.closed {
      await client.send((sent..<sent + 50).flatMap { next($0).flatMap(\.bytes) })
      sent += 50
    }
    let closed = await eventually { client.closed }
    let code = client.frames.compactMap(\.goAwayCode).last
    await client.close()
    return (code, closed)
  }

  @Test func `streams opened and reset at once end the connection, and no call is left`() async throws {
    try await withGateway([makeRoute(concurrency: 1000, max: 1)]) { (platform, _, clients) async throws in
      let (code, closed) = try await flood(clients, most: 5000) { number in
        let stream = 2 * number + 1
        return [
          .get("/function/echo/hang", stream: stream),
          RawFrame(type: 3, flags: 0, stream: stream, payload: [0, 0, 0, 8]),
        ]
      }
      #expect(closed)
      #expect(
        code == Self.enhanceYourCalm || code == nil, "the reset of a full socket may eat the GOAWAY: \(code ?? 0)")
      #expect(platform.pod("u1")?.counts.withLock { $0.heads.count } ?? 0 <= GatewayLimits.streamResets)
      let over = await eventually { platform.pod("u1")?.counts.withLock { $0.running } ?? 0 == 0 }
      #expect(over)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test func `malformed requests without end end the connection`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let (_, closed) = try await flood(clients, most: 5000) { number in
        // A field `connection` behind a whole head.
        var frame = RawFrame.get("/function/echo", stream: 2 * number + 1)
        frame.payload += [0, 10] + Array("connection".utf8) + [5] + Array("close".utf8)
        return [frame]
      }
      #expect(closed)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test func `a header list that goes on and on ends the connection`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let (_, closed) = try await flood(clients, most: 2000) { number in
        if number > 0 { return [RawFrame(type: 9, flags: 0, stream: 1, payload: [])] }
        var frame = RawFrame.get("/function/echo", stream: 1)
        frame.flags = 1
        return [frame]
      }
      #expect(closed)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test func `a header list larger than a head may be ends the connection`() async throws {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      let client = try await HTTP2Client.connect(port: clients.port)
      #expect(try await client.request("GET", "/function/echo").status == 200)
      // Small on its way: the same field again is one byte.
      let field = ("x-a", String(repeating: "a", count: 1000))
      let result = try await client.request("GET", "/function/echo", Array(repeating: field, count: 40))
      #expect(result.status == 0)
      let closed = await eventually { client.state.value.withLock { $0.closed } }
      #expect(closed)
      #expect(platform.pod("u1")?.counts.withLock { $0.served } == 1)
      let many = try await HTTP2Client.connect(port: clients.port)
      let fields = (0..<GatewayLimits.headerCount + 1).map { ("x-\($0)", "y") }
      #expect(try await many.request("GET", "/function/echo", fields).status == 431)
      await many.close()
    }
  }

  @Test func `PINGs and empty frames without end end the connection`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let ping = RawFrame(type: 6, flags: 0, stream: 0, payload: Array(repeating: 7, count: 8))
      let (_, pinged) = try await flood(clients, most: 20_000) { _ in [ping] }
      #expect(pinged)
      let (_, emptied) = try await flood(clients, most: 2000) { number in
        if number > 0 { return [RawFrame(type: 0, flags: 0, stream: 1, payload: [])] }
        var frame = RawFrame.get("/function/echo", stream: 1)
        frame.flags = 4
        return [frame]
      }
      #expect(emptied)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test func `bytes that are no frames end the connection`() async throws {
    try await withGateway([makeRoute()]) { (_, gateway, clients) async throws in
      var random = SeededGenerator(seed: 12)
      for _ in 0..<100 {
        let client = try await ByteClient(port: clients.port)
        var bytes = RawFrame.settings.bytes + RawFrame.get("/function/echo", stream: 1).bytes
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
        }
        await client.send(RawFrame.preface + bytes)
        await client.close()
      }
      let gone = await eventually { gateway.metricsText().contains("apus_gateway_connections 0") }
      #expect(gone)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test func `SETTINGS, and faults of streams that the gateway must reset, end the connection`() async throws {
    try await withGateway([makeRoute(concurrency: 1000, max: 1)]) { (platform, _, clients) async throws in
      let (_, set) = try await flood(clients, most: 20_000) { _ in [.settings] }
      #expect(set)
      // Each makes the gateway reset a stream, which costs the client nothing (CVE-2025-8671).
      for fault: (Int) -> RawFrame in [
        { RawFrame(type: 8, flags: 0, stream: $0, payload: [0, 0, 0, 0]) },
        { RawFrame(type: 8, flags: 0, stream: $0, payload: [0x7F, 0xFF, 0xFF, 0xFF]) },
        { RawFrame(type: 0, flags: 1, stream: $0, payload: [1]) },
      ] {
        let (_, closed) = try await flood(clients, most: 5000) { number in
          let stream = 2 * number + 1
          return [.get("/function/echo/hang", stream: stream), fault(stream)]
        }
        #expect(closed)
      }
      let over = await eventually { platform.pod("u1")?.counts.withLock { $0.running } ?? 0 == 0 }
      #expect(over)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  /// Frames no client may send, behind the preface and SETTINGS.
  private static let wrong: [(String, [RawFrame])] = [
    ("a field of index 0", [RawFrame(type: 1, flags: 5, stream: 1, payload: [0x80])]),
    ("a field of an index beyond the table", [RawFrame(type: 1, flags: 5, stream: 1, payload: [0xFF, 0xFF, 0x7F])]),
    ("a number without end", [RawFrame(type: 1, flags: 5, stream: 1, payload: Array(repeating: 0xFF, count: 30))]),
    ("a string that is cut", [RawFrame(type: 1, flags: 5, stream: 1, payload: [0x82, 0x86, 4, 0x7F, 0x2F])]),
    ("Huffman's padding too long", [RawFrame(type: 1, flags: 5, stream: 1, payload: [0x82, 4, 0x82, 0xFF, 0xFF])]),
    ("a table too large", [RawFrame(type: 1, flags: 5, stream: 1, payload: [0x3F, 0xE1, 0xFF, 0x03, 0x82])]),
    ("padding longer than the frame", [RawFrame(type: 1, flags: 13, stream: 1, payload: [200, 0x82])]),
    ("HEADERS on stream 0", [RawFrame(type: 1, flags: 5, stream: 0, payload: [0x82])]),
    ("an even stream", [.get("/function/echo", stream: 2)]),
    ("DATA before HEADERS", [RawFrame(type: 0, flags: 1, stream: 1, payload: [1])]),
    ("DATA on stream 0", [RawFrame(type: 0, flags: 1, stream: 0, payload: [1])]),
    ("RST_STREAM before HEADERS", [RawFrame(type: 3, flags: 0, stream: 1, payload: [0, 0, 0, 8])]),
    ("CONTINUATION before HEADERS", [RawFrame(type: 9, flags: 4, stream: 1, payload: [0x82])]),
    (
      "another frame inside a header list",
      [
        RawFrame(type: 1, flags: 1, stream: 1, payload: [0x82]),
        RawFrame(type: 6, flags: 0, stream: 0, payload: Array(repeating: 0, count: 8)),
      ]
    ),
    ("PUSH_PROMISE", [RawFrame(type: 5, flags: 4, stream: 1, payload: [0, 0, 0, 2, 0x82])]),
    ("SETTINGS of a wrong length", [RawFrame(type: 4, flags: 0, stream: 0, payload: [1, 2, 3])]),
    ("SETTINGS on a stream", [RawFrame(type: 4, flags: 0, stream: 1, payload: [])]),
    ("a window too large", [RawFrame(type: 4, flags: 0, stream: 0, payload: [0, 4, 0x80, 0, 0, 0])]),
    ("frames too small", [RawFrame(type: 4, flags: 0, stream: 0, payload: [0, 5, 0, 0, 0, 1])]),
    ("PING of a wrong length", [RawFrame(type: 6, flags: 0, stream: 0, payload: [1])]),
    ("a connection's window by 0", [RawFrame(type: 8, flags: 0, stream: 0, payload: [0, 0, 0, 0])]),
    ("a frame too large", [RawFrame(type: 1, flags: 5, stream: 1, payload: Array(repeating: 0x82, count: 16_385))]),
  ]

  @Test(arguments: wrong.indices, [1, Int.max])
  func `frames no client may send end the connection, and nothing of them is forwarded`(index: Int, pieces: Int)
    async throws
  {
    let (why, frames) = Self.wrong[index]
    try await withGateway([makeRoute(max: 1)]) { (platform, _, clients) async throws in
      await platform.startPod("echo", "echo-00001")
      let client = try await ByteClient(port: clients.port)
      let bytes = RawFrame.preface + RawFrame.settings.bytes + frames.flatMap(\.bytes)
      let size = bytes.count > 1000 ? max(pieces, 1000) : pieces
      var start = 0
      while start < bytes.count, !client.closed {
        let end = bytes.count - start <= size ? bytes.count : start + size
        await client.send(Array(bytes[start..<end]))
        start = end
      }
      let closed = await eventually(within: .seconds(30)) { client.closed }
      #expect(closed, "\(why)")
      #expect(platform.pod("u1")?.counts.withLock { $0.connections } == 0, "\(why)")
      await client.close()
    }
  }
}
