import ClusterAPI
import ClusterModel
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// The connections of one event loop to pods: idle ones last in, first out, and those in use.
///
/// Isolation: only on its event loop; no call ever hops to another one.
final class UpstreamPool {
  let eventLoop: any EventLoop
  private let hostIdentity: String
  private let tls: @Sendable () -> NIOSSLContext?
  private let metrics: GatewayMetrics
  private var idle: [PodKey: [UpstreamConnection]] = [:]
  private var active: [PodKey: [ObjectIdentifier: UpstreamConnection]] = [:]

  init(
    eventLoop: any EventLoop, hostIdentity: String, tls: @escaping @Sendable () -> NIOSSLContext?,
    metrics: GatewayMetrics
  ) {
    self.eventLoop = eventLoop
    self.hostIdentity = hostIdentity
    self.tls = tls
    self.metrics = metrics
  }

  /// Idle connections to a start of a pod.
  func idleCount(_ key: PodKey) -> Int { idle[key]?.count ?? 0 }

  /// The connection used last, if one is idle.
  func take(_ key: PodKey) -> UpstreamConnection? {
    while let connection = idle[key]?.popLast() {
      if idle[key]?.isEmpty == true { idle[key] = nil }
      guard connection.isOpen else { continue }
      active[key, default: [:]][ObjectIdentifier(connection)] = connection
      return connection
    }
    return nil
  }

  /// Opens a connection; it counts as in use.
  func connect(to assignment: Assignment, _ done: @escaping (Result<UpstreamConnection, any Error>) -> Void) {
    guard let endpoint = assignment.endpoint.endpoint else { return done(.failure(ConnectError.noEndpoint)) }
    let connecting: EventLoopFuture<any Channel>
    if endpoint.host == hostIdentity {
      connecting = bootstrap(assignment, preamble: nil).connect(unixDomainSocketPath: endpoint.socket)
    } else if let worker = endpoint.worker, let (host, port) = Self.split(worker) {
      connecting = bootstrap(assignment, preamble: assignment.key.uid).connect(host: host, port: port)
    } else {
      return done(.failure(ConnectError.notReachable(endpoint.host)))
    }
    let eventLoop = eventLoop
    let joined = connecting.flatMap { channel in
      // On another host the worker says first whether the pod takes connections.
      guard let preamble = try? channel.pipeline.syncOperations.handler(type: ConnectPreamble.self) else {
        return eventLoop.makeSucceededFuture(channel)
      }
      return preamble.joined.futureResult.map { channel }
    }
    joined.assumeIsolated().whenComplete { [self] result in
      let connection = result.flatMap { channel in
        Result { try channel.pipeline.syncOperations.handler(type: UpstreamConnection.self) }
      }
      if case .success(let connection) = connection {
        metrics.upstreamConnected()
        connection.pool = self
        active[connection.key, default: [:]][ObjectIdentifier(connection)] = connection
      }
      done(connection)
    }
  }

  /// Takes a connection back; it is kept if it may be used again and there is room.
  func release(_ connection: UpstreamConnection, keep: Bool) {
    removeActive(connection)
    let key = connection.key
    let most = max(GatewayLimits.idleConnections, connection.concurrency)
    guard keep, connection.isOpen, connection.isIdle, idleCount(key) < most else {
      return connection.close()
    }
    idle[key, default: []].append(connection)
  }

  /// A connection became a tunnel, which looks after itself.
  func release(_ connection: UpstreamConnection) { removeActive(connection) }

  /// A connection is closed.
  func forget(_ connection: UpstreamConnection) {
    removeActive(connection)
    guard var known = idle[connection.key] else { return }
    known.removeAll { $0 === connection }
    idle[connection.key] = known.isEmpty ? nil : known
  }

  /// A start of a pod takes nothing more: idle connections close now; with `abort`, used ones that do not end by
  /// themselves are closed after `goneMilliseconds`.
  func retire(_ key: PodKey, abort: Bool) {
    for connection in idle.removeValue(forKey: key) ?? [] { connection.close() }
    guard abort, active[key] != nil else { return }
    eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(GatewayLimits.goneMilliseconds)) { [weak self] in
      for connection in self?.active[key]?.values.map({ $0 }) ?? [] { connection.close() }
    }
  }

  /// Closes everything.
  func closeAll() {
    let open = idle.values.flatMap { $0 } + active.values.flatMap { $0.values }
    for connection in open { connection.close() }
  }

  private func removeActive(_ connection: UpstreamConnection) {
    let key = connection.key
    active[key]?[ObjectIdentifier(connection)] = nil
    if active[key]?.isEmpty == true { active[key] = nil }
  }

  private func bootstrap(_ assignment: Assignment, preamble uid: String?) -> ClientBootstrap {
    let tls = uid == nil ? nil : tls()
    return ClientBootstrap(group: eventLoop)
      .connectTimeout(.milliseconds(GatewayLimits.connectMilliseconds))
      .channelOption(.autoRead, value: false)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls { try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil)) }
          if let uid { try pipeline.addHandler(ConnectPreamble(uid: uid, eventLoop: channel.eventLoop)) }
          try UpstreamCodec.add(to: pipeline)
          try pipeline.addHandler(UpstreamConnection(key: assignment.key, concurrency: assignment.route.concurrency))
        }
      }
  }

  /// `HOST:PORT`, an IPv6 host in brackets.
  static func split(_ address: String) -> (String, Int)? {
    guard let colon = address.lastIndex(of: ":"), let port = Int(address[address.index(after: colon)...]),
      (1...65535).contains(port)
    else { return nil }
    var host = String(address[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    return host.isEmpty ? nil : (host, port)
  }

  /// Why no connection could be tried.
  enum ConnectError: Error, CustomStringConvertible {
    case noEndpoint
    case notReachable(String)

    var description: String {
      switch self {
      case .noEndpoint: "the pod has no endpoint"
      case .notReachable(let host): "the pod is on host \(host), whose worker serves no other host"
      }
    }
  }
}
