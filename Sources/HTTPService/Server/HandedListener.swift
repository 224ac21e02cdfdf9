internal import Glibc
internal import Hummingbird
internal import HummingbirdCore
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle

/// Serves HTTP/1.1 on a socket that listens already, such as one another process handed over: the library's own server
/// can only bind.
struct HandedListener {
  /// The library's connections, made for a responder.
  let connections: HTTP1Channel
  let logger: Logger

  /// Connections whose requests a router answers.
  init(_ router: Router<AdminContext>, configuration: HTTP1Channel.Configuration, name: String, logger: Logger) {
    let responder = router.buildResponder()
    self.logger = logger
    connections = HTTP1Channel(
      responder: { request, writer, channel in
        // The library's contexts find the request's id there.
        var logger = logger
        logger[metadataKey: "hb.request.id"] = .stringConvertible(RequestID())
        let context = AdminContext(source: .init(channel: channel, logger: logger))
        var response = try await responder.respond(to: request, context: context)
        response.headers[.server] = name
        try await writer.write(response: response.head, body: response.body)
      }, configuration: configuration)
  }

  /// Accepts until the task is cancelled or shuts down gracefully; the socket itself stays open.
  func run(socket: CInt, listening: @Sendable (Int) -> Void) async throws {
    let own = fcntl(socket, F_DUPFD_CLOEXEC, 3)
    guard own >= 0 else { throw IOError(errnoCode: errno, reason: "dup") }
    _ = fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK)
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .bind(own) { [connections, logger] channel in connections.setup(channel: channel, logger: logger) }
    listening(server.channel.localAddress?.port ?? 0)
    await withTaskGroup(of: Void.self) { tasks in
      tasks.addTask { [connections, logger] in
        await withDiscardingTaskGroup { group in
          do {
            try await server.executeThenClose { inbound in
              for try await connection in inbound {
                group.addTask { await connections.handle(value: connection, logger: logger) }
              }
            }
          } catch {
            logger.debug("admin socket closed", metadata: ["error": "\(error)"])
          }
          // Figures that are read right now are read again from whoever listens next.
          group.cancelAll()
        }
      }
      tasks.addTask { try? await gracefulShutdown() }
      await tasks.next()
      tasks.cancelAll()
    }
  }
}
