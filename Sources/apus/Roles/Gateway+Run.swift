import ClusterAPI
import ClusterClient
import ClusterModel
import Gateway
import Glibc
import HTTPService
import Logging
import ServiceLifecycle
import UnixSignals

/// The composition root of a gateway of its own process: alone, or in the place of one that runs.
struct GatewayRole {
  let folder: DataFolder
  let listening: ListenOptions
  let server: String
  let token: String?
  let name: String
  /// Whether to take the sockets of the gateway that runs there, if one does.
  let takesOver: Bool
  /// Seconds that calls and connections have when this gateway stops or is replaced.
  let drainSeconds: Int64
  let logger: Logger

  /// How long a gateway that takes over waits for the routes before it gives up, milliseconds.
  static let routePatience: Int64 = 20_000

  /// Runs until SIGTERM, or until another process has taken over and the last call is over.
  func run() async throws {
    let home = folder.gateway(name)
    let taken = takesOver ? try await TakeOver.ask(in: home) : nil
    let sockets = try taken.map { try inherit($0) } ?? open(home)
    defer { if sockets.isOwner { unlink(home + "/" + TakeOver.socketName) } }
    let membership = Membership(
      role: .gateway, name: name, server: server, token: token, home: home, logger: logger)
    let credentials = try await membership.joined()
    let client = try APIClient(
      endpoint: APIEndpoint(url: server, authority: credentials.authority), credential: credentials.credential,
      logger: logger)
    let front = try gatewayServer(client, credentials, sockets, taken)
    let admin = AdminServer.metrics(
      host: listening.adminHost, port: listening.adminPort, socket: sockets.admin.descriptor.number, logger: logger,
      metrics: { front.metricsText() }, ready: { front.ready ? nil : "the gateway has no routes yet" })
    let renewing = membership.renewal(of: credentials, through: client) {
      front.use(workerTLS: try PeerTLS.client($0))
    }
    let gates = AdminGates()
    let ended = Gate()
    // No service ends by itself: one that does while the others are being shut down in turn breaks that off.
    let serving = RunningService("gateway") {
      try await front.run()
      ended.open()
      try? await gracefulShutdown()
    }
    let handing = RunningService("hand-over") {
      try await handOver(front, sockets, gates)
      try? await gracefulShutdown()
    }
    var services: [ServiceGroupConfiguration.ServiceConfiguration] = [
      .init(service: renewing, successTerminationBehavior: .ignore),
      .init(service: serving), .init(service: gated(admin, gates)),
      .init(service: handing, failureTerminationBehavior: .gracefullyShutdownGroup),
    ]
    let successor = Successor(
      command: Successor.words(CommandLine.arguments, executable: InstalledFiles.realExecutable()), logger: logger)
    services.append(.init(service: successor.service))
    if let files = listening.tlsFiles { services.append(.init(service: files.reloading(front, logger: logger))) }
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    let ending = Task {
      await ended.wait()
      await group.triggerGracefulShutdown()
    }
    defer { ending.cancel() }
    try await group.run()
    await client.shutdown()
  }

  private func open(_ home: String) throws -> GatewaySockets {
    let lock = try DataFolder.take(home, for: "gateway")
    if takesOver { logger.notice("no gateway runs there to take over from, starting as usual") }
    return GatewaySockets(
      isOwner: true, lock: lock.descriptor,
      control: try PacketSocket.listen(in: home, as: TakeOver.socketName).descriptor,
      entrances: [
        try ListeningSocket.open(host: listening.listen, port: listening.gatewayPort, flag: "--gateway-port")
      ],
      admin: try ListeningSocket.open(host: listening.adminHost, port: listening.adminPort, flag: "--admin-port"))
  }

  private func inherit(_ taken: TakeOver) throws -> GatewaySockets {
    try taken.check(listening)
    logger.notice("taking over", metadata: ["process": "\(taken.process)", "sockets": "\(taken.entrances.count + 1)"])
    return GatewaySockets(
      isOwner: false, lock: taken.lock, control: taken.control, entrances: taken.entrances, admin: taken.admin)
  }

  private func gatewayServer(
    _ client: APIClient, _ credentials: MemberCredentials, _ sockets: GatewaySockets, _ taken: TakeOver?
  ) throws -> GatewayServer {
    var configuration = GatewayConfiguration(
      host: listening.listen, port: listening.gatewayPort, gatewayID: name, hostIdentity: HostIdentity.current,
      workerTLS: try PeerTLS.client(credentials), serverTLS: try listening.tlsFiles?.context(),
      threads: Processors.usable, drainSeconds: drainSeconds,
      connectionsMax: FileLimit.connections(files: FileLimit.raise()), publicOnly: listening.publicOnly)
    configuration.podSocket = folder.podSocket(ofGateway: name)
    configuration.listeners = sockets.entrances.map(\.descriptor.number)
    if let taken {
      configuration.routePatience = Self.routePatience
      configuration.needsRoutes = true
      // Not at once with the other one: of two that are told of a connection one finds it taken.
      configuration.beforeAccepting = { try await taken.complete() }
    }
    return GatewayServer(
      configuration: configuration,
      routes: HTTPRouteFeed(client: client), activation: HTTPActivation(client: client),
      usage: HTTPUsageSink(client: client), logs: HTTPLogSink(client: client),
      calls: HTTPCallQueue(client: client, gateway: name), logger: logger)
  }

  /// Figures and probes, from the moment calls are taken until a successor answers them.
  private func gated(_ admin: AdminServer, _ gates: AdminGates) -> any Service {
    RunningService("admin") {
      defer { gates.left.open() }
      await cancelWhenGracefulShutdown { await gates.listens.wait() }
      if Task.isShuttingDownGracefully { return }
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await admin.run() }
        tasks.addTask { await gates.leaves.wait() }
        try await tasks.next()
        tasks.cancelAll()
      }
      gates.left.open()
      try? await gracefulShutdown()
    }
  }

  /// Waits for whoever takes over from this process.
  private func handOver(_ front: GatewayServer, _ sockets: GatewaySockets, _ gates: AdminGates) async throws {
    guard await cancelWhenGracefulShutdown({ await front.waitUntilListening() }) != nil else { return }
    gates.listens.open()
    sockets.own()
    ServiceManager.tell("READY=1\nMAINPID=\(getpid())")
    let offer = HandOverOffer(parts: sockets.parts, control: sockets.control, logger: logger)
    guard let heir = try await offer.run() else { return }
    gates.leaves.open()
    await front.leaveToSuccessor()
    await gates.left.wait()
    heir.send(.yours)
    logger.notice("gateway was taken over, draining")
    sockets.letGo()
  }
}

/// When the port for figures and probes is served.
struct AdminGates {
  /// Calls are taken.
  let listens = Gate()
  /// It is another process's turn.
  let leaves = Gate()
  /// Nothing is accepted there any more.
  let left = Gate()
}

/// Something that happens once, and somebody who waits for it.
struct Gate: Sendable {
  private let stream: AsyncStream<Void>
  private let input: AsyncStream<Void>.Continuation

  /// Not open.
  init() { (stream, input) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1)) }

  /// Lets the one who waits go on.
  func open() { input.yield() }

  /// Waits until it is open, or the task is cancelled; for one caller.
  func wait() async { for await _ in stream { return } }
}
