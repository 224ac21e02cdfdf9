import ClusterModel
package import NIOSSL
package import Planning

/// How a gateway is set up.
package struct GatewayConfiguration: Sendable {
  /// The address listened on.
  package var host: String
  /// The port listened on; 0 for any free one.
  package var port: Int
  /// Sockets that listen already, to accept from instead of `host` and `port`; they stay open, their owner closes them.
  package var listeners: [CInt] = []
  /// Milliseconds to wait for the routes, at most, before the first connection is accepted.
  package var routePatience: Int64 = GatewayLimits.firstSnapshotMilliseconds
  /// Whether the gateway ends when no routes came by then, instead of answering 503 until they do.
  package var needsRoutes = false
  /// Runs when everything but the accepting of connections is ready, and has its time; what it throws ends the gateway.
  package var beforeAccepting: @Sendable () async throws -> Void = {}
  /// This gateway's name towards the control plane and in the logs.
  package var gatewayID: String
  /// The identity of this host; pods whose endpoint names the same one are reached by their unix socket.
  package var hostIdentity: String
  /// Mutual TLS towards workers on other hosts; nil sends plain bytes.
  package var workerTLS: NIOSSLContext?
  /// TLS towards clients; nil serves plain HTTP.
  package var serverTLS: NIOSSLContext?
  /// Event loop threads, at least 1; one a processor is right.
  package var threads: Int
  /// Seconds that running calls have when the gateway shuts down.
  package var drainSeconds: Int64
  /// When more pods are asked for.
  package var scaling: ScalingPolicy
  /// Client connections held at once; one more is answered 503 and closed.
  package var connectionsMax: Int
  /// Whether only functions marked public answer everybody; the others answer who shows a token.
  package var publicOnly: Bool
  /// Bytes of asynchronous calls' bodies held until they are durable; beyond it 429.
  package var intakeBytes: Int = Limits.asyncIntakeBytes
  /// A unix socket (at most 107 bytes, in a folder that only the owner of this process may enter) through which the server
  /// runs calls that were let in before: every function answers there, and `X-Apus-*` fields pass. Nil opens none.
  package var ownSocket: String?
  /// A unix socket, in such a folder too, through which the workers of this machine bring calls of their pods: each
  /// connection begins with a line that says whose it is, and calls functions of that namespace. Nil takes none.
  package var podSocket: String?

  /// A configuration with everything but the addresses at its default.
  package init(
    host: String = "127.0.0.1", port: Int = 8080, gatewayID: String, hostIdentity: String,
    workerTLS: NIOSSLContext? = nil, serverTLS: NIOSSLContext? = nil, threads: Int = 2, drainSeconds: Int64 = 30,
    scaling: ScalingPolicy = ScalingPolicy(), connectionsMax: Int = 10_000, publicOnly: Bool = false
  ) {
    self.host = host
    self.port = port
    self.gatewayID = gatewayID
    self.hostIdentity = hostIdentity
    self.workerTLS = workerTLS
    self.serverTLS = serverTLS
    self.threads = max(1, threads)
    self.drainSeconds = drainSeconds
    self.scaling = scaling
    self.connectionsMax = connectionsMax
    self.publicOnly = publicOnly
  }
}
