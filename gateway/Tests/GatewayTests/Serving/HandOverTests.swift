import ClusterAPI
import ClusterTestSupport
import Glibc
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization
import Testing

@testable import Gateway

/// What many clients saw, and whether they go on.
private final class Tally: Sendable {
  let counts = Mutex((right: 0, wrong: [String]()))
  let ended = Mutex(false)
}

/// Gateways that follow each other on the same listening sockets.
@Suite struct HandOverTests {
  private func gateway(
    _ platform: FakePlatform, _ sockets: [CInt], needsRoutes: Bool = false,
    before: @escaping @Sendable () async throws -> Void = {}
  ) -> GatewayServer {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    var configuration = GatewayConfiguration(gatewayID: "g1", hostIdentity: "here", threads: 2, drainSeconds: 5)
    configuration.listeners = sockets
    configuration.routePatience = 200
    configuration.needsRoutes = needsRoutes
    configuration.beforeAccepting = before
    return GatewayServer(
      configuration: configuration, routes: platform, activation: platform, usage: platform, logs: platform,
      logger: logger)
  }

  @Test func `a socket that was handed over keeps room for a crowd`() async throws {
    let platform = try FakePlatform()
    let (socket, port) = try listeningSocket()
    let server = gateway(platform, [socket])
    let running = Task { try await server.run() }
    #expect(await server.waitUntilListening() == port)
    var info = tcp_info()
    var size = socklen_t(MemoryLayout<tcp_info>.size)
    #expect(getsockopt(socket, Int32(IPPROTO_TCP), TCP_INFO, &info, &size) == 0)
    // Of a listening socket this is the room of its queue (Linux, tcp_get_info).
    #expect(info.tcpi_sacked == UInt32(Entrance.backlog))
    running.cancel()
    _ = await running.result
    await platform.shutdown()
    close(socket)
  }

  @Test func `gateways that follow each other on one socket lose no request, on kept and on fresh connections`()
    async throws
  {
    let platform = try FakePlatform()
    platform.set(makeRoute(concurrency: 4, max: 4))
    let (socket, port) = try listeningSocket()
    let first = gateway(platform, [socket])
    var running = Task { try await first.run() }
    var current = first
    #expect(await first.waitUntilListening() == port)
    let clients = TestClients(port: port)
    let tally = Tally()
    let traffic = Task {
      await withTaskGroup(of: Void.self) { group in
        for number in 0..<16 {
          group.addTask {
            var kept: TestConnection?
            var round = 0
            while !tally.ended.withLock({ $0 }) {
              let nonce = "\(number)-\(round)"
              round += 1
              do {
                let connection: TestConnection
                if let kept { connection = kept } else { connection = try await clients.connect() }
                let answer = try await connection.request(.POST, "/function/echo", body: Array(nonce.utf8))
                let right = answer.status == 200 && answer.complete && answer.text == nonce
                tally.counts.withLock {
                  if right { $0.right += 1 } else { $0.wrong.append("\(answer.status) for \(nonce)") }
                }
                let closes = answer.header("connection") == "close"
                kept = number % 2 == 0 && !closes ? connection : nil
                if kept == nil { await connection.close() }
              } catch { tally.counts.withLock { $0.wrong.append("\(error) for \(nonce)") } }
            }
            await kept?.close()
          }
        }
      }
    }
    for _ in 0..<5 {
      let goal = tally.counts.withLock { $0.right } + 300
      #expect(await eventually(within: .seconds(20)) { tally.counts.withLock { $0.right } >= goal })
      let leaving = current
      let next = gateway(platform, [socket], needsRoutes: true) { await leaving.leaveToSuccessor() }
      let starting = Task { try await next.run() }
      #expect(await next.waitUntilListening() == port)
      try await running.value
      (current, running) = (next, starting)
    }
    tally.ended.withLock { $0 = true }
    await traffic.value
    let (right, wrong) = tally.counts.withLock { $0 }
    #expect(wrong == [])
    #expect(right >= 1500)
    await clients.shutdown()
    running.cancel()
    try await running.value
    #expect(platform.state.withLock { $0.sources.count } == 6, "each has a session of its own")
    await platform.shutdown()
    close(socket)
  }

  @Test func `every socket handed over is served, and an idle connection is kept until it was told in an answer`()
    async throws
  {
    let platform = try FakePlatform()
    platform.set(makeRoute())
    let sockets = try (0..<3).map { _ in try listeningSocket() }
    let gateway = gateway(platform, sockets.map(\.socket))
    let running = Task { try await gateway.run() }
    _ = await gateway.waitUntilListening()
    let clients = sockets.map { TestClients(port: $0.port) }
    for one in clients { #expect(try await one.request(.GET, "/function/echo").status == 200) }
    let idle = try await clients[0].connect()
    #expect(try await idle.request(.GET, "/function/echo").header("connection") != "close")
    await gateway.leaveToSuccessor()
    #expect(await eventually { !gateway.ready })
    let last = try await idle.request(.GET, "/function/echo")
    #expect(last.status == 200 && last.header("connection") == "close")
    try await running.value
    for one in clients { await one.shutdown() }
    await platform.shutdown()
    for (socket, _) in sockets { close(socket) }
  }

  @Test func `without routes a successor does not begin`() async throws {
    let platform = try FakePlatform()
    platform.state.withLock { $0.refusesFeed = true }
    let (socket, _) = try listeningSocket()
    let gateway = gateway(platform, [socket], needsRoutes: true)
    await #expect { try await gateway.run() } throws: { "\($0)".contains("no routes") }
    await platform.shutdown()
    close(socket)
  }
}
