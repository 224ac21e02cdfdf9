import ClusterAPI
import ClusterClient
import ClusterModel
import ClusterTestSupport
import ControlPlane
import Foundation
import HTTPService
import Logging
import StateStore
import Synchronization

/// How a protocol is reached: as the object itself, or through a real TLS server and client.
enum Wiring: String, CaseIterable, Sendable {
  case inProcess, http
}

/// Fakes of every service, a TLS server over them on a free port, and clients of it.
final class World: Sendable {
  let resources = FakeResources()
  let sessions = FakeSessions()
  let routing = FakeRouting()
  let logs = FakeLogs()
  let artifacts = FakeArtifacts()
  let placements = FakePlacements()
  let calls = FakeCalls()
  let clock = ManualClock()
  let folder: TemporaryFolder
  let authority: CertificateAuthority
  let tokens: TokenRegistry
  let adminToken: String
  private let port = Mutex(0)
  private let clients = Mutex<[APIClient]>([])

  private init() async throws {
    folder = try TemporaryFolder("apus-client-test")
    authority = try CertificateAuthority(folder: folder.path + "/pki", now: .now())
    tokens = TokenRegistry(store: MemoryStore(boot: 1), authorityHash: authority.keyHash) { [clock] in clock.timestamp }
    adminToken = try await tokens.admin(present: nil)
  }

  /// The server's address.
  var url: String { "https://127.0.0.1:\(port.withLock { $0 })" }

  /// Runs a test's body against a fresh world and takes everything down after it.
  static func run(_ body: (World) async throws -> Void) async throws {
    let world = try await World()
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let issued = try world.authority.server(names: [], now: .now())
    let tls = try ServerTLS.configuration(
      certificate: issued.certificate, key: issued.key ?? "", authority: world.authority.pem)
    let server = AdminServer(host: "127.0.0.1", port: 0, tls: tls, authenticator: world.tokens, logger: logger) {
      router in
      APIRoutes.register(on: router, services: world.services)
    }
    let running = Task { try await server.run() }
    do {
      let port = try await server.bound.port
      world.port.withLock { $0 = port }
      try await body(world)
    } catch {
      await world.close()
      running.cancel()
      _ = await running.result
      throw error
    }
    await world.close()
    running.cancel()
    _ = await running.result
  }

  private func close() async {
    for client in clients.withLock({ $0 }) { await client.shutdown() }
  }

  var services: APIServices {
    APIServices(
      resources: resources, sessions: sessions, secrets: FakeSecrets(), placements: placements, feed: routing,
      activation: routing, usage: routing, logSink: logs, logQueries: logs, artifacts: artifacts, tokens: tokens,
      authority: authority, version: "0.1.0", calls: calls, now: { [clock] in clock.timestamp })
  }

  // MARK: Clients

  /// A client with a credential.
  func client(_ credential: APICredential, retry: RetryPolicy = .never) throws -> APIClient {
    let client = try APIClient(
      endpoint: APIEndpoint(url: url, authority: authority.pem), credential: credential, retry: retry,
      logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    clients.withLock { $0.append(client) }
    return client
  }

  /// The admin's client.
  func admin(retry: RetryPolicy = .never) throws -> APIClient { try client(.token(adminToken), retry: retry) }

  /// The client of a node.
  func node(_ name: String) throws -> APIClient {
    let issued = try authority.client(.node(name), hours: 1, now: .now())
    return try client(.certificate(chain: issued.certificate, key: issued.key ?? ""))
  }

  /// The client of a gateway.
  func gateway(_ id: String) async throws -> APIClient { try client(.token(try await tokens.gateway(id: id))) }

  /// The resources, one way or the other.
  func resources(_ wiring: Wiring) throws -> any ResourceService {
    wiring == .inProcess ? resources : HTTPResourceService(client: try admin())
  }
}

/// A wall clock that goes on by itself and can be turned ahead, for sleepers too.
final class ManualClock: Clock {
  struct Instant: InstantProtocol {
    var offset: Duration
    func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
    func duration(to other: Instant) -> Duration { other.offset - offset }
    static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
  }

  private struct Sleeper {
    let deadline: Instant
    let continuation: CheckedContinuation<Void, any Error>
  }

  private struct State {
    var now = Instant(offset: .zero)
    var sleepers: [Int: Sleeper] = [:]
    var next = 0
    var cancelled: Set<Int> = []
  }

  private let state = Mutex(State())
  private let start = Timestamp.now()

  var now: Instant { state.withLock { $0.now } }
  var minimumResolution: Duration { .nanoseconds(1) }
  var sleepers: Int { state.withLock { $0.sleepers.count } }

  /// The wall clock's reading.
  var timestamp: Timestamp {
    let (seconds, attoseconds) = now.offset.components
    return start.advanced(milliseconds: seconds * 1000 + attoseconds / 1_000_000_000_000_000)
  }

  func sleep(until deadline: Instant, tolerance: Duration?) async throws {
    let id = state.withLock { state in
      state.next += 1
      return state.next
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let done: Result<Void, any Error>? = state.withLock { state in
          if state.cancelled.contains(id) { return .failure(CancellationError()) }
          if state.now >= deadline { return .success(()) }
          state.sleepers[id] = Sleeper(deadline: deadline, continuation: continuation)
          return nil
        }
        if let done { continuation.resume(with: done) }
      }
    } onCancel: {
      let sleeper = state.withLock { state in
        state.cancelled.insert(id)
        return state.sleepers.removeValue(forKey: id)
      }
      sleeper?.continuation.resume(throwing: CancellationError())
    }
  }

  /// Turns the clock ahead and wakes whoever is due.
  func advance(by duration: Duration) {
    let due = state.withLock { state in
      state.now = state.now.advanced(by: duration)
      let due = state.sleepers.filter { $0.value.deadline <= state.now }
      for id in due.keys { state.sleepers[id] = nil }
      return due.values.map(\.continuation)
    }
    for continuation in due { continuation.resume() }
  }
}
