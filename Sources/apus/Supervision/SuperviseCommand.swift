import ArgumentParser
import ClusterAPI
import ClusterModel
import FoundationEssentials
import Glibc
import Logging
import ServiceLifecycle
import UnixSignals

/// `apus supervise`: what `apus up` leaves running.
struct SuperviseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "supervise", abstract: "Run and restart a server and its workers.", shouldDisplay: false)

  @OptionGroup var role: RoleOptions
  @OptionGroup var listening: ListenOptions
  @OptionGroup var calls: CallOptions
  @OptionGroup var logs: LogKeepOptions
  @OptionGroup var egress: EgressOptions
  @OptionGroup var isolation: IsolationOptions
  @OptionGroup var zygotes: ZygoteOptions
  @Option var apiPort = 6440
  @Option var workers = 2
  @Flag var noRestart = false

  func run() async throws {
    let logger = role.logger("apus.supervisor")
    let folder = DataFolder.choose(role.data)
    try folder.prepare()
    guard let lock = try FileLock(folder.lock) else {
      throw Failure("a cluster already runs on \(folder.path)", next: "See `apus status`.")
    }
    defer { withExtendedLifetime(lock) {} }
    _ = Lifeline.line()
    let physical = Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE)))
    let share = Quantity(bytes: physical / 5 * 4 / Int64(max(1, workers)))
    let level = ["--log-level", role.logLevel.rawValue]
    let plan = Supervisor.Plan(
      folder: folder, workers: workers, restart: !noRestart,
      serverFlags: listening.flags + calls.flags + logs.flags + ["--api-port", "\(apiPort)"] + level,
      workerFlags: ["--memory", share.description] + egress.flags + isolation.flags + zygotes.flags
        + level)
    let supervisor = Supervisor(plan: plan, executable: InstalledFiles.realExecutable(), logger: logger) {
      let cluster = try ClusterConnection.open(kubeconfig: folder.kubeconfig)
      return (cluster.api, try await cluster.tokens.createJoinToken(.node, life: .seconds(3600)))
    }
    let service = RunningService("supervisor") {
      await withGracefulShutdownHandler {
        await supervisor.run()
      } onGracefulShutdown: {
        Task {
          await supervisor.stop()
          await supervisor.stopServerIfAlone()
        }
      }
    }
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await group.run()
    try? FileManager.default.removeItem(atPath: folder.processes)
  }
}
