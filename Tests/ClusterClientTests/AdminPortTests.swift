import AsyncHTTPClient
import ClusterTestSupport
import Foundation
import Glibc
import Logging
import NIOCore
import NIOHTTP1
import Testing

@testable import HTTPService

/// The port of figures and probes.
@Suite("Admin port") struct AdminPortTests {
  private func get(_ client: HTTPClient, _ port: Int, _ path: String, host: String? = nil) async throws -> (
    UInt, String
  ) {
    var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
    if let host { request.headers.add(name: "host", value: host) }
    let answer = try await client.execute(request, timeout: .seconds(10))
    return (answer.status.code, String(buffer: try await answer.body.collect(upTo: 1 << 20)))
  }

  private func ask(_ client: HTTPClient, _ port: Int, _ round: Int) async throws {
    #expect(try await get(client, port, "/metrics") == (200, "round \(round)\n"))
    #expect(try await get(client, port, "/healthz").0 == 200)
    #expect(try await get(client, port, "/readyz").0 == (round == 1 ? 503 : 200))
    #expect(try await get(client, port, "/nothing").0 == 404)
    #expect(try await get(client, port, "/metrics", host: "evil.example:8082").0 == 421)
  }

  @Test func `a socket that listens already is served by one server after the other, and stays open`() async throws {
    let (socket, port) = try listeningSocket()
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    for round in 1...2 {
      let server = AdminServer.metrics(
        host: "127.0.0.1", port: 0, socket: socket, logger: logger, metrics: { "round \(round)\n" },
        ready: { round == 1 ? "not yet" : nil })
      let running = Task { try await server.run() }
      #expect(try await server.bound.port == port)
      let client = HTTPClient()
      do { try await ask(client, port, round) } catch { Issue.record(error) }
      running.cancel()
      try await client.shutdown()
      try await running.value
    }
    close(socket)
  }

  @Test func `only names and addresses of this machine are answered where nobody shows a credential`() {
    let hosts = HostMiddleware(listeningOn: "127.0.0.1")
    for good in ["localhost", "LOCALHOST:8082", "127.0.0.1", "127.0.0.1:8082", "[::1]:8082", "10.1.2.3"] {
      #expect(hosts.admits(good), "\(good)")
    }
    for bad in ["", "evil.example", "evil.example:8082", "localhost.evil.example", "[::1", "127.0.0.1.evil", "::"] {
      #expect(!hosts.admits(bad), "\(bad)")
    }
  }
}
