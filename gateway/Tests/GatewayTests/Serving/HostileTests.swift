import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// Sequences that once harmed somebody else's calls.
@Suite struct HostileTests {
  private static let host = "HTTP/1.1\r\nHost: h\r\n"

  @Test(arguments: [
    "POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
  ])
  func `a body that is refused with its head costs the pod nothing`(text: String) async throws {
    let route = makeRoute(max: 1, queueTimeout: TimeSpan(milliseconds: 400), maxBody: 8)
    try await withGateway([route]) { (platform, _, clients) async throws in
      await platform.startPod("echo", "echo-00001")
      for _ in 0..<3 {
        let (got, closed) = try await clients.raw(text)
        #expect(closed && got.hasPrefix("HTTP/1.1 4"))
        // The slot is free at once: the pod had nothing to let go of.
        #expect(try await clients.request(.GET, "/function/echo").status == 200)
      }
      #expect(platform.pod("u1")?.counts.withLock { $0.served } == 3)
      #expect(platform.state.withLock { $0.idles.isEmpty })
    }
  }

  @Test func `not a byte is lost between a 101 and the tunnel`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let (text, _) = try await clients.raw(
        "GET /function/echo/upgrade-burst \(Self.host)Connection: Upgrade\r\nUpgrade: burst\r\n\r\n",
        until: "109999...\n")
      let lines = text.components(separatedBy: "\r\n\r\n").last?.split(separator: "\n") ?? []
      #expect(lines.count == 10_000)
      #expect(lines.enumerated().allSatisfy { $0.element == "\(100_000 + $0.offset)..." })
    }
  }

  @Test func `a 101 that nobody asked for is a bad response, and its pod is used again`() async throws {
    try await withGateway([makeRoute(max: 1)]) { (_, _, clients) async throws in
      let answer = try await clients.request(.GET, "/function/echo/unasked-upgrade")
      #expect(answer.status == 502 && answer.header("x-apus-error") == CallErrorCode.badResponse.rawValue)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test func `who was refused and does not close is closed soon`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let start = ContinuousClock.now
      let (text, closed) = try await clients.raw("BAD\r\n\r\n", within: .seconds(10))
      #expect(text.hasPrefix("HTTP/1.1 400") && closed)
      #expect(ContinuousClock.now - start < .seconds(9))
    }
  }

  @Test func `an empty line in two pieces between two requests is no head`() async throws {
    try await withGateway([makeRoute()]) { (_, _, clients) async throws in
      let first = "GET /function/echo/a \(Self.host)\r\n"
      let last = "GET /function/echo/b \(Self.host)Connection: close\r\n\r\n"
      let (text, closed) = try await clients.raw(first + "\r\n" + last)
      #expect(closed && text.components(separatedBy: "HTTP/1.1 200").count == 3)
    }
  }

  @Test func `a request without a host reaches the function with an empty one`() async throws {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      let (text, _) = try await clients.raw("GET /function/echo HTTP/1.0\r\n\r\n")
      #expect(text.hasPrefix("HTTP/1.1 200"))
      let head = platform.pod("u1")?.counts.withLock { $0.heads.first }
      #expect(head?.headers["host"] == [""])
      #expect(head?.headers["forwarded"].first?.contains("host") == false)
    }
  }

  @Test func `hundreds of options in Connection are refused`() {
    let read = ReadHead(fields: ["host: h", "connection: " + String(repeating: "a,", count: 1000)])
    #expect(read.refusal?.code == .badRequest)
  }

  @Test func `a refusal by a function's limits is counted for the function`() async throws {
    try await withGateway([makeRoute(maxBody: 8)]) { (_, gateway, clients) async throws in
      let answer = try await clients.request(.POST, "/function/echo", body: Array(repeating: 1, count: 9))
      #expect(answer.status == 413)
      #expect(
        gateway.metricsText().contains(
          #"apus_gateway_errors_total{function="default/echo",reason="body_too_large"} 1"#))
    }
  }

  @Test func `a shutdown waits until slow readers have taken their answers`() async throws {
    let platform = try FakePlatform()
    platform.set(makeRoute(timeout: .seconds(20), max: 8))
    try await shutDownGracefully(platform) { clients, shutDown in
      let reader = try await clients.slowReader("GET /function/echo/large \(Self.host)\r\n")
      #expect(await eventually { platform.pod("u1")?.counts.withLock { $0.running + $0.served > 0 } ?? false })
      shutDown()
      let bytes = try await reader.readAll()
      #expect(bytes > 8_000_000, "the answer was cut")
    }
    await platform.shutdown()
  }
}
