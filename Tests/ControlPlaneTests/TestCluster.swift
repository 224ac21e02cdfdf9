import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Crypto
import Foundation
import Logging
import StateStore
import Synchronization

@testable import ControlPlane

/// A control plane on memory stores and a clock the test turns, with workers and gateways played by the test.
final class TestCluster: Sendable {
  let folder: TemporaryFolder
  let durable: any StateStore
  let clock = TestClock()
  let plane: ControlPlane
  private let running: Task<Void, Never>

  init(durable: any StateStore = MemoryStore(boot: 0), boot: Int64 = 1, folder: TemporaryFolder? = nil) async throws {
    let home = try folder ?? TemporaryFolder()
    self.folder = home
    self.durable = durable
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let plane = ControlPlane(
      durable: durable, soft: MemoryStore(boot: boot), boot: boot,
      artifacts: try ArtifactStore(directory: home.path + "/artifacts"),
      vault: SecretVault(key: SymmetricKey(size: .bits256)),
      logs: nil, logger: logger, clock: { [clock] in clock.now }, elapsed: { [clock] in clock.elapsed })
    self.plane = plane
    try await plane.prepare()
    running = Task { try? await plane.orchestrator.run() }
  }

  deinit { running.cancel() }

  /// Stores a package of these bytes and answers its digest.
  func package(_ text: String) async throws -> String {
    let bytes = Array(text.utf8)
    let digest = "sha256:" + SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
    let stream = AsyncThrowingStream<[UInt8], any Error> {
      $0.yield(bytes)
      $0.finish()
    }
    try await plane.artifacts.put(namespace: "default", digest: digest, size: nil, chunks: stream)
    return digest
  }

  /// Creates or changes a function so that it runs a package.
  func deploy(_ name: String, code: String, scale: JSONValue = .object([:])) async throws {
    let spec = JSONValue.object([
      "runtime": .string("python"), "handler": .string("handler.py"), "scale": scale,
      "source": .object(["digest": .string(try await package(code))]),
    ])
    let object = JSONValue.object([
      "apiVersion": .string("apus.dev/v1"), "kind": .string("Function"),
      "metadata": .object(["name": .string(name)]), "spec": spec,
    ])
    do {
      _ = try await plane.resources.create(.function, namespace: "default", object: object)
    } catch  where error.reason == "AlreadyExists" {
      _ = try await plane.resources.patch(
        .function, namespace: "default", name: name, subresource: nil, patch: .object(["spec": spec]))
    }
  }

  func function(_ name: String) async throws -> Function {
    try await plane.resources.get(.function, namespace: "default", name: name).decoded()
  }

  /// Whether a revision comes to serve.
  func serves(_ name: String, _ revision: String) async throws -> Bool {
    try await eventually { try await self.function(name).status?.servingRevision == revision }
  }

  /// Pods of a function in a step of their life.
  func pods(_ function: String, _ life: PodLife...) async -> [PodRecord] {
    await plane.orchestrator.pods.values.filter { $0.function == function && life.contains($0.detail.life) }
  }
}

/// A clock that moves when the test says so.
final class TestClock: Sendable {
  private let time = Mutex((now: Timestamp(milliseconds: 1_800_000_000_000), elapsed: Int64(0)))
  var now: Timestamp { time.withLock { $0.now } }
  var elapsed: Int64 { time.withLock { $0.elapsed } }

  /// Time passes.
  func advance(milliseconds: Int64) {
    time.withLock { $0 = ($0.now.advanced(milliseconds: milliseconds), $0.elapsed + milliseconds) }
  }

  /// The wall clock is set, or the machine slept.
  func step(milliseconds: Int64) {
    time.withLock { $0.now = $0.now.advanced(milliseconds: milliseconds) }
  }
}
