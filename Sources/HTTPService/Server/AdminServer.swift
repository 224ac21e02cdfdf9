package import ClusterAPI
package import Hummingbird
internal import HummingbirdCore
internal import HummingbirdTLS
package import Logging
internal import NIOCore
package import NIOSSL
internal import ServiceLifecycle

/// Answers an error of some paths in the shape their clients read; nil leaves it a `Status` object.
package typealias ErrorDialect = @Sendable (Request, APIStatus) -> Response?

/// A server for the cluster's own requests: errors as `Status` objects, authentication, `/healthz`, access log.
///
/// With TLS and an authenticator it is the API's server; without both it is the gateway's admin port.
package struct AdminServer: Service {
  /// Paths that answer without a credential.
  package static let openPaths: Set<String> = ["/healthz", "/readyz", "/internal/v1/ca"]
  /// Connections that may wait to be accepted.
  static let backlog = 1024
  private static let name = "apus"

  /// Where the server listens, known once it does.
  package let bound = BoundAddress()
  private let host: String
  private let port: Int
  private let socket: CInt?
  private let tls: TLSConfiguration?
  private let authenticator: (any Authenticator)?
  private let openPaths: Set<String>
  private let failure: ErrorDialect
  private let logger: Logger
  private let routes: @Sendable (Router<AdminContext>) -> Void

  /// A server on a host and port (0 takes a free one); `routes` adds its routes, `/healthz` is there already.
  ///
  /// Without `authenticator` every request is let in as `.anonymous`. With `socket`, one that listens already, nothing is
  /// bound, and the socket stays open; TLS is not spoken there. `failure` may answer an error in another shape.
  package init(
    host: String, port: Int, socket: CInt? = nil, tls: TLSConfiguration?, authenticator: (any Authenticator)?,
    openPaths: Set<String> = AdminServer.openPaths, failure: @escaping ErrorDialect = { _, _ in nil }, logger: Logger,
    routes: @escaping @Sendable (Router<AdminContext>) -> Void
  ) {
    self.host = host
    self.port = port
    self.socket = socket
    self.tls = tls
    self.authenticator = authenticator
    self.openPaths = openPaths
    self.failure = failure
    self.logger = logger
    self.routes = routes
  }

  /// Serves until the task is cancelled or a graceful shutdown: then it stops accepting, ends live streams, lets
  /// running requests finish and returns. Throws when the address cannot be bound or the certificate not be used.
  package func run() async throws {
    let router = Router(context: AdminContext.self)
    router.add(middleware: ErrorMiddleware(dialect: failure))
    router.add(middleware: AccessLogMiddleware())
    if let authenticator {
      router.add(middleware: AuthenticationMiddleware(authenticator: authenticator, openPaths: openPaths))
    } else {
      router.add(middleware: HostMiddleware(listeningOn: host))
    }
    router.get("/healthz") { _, _ in Response.text("ok\n") }
    routes(router)
    let configuration = HTTP1Channel.Configuration(additionalChannelHandlers: [DeadPeerHandler()])
    do {
      if let socket {
        let listener = HandedListener(router, configuration: configuration, name: Self.name, logger: logger)
        try await listener.run(socket: socket) { [bound] in bound.set(port: $0) }
        return bound.fail(CancellationError())
      }
      let plain = HTTPServerBuilder.http1(configuration: configuration)
      let application = Application(
        router: router, server: try tls.map { try .tls(plain, tlsConfiguration: $0) } ?? plain,
        configuration: ApplicationConfiguration(
          address: .hostname(host, port: port), serverName: Self.name, backlog: Self.backlog),
        onServerRunning: { [bound] in bound.set(port: $0.localAddress?.port ?? 0) }, logger: logger)
      try await application.run()
      bound.fail(CancellationError())
    } catch {
      let failure = SecurityOrBindError.explain(error, host: host, port: port)
      bound.fail(failure)
      throw failure
    }
  }
}

/// A server could not start; `description` says why and what to do.
package struct ServerStartError: Error, CustomStringConvertible {
  /// The explanation.
  package let description: String
}

private enum SecurityOrBindError {
  static func explain(_ error: any Error, host: String, port: Int) -> any Error {
    guard let error = error as? IOError else { return error }
    let hint =
      switch error.errnoCode {
      case 98: "another process listens there; stop it or choose another port"
      case 99: "this machine has no such address"
      case 13: "ports below 1024 need root"
      default: "\(error)"
      }
    return ServerStartError(description: "cannot listen on \(host):\(port): \(hint)")
  }
}
