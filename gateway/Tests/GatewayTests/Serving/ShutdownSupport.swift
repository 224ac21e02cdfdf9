import Logging
import ServiceLifecycle

@testable import Gateway

/// Runs a gateway in a service group, as the product does, and lets the test begin its graceful shutdown.
func shutDownGracefully(
  _ platform: FakePlatform, _ body: (TestClients, _ shutDown: @Sendable () -> Void) async throws -> Void
) async throws {
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  let gateway = GatewayServer(
    configuration: GatewayConfiguration(port: 0, gatewayID: "g1", hostIdentity: "here", drainSeconds: 30),
    routes: platform, activation: platform, usage: platform, logs: platform, logger: logger)
  let group = ServiceGroup(
    configuration: ServiceGroupConfiguration(services: [.init(service: gateway)], logger: logger))
  let running = Task { try await group.run() }
  if let port = await gateway.waitUntilListening() {
    let clients = TestClients(port: port)
    try await body(clients) { Task { await group.triggerGracefulShutdown() } }
    await clients.shutdown()
  }
  await group.triggerGracefulShutdown()
  try await running.value
}
