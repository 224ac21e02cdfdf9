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
}
