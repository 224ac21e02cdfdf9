package import ClusterAPI
import Foundation
package import Logging
import NIOCore
import NIOPosix
package import NIOSSL
import ServiceLifecycle
import Synchronization

/// The public entrance: takes requests for functions, finds or starts pods for them, and answers.
///
/// `run` binds, serves until graceful shutdown, drains, and returns; it can run once.
package final class GatewayServer: Service {
  private struct Shared {
    var services: GatewayServices?
    var port: Int?
  }

  private let configuration: GatewayConfiguration
  private let routes: any RouteFeed
  private let activation: any Activation
  private let usage: any UsageSink
  private let logs: (any LogSink)?
  private let calls: (any CallQueue)?
  private let logger: Logger
  private let shared = Mutex(Shared())
  private let workerTLS: Mutex<NIOSSLContext?>
  private let serverTLS: Mutex<NIOSSLContext?>
  private let bound: AsyncStream<Int>
  private let boundInput: AsyncStream<Int>.Continuation
  private let successor: AsyncStream<Void>
  private let successorInput: AsyncStream<Void>.Continuation
  private let accepting: AsyncStream<Void>
  private let acceptingInput: AsyncStream<Void>.Continuation

  /// A gateway over the control plane's protocols; `logs` nil writes no access records, `calls` nil takes no
  /// asynchronous calls.
  package init(
    configuration: GatewayConfiguration, routes: any RouteFeed, activation: any Activation, usage: any UsageSink,
    logs: (any LogSink)?, calls: (any CallQueue)? = nil, logger: Logger
  ) {
    self.configuration = configuration
    self.routes = routes
    self.activation = activation
    self.usage = usage
    self.logs = logs
    self.calls = calls
    self.logger = logger
    workerTLS = Mutex(configuration.workerTLS)
    serverTLS = Mutex(configuration.serverTLS)
    (bound, boundInput) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
    (successor, successorInput) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    (accepting, acceptingInput) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
  }

  /// The port listened on; nil before and after.
  package var boundPort: Int? { shared.withLock { $0.port } }

  /// Takes a renewed certificate for connections to workers that are opened from now on.
  package func use(workerTLS context: NIOSSLContext) { workerTLS.withLock { $0 = context } }

  /// Takes a new certificate for callers that connect from now on; only when it served TLS from the start.
  package func use(serverTLS context: NIOSSLContext) {
    guard configuration.serverTLS != nil else { return }
    serverTLS.withLock { $0 = context }
  }

  /// Waits until the gateway listens and answers its port; nil when it ended without. One caller at a time.
  package func waitUntilListening() async -> Int? {
    if let port = boundPort { return port }
    for await port in bound { return port }
    return nil
  }

  /// Another process is to accept from the same sockets: returns when this one accepts no more, which is once. Every
  /// connection still gets the answer to a request it sends or sent; then `run` returns.
  package func leaveToSuccessor() async {
    successorInput.yield()
    for await _ in accepting {}
  }

  /// Whether requests are taken: it listens, knows the routes, and does not shut down.
  package var ready: Bool {
    let state = shared.withLock { ($0.services, $0.port) }
    guard let services = state.0, state.1 != nil else { return false }
    return services.table.loaded && !services.isDraining
  }

  /// All metrics as Prometheus text; empty before `run`.
  package func metricsText() -> String {
    guard let services = shared.withLock({ $0.services }) else { return "" }
    let rows = services.table.dispatchers
      .map { GatewayMetrics.Row(route: $0.route, figures: $0.figures, totals: $0.meters.totals) }
      .sorted { $0.route.key < $1.route.key }
    return services.metrics.text(rows, log: services.accessLog)
  }

  /// Serves until graceful shutdown; throws when the address cannot be bound.
  package func run() async throws {
    defer {
      boundInput.finish()
      acceptingInput.finish()
    }
    let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.threads)
    let outcome: Result<Void, any Error>
    do {
      try await serve(on: group)
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    shared.withLock { $0.port = nil }
    try await group.shutdownGracefully()
    try outcome.get()
  }

  private func serve(on group: MultiThreadedEventLoopGroup) async throws {
    // Two processes of one gateway are two gateways to the control plane: a pod one of them gave up may be in use by the
    // other.
    let session = "\(configuration.gatewayID).\(String(UInt64.random(in: .min ... .max), radix: 16))"
    let sender = ActivationSender(activation: activation, gateway: session, logger: logger)
    let services = makeServices(group, sender, session: session)
    for (index, eventLoop) in Array(group.makeIterator()).enumerated() {
      try await eventLoop.submit {
        services.makeLoop(on: eventLoop, index: index, workerTLS: { [weak self] in self?.workerTLS.withLock { $0 } })
      }.get()
    }
    shared.withLock { $0.services = services }
    let follower = RouteFollower(
      feed: routes, gateway: session, table: services.table, logger: logger)
    let reporter = UsageReporter(sink: usage, gateway: session, table: services.table)
    let logs = logs
    let logger = logger
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { await follower.run() }
      tasks.addTask { await sender.run() }
      tasks.addTask { await reporter.run() }
      if let accessLog = services.accessLog, let logs {
        tasks.addTask { await accessLog.run(sink: logs, logger: logger) }
      }
      defer { tasks.cancelAll() }
      try await listen(on: group, services)
    }
  }

  private func makeServices(
    _ group: MultiThreadedEventLoopGroup, _ sender: ActivationSender, session: String
  ) -> GatewayServices {
    let effects = GatewayEffects(sender: sender)
    let (policy, host) = (configuration.scaling, configuration.hostIdentity)
    let loops = configuration.threads
    let table = RouteTable(
      make: { route in
        FunctionDispatcher(
          route: route, policy: policy, host: host, effects: effects, timerLoop: group.next(), loops: loops)
      }, releaseUnknown: { sender.podIdle(nil, uid: $0, .idle) })
    let log = logs == nil ? nil : AccessLog(source: "gateway/\(session)")
    let services = GatewayServices(
      configuration: configuration, table: table, metrics: GatewayMetrics(), accessLog: log, logger: logger,
      calls: calls)
    effects.attach(services)
    return services
  }

  private func listen(on group: MultiThreadedEventLoopGroup, _ services: GatewayServices) async throws {
    // A restarted gateway should not answer "unknown function" in the moment before its first snapshot.
    await services.table.waitUntilLoaded(milliseconds: configuration.routePatience)
    if configuration.needsRoutes, !services.table.loaded { throw GatewayError.noRoutes(configuration.routePatience) }
    try await configuration.beforeAccepting()
    let insides = try await listenInside(on: group, services)
    let entrance: Entrance
    do {
      entrance = try await enter(group, services)
    } catch {
      for inside in insides { try? await inside.close().get() }
      throw error
    }
    shared.withLock { $0.port = entrance.port }
    boundInput.yield(entrance.port)
    logger.notice(
      "gateway listens",
      metadata: ["address": "\(configuration.host):\(entrance.port)", "gateway.id": "\(configuration.gatewayID)"])
    let ending = await waitForEnd()
    await entrance.close()
    acceptingInput.finish()
    for inside in insides { try? await inside.close().get() }
    // Where another process goes on, the path leads to its socket by now.
    if ending != .succeeded {
      for path in [configuration.ownSocket, configuration.podSocket].compactMap(\.self) {
        try? FileManager.default.removeItem(atPath: path)
      }
    }
    services.startDraining(handsOver: ending == .succeeded)
    if ending != .cancelled { await drain(services) }
    services.closeAll()
    logger.notice("gateway stopped", metadata: ["calls.cut": "\(services.callsOpen)"])
  }

  private func enter(_ group: MultiThreadedEventLoopGroup, _ services: GatewayServices) async throws -> Entrance {
    let bootstrap = bootstrap(group, services)
    do {
      if !configuration.listeners.isEmpty {
        return try await Entrance.adopt(bootstrap, configuration.listeners, on: group)
      }
      return try await Entrance.bind(bootstrap, host: configuration.host, port: configuration.port, on: group)
    } catch {
      throw GatewayError.cannotListen("\(configuration.host):\(configuration.port)", "\(error)")
    }
  }

  /// Why a gateway stops accepting.
  private enum Ending { case asked, cancelled, succeeded }

  private func waitForEnd() async -> Ending {
    await withTaskGroup(of: Ending.self) { group in
      group.addTask { (try? await gracefulShutdown()) == nil ? .cancelled : .asked }
      group.addTask { [successor] in
        for await _ in successor { return .succeeded }
        return .cancelled
      }
      defer { group.cancelAll() }
      return await group.next() ?? .cancelled
    }
  }

  /// Listens for the server's own calls and for those of pods, where there are any.
  private func listenInside(on group: MultiThreadedEventLoopGroup, _ services: GatewayServices) async throws
    -> [any Channel]
  {
    var channels: [any Channel] = []
    if let path = configuration.ownSocket {
      channels.append(
        try await listen(on: group, services, at: path) { channel, loop in
          try channel.pipeline.syncOperations.addHandler(
            ClientConnection(services: services, loop: loop, isOwn: true, isPlain: true))
        })
    }
    if let path = configuration.podSocket {
      channels.append(
        try await listen(on: group, services, at: path) { channel, loop in
          let client = ClientConnection(services: services, loop: loop, isPlain: true)
          try channel.pipeline.syncOperations.addHandlers([PodPreamble(before: client), client])
        })
    }
    return channels
  }

  private func listen(
    on group: MultiThreadedEventLoopGroup, _ services: GatewayServices, at path: String,
    _ accept: @escaping @Sendable (any Channel, GatewayLoop) throws -> Void
  ) async throws -> any Channel {
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1024)
      .childChannelOption(.autoRead, value: false)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard let loop = services.loop(on: channel.eventLoop) else { throw ChannelError.ioOnClosedChannel }
          try accept(channel, loop)
        }
      }
    do {
      return try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
    } catch {
      throw GatewayError.cannotListen(path, "\(error)")
    }
  }

  private func drain(_ services: GatewayServices) async {
    logger.notice(
      "gateway drains",
      metadata: ["calls.open": "\(services.callsOpen)", "connections": "\(services.metrics.connections)"])
    let bound = Duration.seconds(configuration.drainSeconds)
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await services.waitUntilDrained() }
      group.addTask { try? await Task.sleep(for: bound) }
      await group.next()
      group.cancelAll()
    }
  }

  private func bootstrap(_ group: MultiThreadedEventLoopGroup, _ services: GatewayServices) -> ServerBootstrap {
    ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.autoRead, value: false)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard let loop = services.loop(on: channel.eventLoop) else { throw ChannelError.ioOnClosedChannel }
          let pipeline = channel.pipeline.syncOperations
          let tls = self.serverTLS.withLock { $0 }
          if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
          let client = ClientConnection(services: services, loop: loop, isPlain: tls == nil)
          try pipeline.addHandler(
            ProtocolDetector(before: client, services: services, loop: loop, isTLS: tls != nil))
          try pipeline.addHandler(client)
        }
      }
  }
}

/// Why a gateway could not start.
package enum GatewayError: Error, CustomStringConvertible {
  /// The address is not free or not ours.
  case cannotListen(String, String)
  /// The control plane told no routes in so many milliseconds.
  case noRoutes(Int64)

  /// What went wrong and what to do.
  package var description: String {
    switch self {
    case .cannotListen(let address, let why):
      "gateway: cannot listen on \(address): \(why); free the port or choose another one"
    case .noRoutes(let milliseconds):
      "gateway: the server told no routes within \(milliseconds / 1000) s; see that --server can be reached"
    }
  }
}
