package import ClusterAPI
package import ClusterModel
package import HTTPService

/// What the API's routes serve: ClusterAPI's protocols and the cluster's identity.
package struct APIServices: Sendable {
  /// The resources.
  package var resources: any ResourceService
  /// Workers' sessions.
  package var sessions: any NodeSessions
  /// Secrets of pods.
  package var secrets: any PodSecrets
  /// Which packages a node may read.
  package var placements: any PodPlacements
  /// Routes for gateways.
  package var feed: any RouteFeed
  /// Gateways' wishes.
  package var activation: any Activation
  /// Gateways' figures.
  package var usage: any UsageSink
  /// Where log records go.
  package var logSink: any LogSink
  /// Where they are found.
  package var logQueries: any LogQueries
  /// Function packages.
  package var artifacts: any Artifacts
  /// Asynchronous calls; nil keeps none.
  package var calls: (any CallQueue & CallCatalog)?
  /// Bearer tokens.
  package var tokens: TokenRegistry
  /// The cluster's certificate authority.
  package var authority: CertificateAuthority
  /// The product's version, such as `0.1.0`.
  package var version: String
  /// The wall clock.
  package var now: @Sendable () -> Timestamp
  /// Puts function, revision, pod and node into a worker's records from the server's own table, and drops records of
  /// pods that are not on that node; nil takes them as they come.
  package var stamp: (@Sendable (_ node: String, _ lines: [[UInt8]]) async throws(APIStatus) -> [[UInt8]])?

  /// Services of all parts.
  package init(
    resources: any ResourceService, sessions: any NodeSessions, secrets: any PodSecrets,
    placements: any PodPlacements, feed: any RouteFeed, activation: any Activation, usage: any UsageSink,
    logSink: any LogSink, logQueries: any LogQueries,
    artifacts: any Artifacts, tokens: TokenRegistry, authority: CertificateAuthority, version: String,
    calls: (any CallQueue & CallCatalog)? = nil, now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
    stamp: (@Sendable (_ node: String, _ lines: [[UInt8]]) async throws(APIStatus) -> [[UInt8]])? = nil
  ) {
    self.resources = resources
    self.sessions = sessions
    self.secrets = secrets
    self.placements = placements
    self.feed = feed
    self.activation = activation
    self.usage = usage
    self.logSink = logSink
    self.logQueries = logQueries
    self.artifacts = artifacts
    self.calls = calls
    self.tokens = tokens
    self.authority = authority
    self.version = version
    self.now = now
    self.stamp = stamp
  }
}
