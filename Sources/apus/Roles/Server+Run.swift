import CLinux
import ClusterAPI
import ClusterClient
import ClusterModel
import ControlPlane
import FoundationEssentials
import Gateway
import HTTPService
import LogIndex
import LogService
import Logging
import NIOSSL
import ServiceLifecycle
import UnixSignals
import StateStore

/// The composition root of the server: the map of what runs in it, in the order in which it starts.
struct ServerRole {
  let folder: DataFolder
  let listening: ListenOptions
  let calls: CallOptions
  let logOptions: LogServiceOptions
  /// Through which gateway asynchronous calls are run when this process has none.
  let callsThrough: String?
  let apiPort: Int
  let gateway: Bool
  /// What is masked in log records that others push.
  let logMasks: LogMasks
  /// How the process ended before, when it was started again.
  let ending: String?
  let logger: Logger

  /// How long the gateway's own certificate towards workers is good; the process makes a new one at each start.
  static let identityHours = 24.0 * 365

  /// Nobody watches the store of calls, so that it need not remember what changed last.
  private static let callStoreOptions: SQLiteOptions = {
    var options = SQLiteOptions()
    options.ringEvents = 16
    options.ringBytes = 1 << 16
    options.readersMax = 2
    return options
  }()

  /// Runs until SIGTERM; pods live on without it.
  func run() async throws {
    try folder.prepare()
    let store = try SQLiteStore.open(path: folder.store)
    let soft = MemoryStore(boot: store.bootCount)
    let logs = try LogService.open(directory: folder.logs, options: logOptions, logger: logger)
    let authority = try CertificateAuthority(folder: folder.keys, now: .now())
    let plane = ControlPlane(
      durable: store, soft: soft, boot: store.bootCount, artifacts: try ArtifactStore(directory: folder.artifacts),
      vault: try SecretVault.open(keyFile: folder.keys + "/secrets.key"), logs: logs, logger: logger)
    try await plane.prepare()
    // Reading all intent leaves holes in the heap that nothing of this size needs again.
    apus_trim_heap()
    let tokens = TokenRegistry(store: store, authorityHash: authority.keyHash)
    try await tokens.tell { await plane.orchestrator.use($0, version: $1) }
    let socket = gateway ? try folder.gatewaySocket() : nil
    let entrance = CallGateway(named: gateway ? nil : callsThrough, socket: socket)
    let runsCalls = gateway || callsThrough != nil
    let callStore = runsCalls ? try SQLiteStore.open(path: folder.calls, options: Self.callStoreOptions) : nil
    let callService = try callStore.map { try self.callService(plane, $0, entrance, tokens, authority) }
    try await callService?.prepare()
    let schedules = callService.map { plane.schedules(over: $0) }
    try await schedules?.prepare()
    let api = try apiServer(plane, logs, callService, tokens, authority)
    let front = try gatewayServer(plane, logs, callService, authority, socket: socket)
    entrance.use(front)

    var services: [any Service] = [logs, RunningService("control-plane", plane.run), api]
    let admin = front.map { front in
      AdminServer.metrics(
        host: listening.adminHost, port: listening.adminPort == 0 ? remembered.admin ?? 0 : listening.adminPort,
        logger: logger,
        metrics: { await front.metricsText() + (callService?.metricsText() ?? "") + logs.metricsText() },
        ready: { front.ready ? nil : "the gateway has no routes yet" })
    }
    if let front, let admin { services += [front, admin] }
    if let front, let files = listening.tlsFiles { services.append(files.reloading(front, logger: logger)) }
    if let callService { services.append(RunningService("calls", callService.run)) }
    if let schedules {
      services.append(RunningService("schedules", schedules.run))
    } else {
      logger.warning("no asynchronous calls are taken and no schedules run: neither a gateway nor --calls-through")
    }
    services.append(
      RunningService("announcement") {
        let ports = RememberedPorts(
          api: try await api.bound.port, gateway: await front?.waitUntilListening(),
          admin: try await admin?.bound.port)
        try await announce(ports, tokens: tokens, authority: authority)
        if let ending {
          await plane.events.record(
            ObjectReference(.namespace, namespace: nil, name: "default"), reason: "ServerRestarted",
            message: "the server \(ending) and was started again", warning: true)
        }
        try await gracefulShutdown()
      })
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: services.map { .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup) },
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    logger.notice("server starting", metadata: ["data": "\(folder.path)", "boot": "\(store.bootCount)"])
    try await group.run()
    await callStore?.close()
    await store.close()
    folder.removeSocketFolder()
  }

  /// Asynchronous calls, run through the gateway like anybody's.
  private func callService(
    _ plane: ControlPlane, _ store: SQLiteStore, _ entrance: CallGateway, _ tokens: TokenRegistry,
    _ authority: CertificateAuthority
  ) throws -> CallService {
    CallService(
      store: store, options: calls.options,
      invoker: try GatewayInvoker(authority: authority.pem, token: tokens.platformToken) { entrance.url },
      logger: logger,
      route: { await plane.orchestrator.route(namespace: $0, function: $1) })
  }

  private func apiServer(
    _ plane: ControlPlane, _ logs: LogService, _ calls: CallService?, _ tokens: TokenRegistry,
    _ authority: CertificateAuthority
  ) throws -> AdminServer {
    let issued = try authority.server(names: serverNames, now: .now())
    let services = APIServices(
      resources: plane.resources, sessions: plane.orchestrator, secrets: plane.orchestrator,
      placements: plane.orchestrator, feed: plane.orchestrator, activation: plane.orchestrator, usage: plane.usage,
      logSink: logs, logQueries: logs, artifacts: plane.artifacts, tokens: tokens, authority: authority,
      version: Version.current, calls: calls,
      stamp: { await plane.stamp.checked($1, of: $0) })
    return AdminServer(
      host: listening.listen, port: apiPort == 0 ? remembered.api ?? 0 : apiPort,
      tls: try ServerTLS.configuration(
        certificate: issued.certificate, key: issued.key ?? "", authority: authority.pem),
      authenticator: tokens, failure: LogAdapters.failure, logger: logger
    ) { router in
      APIRoutes.register(on: router, services: services)
      LogAdapters(logs, masks: logMasks).register(on: router)
    }
  }

  private func gatewayServer(
    _ plane: ControlPlane, _ logs: LogService, _ calls: CallService?, _ authority: CertificateAuthority,
    socket: String?
  ) throws -> GatewayServer? {
    guard gateway else { return nil }
    let port = listening.gatewayPort == 0 ? remembered.gateway ?? 0 : listening.gatewayPort
    let identity = try authority.client(.gateway("server"), hours: Self.identityHours, now: .now())
    var configuration = GatewayConfiguration(
      host: listening.listen, port: port, gatewayID: "server", hostIdentity: HostIdentity.current,
      workerTLS: try PeerTLS.client(
        certificate: identity.certificate, key: identity.key ?? "", authority: authority.pem),
      serverTLS: try gatewayTLS(authority),
      // The others are for the rest of the server, and for the pods on its machine; and a slot that one loop gives back
      // wakes the other for the next call.
      threads: max(1, Processors.usable / 2), connectionsMax: FileLimit.connections(files: FileLimit.raise()),
      publicOnly: listening.publicOnly)
    configuration.ownSocket = socket
    configuration.podSocket = try folder.podSocket()
    return GatewayServer(
      configuration: configuration, routes: plane.orchestrator, activation: plane.orchestrator, usage: plane.usage,
      logs: logs, calls: calls,
      logger: logger)
  }

  private func gatewayTLS(_ authority: CertificateAuthority) throws -> NIOSSLContext? {
    if let files = listening.tlsFiles { return try files.context() }
    guard listening.tls else { return nil }
    return try GatewayTLS.context(try authority.server("gateway", names: serverNames, now: .now()))
  }

  /// The names and addresses by which this machine is known.
  private var serverNames: [String] {
    [listening.listen, ProcessInfo.processInfo.hostName].filter { $0 != "0.0.0.0" && $0 != "::" }
  }

  /// Tells the world where the server is, once it listens: the kubeconfig, and the ports for the next start.
  private func announce(_ ports: RememberedPorts, tokens: TokenRegistry, authority: CertificateAuthority) async throws {
    let host = ["0.0.0.0", "::"].contains(listening.listen) ? "127.0.0.1" : listening.listen
    let present = (try? PrivateFile.read(folder.kubeconfig)).flatMap { $0 }.flatMap { try? Kubeconfig(text: $0) }
    let config = Kubeconfig(
      server: "https://\(host):\(ports.api ?? 0)", authority: authority.pem,
      token: try await tokens.admin(present: present?.token),
      gateway: ports.gateway.map { "\(listening.servesTLS ? "https" : "http")://\(host):\($0)" })
    try PrivateFile.write(Array(config.text.utf8), to: folder.kubeconfig)
    var ports = ports
    ports.host = host
    try PrivateFile.write(Array(JSONCoding.encoder.encode(ports)), to: folder.ports)
    logger.notice(
      "server ready", metadata: ["api.port": "\(ports.api ?? 0)", "gateway.port": "\(ports.gateway ?? 0)"])
  }

  /// The ports of the last start, so that a restart of a server on free ports keeps its address.
  private var remembered: RememberedPorts { RememberedPorts.read(folder) ?? RememberedPorts() }
}

/// The ports a server got.
struct RememberedPorts: Codable, Hashable, Sendable {
  var host: String?
  var api: Int?
  var gateway: Int?
  var admin: Int?

  /// What a server wrote into its data folder; nil when none did.
  static func read(_ folder: DataFolder) -> RememberedPorts? {
    FileManager.default.contents(atPath: folder.ports)
      .flatMap { try? JSONDecoder().decode(RememberedPorts.self, from: $0) }
  }
}

/// A service of one closure.
struct RunningService: Service {
  let name: String
  let body: @Sendable () async throws -> Void

  init(_ name: String, _ body: @escaping @Sendable () async throws -> Void) {
    self.name = name
    self.body = body
  }

  func run() async throws { try await body() }
}
