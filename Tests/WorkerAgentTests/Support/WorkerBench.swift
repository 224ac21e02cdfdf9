import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Logging
import ServiceLifecycle
import Testing

@testable import WorkerAgent

/// A whole worker over simulated sandboxes, a simulated server and a simulated log service.
final class WorkerBench: Sendable {
  let folder: TemporaryFolder
  let server = SimulatedServer()
  let logs = SimulatedLogs()
  let sandboxes = SimulatedSandboxes()
  let packages = SimulatedPackages()
  let agent: WorkerAgent
  private let group: ServiceGroup
  private let task: Task<Void, any Error>

  init(
    pods: Int = 100, secrets: SimulatedSecrets = SimulatedSecrets(), settle: Int64 = 300,
    change: (inout WorkerConfiguration) -> Void = { _ in }
  ) throws {
    folder = try TemporaryFolder("apus-worker")
    // Beside the folder and short: paths of sockets end after 107 bytes.
    let run = FileManager.default.temporaryDirectory.path + "/apus-w\(UInt32.random(in: 0 ... .max))"
    var configuration = WorkerConfiguration(
      name: "n1", dataDirectory: "\(folder.path)/data", runDirectory: run, instance: "0badcafe", labels: ["zone": "a"],
      milliCPU: 2000, memory: 1 << 30, pods: pods, listenAddress: nil, hostIdentity: "host-1", spawnerPath: "",
      runtimeFiles: .init(python: "", node: "", execRunner: "", zygoteModule: "", lambdaBridge: ""), version: "0.1.0")
    configuration.drainSettleMilliseconds = settle
    change(&configuration)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    agent = WorkerAgent(
      configuration: configuration, sessions: server, secrets: secrets, logs: logs, tls: nil, logger: logger,
      engine: sandboxes, packages: packages)
    let group = ServiceGroup(services: [agent], logger: logger)
    self.group = group
    task = Task { try await group.run() }
    runDirectory = configuration.runDirectory
  }

  let runDirectory: String

  /// Asks the worker to leave and waits until it has.
  func leave() async throws {
    await group.triggerGracefulShutdown()
    try await task.value
    try? FileManager.default.removeItem(atPath: runDirectory)
  }

  /// Sends a start and answers the uid; waits until the session stands first.
  func start(_ assignment: PodAssignment) async -> String {
    _ = await eventually { self.server.epoch > 0 }
    server.send(.start(assignment))
    return assignment.uid
  }

  func becomes(_ life: PodLife, _ uid: String) async -> Bool { await eventually { self.server.life(uid) == life } }
}
