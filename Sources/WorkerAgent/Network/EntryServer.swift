import NIOCore
import NIOPosix
import NIOSSL

/// The door for gateways on other machines.
///
/// The client opens a TLS connection with a cluster certificate and sends one line, `CONNECT <pod uid>\n`. The answer
/// is one line: `OK\n`, and from then on the connection is the pod's socket, byte for byte in both directions with
/// half-closes kept; or `ERR <reason>\n` and the end. Reasons: `bad_request`, `unknown_pod` (not on this node, or
/// gone), `not_listening` (its socket does not take connections), `busy` (too many connections), `not_a_gateway`.
/// A line that begins `GET /healthz HTTP/1.` is answered 200 as HTTP instead, for probes.
final class EntryServer: Sendable {
  /// Connections at once.
  static let connectionsMaximum = 10_000
  /// How long the first line may take, a TLS handshake before it included, unless it is said otherwise.
  static let lineTimeout = TimeAmount.seconds(5)

  private let server: any Channel

  /// Listens on a host and port (0 for a free one). `tls` gives the context of each new connection, which must ask
  /// for a certificate of the cluster; `socketPath` the socket of a pod that may be reached.
  init(
    host: String, port: Int, tls: @escaping @Sendable () -> EntryTLS?, group: any EventLoopGroup,
    lineTimeout: TimeAmount = EntryServer.lineTimeout,
    socketPath: @escaping @Sendable (_ uid: String) -> String?
  ) async throws {
    let count = ConnectionCount()
    server = try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { child in
        child.eventLoop.makeCompletedFuture {
          let tls = tls()
          if let tls { try child.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls.context)) }
          let admitted = count.enter(limit: Self.connectionsMaximum)
          child.closeFuture.whenComplete { _ in if admitted { count.leave() } }
          try child.pipeline.syncOperations.addHandler(
            EntryHandler(admitted: admitted, tls: tls, lineTimeout: lineTimeout, socketPath: socketPath))
        }
      }
      .bind(host: host, port: port)
      .get()
  }

  /// The port it listens on.
  var port: Int { server.localAddress?.port ?? 0 }

  /// Stops accepting.
  func close() async { try? await server.close() }
}
