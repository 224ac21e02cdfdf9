import ClusterAPI
import ClusterModel
import Logging
import NIOCore
import Synchronization

/// What a pod's runner needs from its node.
struct PodServices: Sendable {
  let node: String
  let runFolder: String
  let host: String
  /// `HOST:PORT` of this worker for other machines.
  let address: String?
  let engine: any SandboxEngine
  let stems: StemPool
  let packages: any PackageSource
  let images: any ImageSource
  let secrets: any PodSecrets
  let journal: LogJournal
  /// Reads what pods write.
  let outputs: PipeLoop
  /// Reads control pipes: apart from the outputs, so that a sign of readiness never waits behind log lines.
  let controls: PipeLoop
  /// How many pods are being asked whether they listen yet.
  let portWaits: PortWaits
  let group: any EventLoopGroup
  let logger: Logger
  let report: @Sendable (PodReport) -> Void
  let event: @Sendable (ReportedEvent) -> Void
  let finished: @Sendable (_ uid: String, _ slot: Int) -> Void

  /// Where a pod in a slot is to listen.
  func newSocketPath(slot: Int) -> String { SocketPath.new(in: runFolder, slot: slot) }
}

/// Names of pods' sockets.
enum SocketPath {
  /// A name no pod had before or gets again: whoever still knows the socket of a pod that ended must meet nobody there, and
  /// never the next pod of its slot, which may be another function's.
  static func new(in folder: String, slot: Int) -> String {
    "\(folder)/\(slot)-\(String(UInt64.random(in: 0 ... .max), radix: 36)).s"
  }
}

/// Counts pods that wait until their `$PORT` process listens: the more there are, the more rarely each is asked, so that
/// asking takes no more of the processor than for one.
final class PortWaits: Sendable {
  private let count = Atomic(0)

  /// How long to wait after `waited` of waiting for this pod until it is asked again, microseconds: often at the
  /// beginning, rarely after a tenth of a second. An attempt costs 25 µs of the processor.
  func pause(after waited: Int64) -> Int64 {
    min(max(waited / 10, 200 * Int64(count.load(ordering: .relaxed))), 20_000)
  }

  /// One more pod waits until `body` has returned.
  func during<Value>(_ body: () async throws -> Value) async rethrows -> Value {
    count.add(1, ordering: .relaxed)
    defer { count.subtract(1, ordering: .relaxed) }
    return try await body()
  }
}
