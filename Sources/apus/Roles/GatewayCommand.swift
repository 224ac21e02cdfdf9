import ArgumentParser
import ClusterAPI
import ClusterClient
import ControlPlane
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
        apus gateway --kubeconfig /var/lib/apus/kubeconfig --gateway-port 8081 --admin-port 8083
      """)

  @OptionGroup var role: RoleOptions
  @OptionGroup var listening: ListenOptions
  @Option(help: ArgumentHelp("The server's kubeconfig: where it is, and a credential for it.", valueName: "file"))
  var kubeconfig: String
  @Option(help: "The gateway's name, unique in the cluster.") var name = "gateway-1"

  func run() async throws {
    let logger = role.logger("apus.gateway")
    guard let text = try PrivateFile.read(kubeconfig) else {
      throw Failure("no such file: \(kubeconfig)", next: "The server writes it to DATA/kubeconfig when it starts.")
    }
    let config = try Kubeconfig(text: text)
    let client = try APIClient(
      endpoint: APIEndpoint(url: config.server, authority: config.authority), credential: .token(config.token),
      logger: logger)
    let front = GatewayServer(
      configuration: GatewayConfiguration(
        host: listening.listen, port: listening.gatewayPort, gatewayID: name, hostIdentity: HostIdentity.current),
      routes: HTTPRouteFeed(client: client), activation: HTTPActivation(client: client),
      usage: HTTPUsageSink(client: client), logs: HTTPLogSink(client: client), logger: logger)
    let admin = AdminServer.metrics(
      host: listening.listen, port: listening.adminPort, logger: logger, metrics: { front.metricsText() },
      ready: { front.ready ? nil : "the gateway has no routes yet" })
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [
          .init(service: front, successTerminationBehavior: .gracefullyShutdownGroup), .init(service: admin),
        ], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await group.run()
    await client.shutdown()
  }
}
