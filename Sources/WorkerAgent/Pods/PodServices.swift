import ClusterAPI
import ClusterModel
import Logging
import NIOCore

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
  let group: any EventLoopGroup
  let logger: Logger
  let report: @Sendable (PodReport) -> Void
  let event: @Sendable (ReportedEvent) -> Void
  let finished: @Sendable (_ uid: String, _ slot: Int) -> Void

  /// The unix socket of a slot.
  func socketPath(slot: Int) -> String { "\(runFolder)/\(slot).s" }
}
