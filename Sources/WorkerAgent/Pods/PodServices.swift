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
  /// How long functions take until they listen.
  let portTimes: PortTimes
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

/// How long functions took until they listened on `$PORT`, by revision, so that the next pod of one is asked in time and
/// not before. Nothing depends on it but when the question comes.
final class PortTimes: Sendable {
  /// Revisions that are known; one more forgets all.
  static let revisionsMaximum = 4096

  private let known = Mutex<[String: UInt64]>([:])

  /// Nanoseconds a revision takes; nil when it never was seen.
  func expected(_ revision: String) -> UInt64? { known.withLock { $0[revision] } }

  /// Notes how many nanoseconds a pod of it took: a shorter time counts at once, a longer one by a sixteenth.
  func took(_ nanoseconds: UInt64, _ revision: String) {
    known.withLock { known in
      if known.count >= Self.revisionsMaximum, known[revision] == nil { known = [:] }
      let before = known[revision] ?? nanoseconds
      known[revision] = nanoseconds < before ? nanoseconds : before + (nanoseconds - before) / 16
    }
  }
}
