import ClusterAPI
import ClusterClient
import ClusterModel
import FoundationEssentials
import Glibc
import Logging
import PodSandbox
import ServiceLifecycle
import UnixSignals
import WorkerAgent

/// The composition root of a worker.
struct WorkerRole {
  let folder: DataFolder
  let name: String
  let server: String
  let token: String?
  let labels: [String: String]
  let cpu: Quantity?
  let memory: Quantity?
  let pods: Int
  /// Where gateways of other machines enter; nil takes the address towards the server, if that is another machine.
  let listen: (host: String, port: Int)?
  /// Registries that are asked by plain HTTP.
  let insecureRegistries: Set<String>
  /// What is masked in log lines.
  let logMasks: LogMasks
  /// What it opens to pods with `egress: internet`.
  let egress: EgressNetwork
  /// Whether its Python zygotes load no common modules.
  let leanZygotes: Bool
  /// How the process ended before, when it was started again.
  let ending: String?
  let logger: Logger

  /// The port gateways of other machines use.
  static let entryPort = 6441

  /// Throws for a user who cannot make pods.
  static func refuseWithoutPods() throws(Failure) {
    guard geteuid() != 0, let lack = UserNamespace.lack() else { return }
    throw Self.failure(lack)
  }

  /// A process of a user goes on as root of a user namespace; one of root goes on as it is.
  static func becomeRoot() throws(Failure) {
    guard geteuid() != 0 else { return }
    throw Self.failure(
      UserNamespace.enter(
        executable: InstalledFiles.realExecutable(), arguments: Array(CommandLine.arguments.dropFirst())))
  }

  private static func failure(_ lack: (what: String, advice: String)) -> Failure {
    Failure(
      "a worker of a user who is not root makes its pods in a user namespace: \(lack.what)",
      next: "\(lack.advice). Or start it with sudo. A server without workers (--workers 0) and the other commands need "
        + "neither.")
  }

  /// Runs until SIGTERM; its pods end with it.
  func run() async throws {
    // A pod takes seven files.
    FileLimit.raise()
    let home = folder.worker(name)
    let lock = try DataFolder.take(home, for: "worker")
    defer { withExtendedLifetime(lock) {} }
    guard let slots = try SlotBlock.claim() else {
      throw Failure(
        "all \(SlotBlock.count) blocks of pod slots of this machine are taken", next: "Stop another worker.")
    }
    defer { withExtendedLifetime(slots) {} }
    let membership = Membership(role: .node, name: name, server: server, token: token, home: home, logger: logger)
    let credentials = try await membership.joined()
    let client = try APIClient(
      endpoint: APIEndpoint(url: server, authority: credentials.authority), credential: credentials.credential,
      logger: logger)
    let installed = try InstalledFiles.locate()
    let entrance = listen ?? membership.addressTowardsServer().map { ($0, Self.entryPort) }
    let agent = try WorkerAgent(
      configuration: configuration(home, installed, slots, entrance), sessions: HTTPNodeSessions(client: client),
      artifacts: HTTPArtifacts(client: client), secrets: HTTPPodSecrets(client: client),
      logs: HTTPLogSink(client: client), tls: try PeerTLS.server(credentials), logger: logger)
    if let ending {
      agent.tell(
        ReportedEvent(
          object: ObjectReference(.node, namespace: nil, name: name), reason: "WorkerRestarted",
          message: "the worker \(ending) and was started again", warning: true))
    }
    let renewing = membership.renewal(of: credentials, through: client) { agent.use(tls: try PeerTLS.server($0)) }
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [
          .init(service: renewing, successTerminationBehavior: .ignore),
          .init(service: agent, successTerminationBehavior: .gracefullyShutdownGroup),
        ], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await group.run()
    await client.shutdown()
  }

  private func configuration(
    _ home: String, _ installed: InstalledFiles, _ slots: SlotBlock, _ entrance: (host: String, port: Int)?
  ) -> WorkerConfiguration {
    let instance = DataFolder.instance(home)
    let cores = Int64(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    let physical = Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE)))
    var configuration = WorkerConfiguration(
      name: name, dataDirectory: home, runDirectory: RunFolder.pods(ofInstance: instance), instance: instance,
      labels: labels,
      milliCPU: cpu?.milli ?? cores * 1000, memory: memory?.value ?? physical / 5 * 4,
      pods: min(pods, SlotBlock.podsMaximum),
      listenAddress: entrance.map { .init(host: $0.host, port: $0.port) }, hostIdentity: HostIdentity.current,
      spawnerPath: installed.companion("apus-spawner"),
      runtimeFiles: .init(
        python: installed.runner(.python), node: installed.runner(.node),
        execRunner: installed.companion("apus-exec-runner"),
        zygoteModule: installed.companion("apus_zygote.abi3.so"),
        lambdaBridge: installed.companion("apus-lambda-bridge")),
      version: Version.current)
    configuration.firstSlot = slots.first
    configuration.insecureRegistries = insecureRegistries
    configuration.logMasks = logMasks
    configuration.egress = egress
    configuration.leanZygotes = leanZygotes
    configuration.egressProgram = installed.companion("apus-egress")
    configuration.gatewaySockets = { [folder] in folder.podSockets }
    return configuration
  }
}

/// A block of pod slots of this machine, so that no two workers on it give their pods the same uids.
final class SlotBlock: Sendable {
  /// Slots in a block.
  static let size = 1500
  /// Pods of a worker at most: the rest is for pods made ahead.
  static let podsMaximum = size - WorkerConfiguration.stemsMaximum
  /// Blocks of a machine: as far as there are users for their slots.
  static let count = min(Limits.slots, HostUsers.current.slots) / size
  /// The first slot.
  let first: Int
  private let lock: FileLock

  private init(first: Int, lock: FileLock) {
    self.first = first
    self.lock = lock
  }

  /// Takes the first free block; nil when all are taken. The block is free again when this process ends.
  static func claim() throws -> SlotBlock? {
    try RunFolder.make()
    let folder = RunFolder.path + "/slots"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for index in 0..<count {
      if let lock = try FileLock("\(folder)/\(index)") { return SlotBlock(first: index * size, lock: lock) }
    }
    return nil
  }
}
