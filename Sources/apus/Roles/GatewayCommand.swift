import ArgumentParser
import ClusterAPI
import ClusterClient
import ClusterModel
import FoundationEssentials
import Gateway
import HTTPService
import Logging
import ServiceLifecycle
import UnixSignals

/// `apus gateway`: a gateway alone, following the routes of a server.
struct GatewayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gateway",
    abstract: "Run a gateway alone, on the routes of a server.",
    discussion: """
      Example:
        apus token create --for gateway > token          # on the server
        apus gateway --server https://10.0.0.1:6440 --token-file token --name edge-1
      """)

  @OptionGroup var role: RoleOptions
  @OptionGroup var listening: ListenOptions
  @Option(help: ArgumentHelp("The server's API.", valueName: "url")) var server: String
  @Option(help: ArgumentHelp("A file with a join token for a gateway; not needed once joined.", valueName: "file"))
  var tokenFile: String?
  @Option(help: "The gateway's name, unique in the cluster.") var name = "gateway-1"

  func validate() throws {
    if let problem = Schema.Rule.dnsLabel.check(name) { throw ValidationError("--name: \(problem)") }
    if listening.tls {
      throw ValidationError("--tls: only the server's own gateway gets its certificate there; use --tls-certificate")
    }
    try listening.check()
  }

  func run() async throws {
    let logger = role.logger("apus.gateway")
    let home = DataFolder.choose(role.data).gateway(name)
    let lock = try DataFolder.take(home, for: "gateway")
    defer { withExtendedLifetime(lock) {} }
    let membership = Membership(
      role: .gateway, name: name, server: server, token: try tokenFile.map(FileReader.secretLine), home: home,
      logger: logger)
    let credentials = try await membership.joined()
    let client = try APIClient(
      endpoint: APIEndpoint(url: server, authority: credentials.authority), credential: credentials.credential,
      logger: logger)
    let front = GatewayServer(
      configuration: GatewayConfiguration(
        host: listening.listen, port: listening.gatewayPort, gatewayID: name, hostIdentity: HostIdentity.current,
        workerTLS: try PeerTLS.client(credentials), serverTLS: try listening.tlsFiles?.context(),
        threads: Processors.usable, connectionsMax: FileLimit.connections(files: FileLimit.raise()),
        publicOnly: listening.publicOnly),
      routes: HTTPRouteFeed(client: client), activation: HTTPActivation(client: client),
      usage: HTTPUsageSink(client: client), logs: HTTPLogSink(client: client),
      calls: HTTPCallQueue(client: client, gateway: name), logger: logger)
    let admin = AdminServer.metrics(
      host: listening.adminHost, port: listening.adminPort, logger: logger, metrics: { front.metricsText() },
      ready: { front.ready ? nil : "the gateway has no routes yet" })
    let renewing = membership.renewal(of: credentials, through: client) {
      front.use(workerTLS: try PeerTLS.client($0))
    }
    var services: [ServiceGroupConfiguration.ServiceConfiguration] = [
      .init(service: renewing, successTerminationBehavior: .ignore),
      .init(service: front, successTerminationBehavior: .gracefullyShutdownGroup), .init(service: admin),
    ]
    if let files = listening.tlsFiles { services.append(.init(service: files.reloading(front, logger: logger))) }
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await group.run()
    await client.shutdown()
  }
}
