import ClusterAPI
import ClusterModel
import NIOCore
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
  /// By `PodStart.number`.
  private var lanes: [Int: Lane] = [:]

  /// The connections to one start of a pod.
  final class Lane {
    let key: PodKey
    /// The number of the pod's start.
    let number: Int
    var idle: [UpstreamConnection] = []
    var used: [UpstreamConnection] = []

    init(_ start: PodStart) {
      key = start.key
      number = start.number
    }
  }

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
  func idleCount(_ key: PodKey) -> Int { lanes.values.first { $0.key == key }?.idle.count ?? 0 }

  /// The connection used last, if one is idle.
  func take(_ start: PodStart) -> UpstreamConnection? {
    guard let lane = lanes[start.number] else { return nil }
    while let connection = lane.idle.popLast() {
      guard connection.isOpen else { continue }
      enter(connection, lane)
      return connection
    }
    return nil
  }

  private func enter(_ connection: UpstreamConnection, _ lane: Lane) {
    connection.place = lane.used.count
    lane.used.append(connection)
  }

  private func lane(of start: PodStart) -> Lane {
    if let known = lanes[start.number] { return known }
    let made = Lane(start)
    lanes[start.number] = made
    return made
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
        let lane = lane(of: connection.start)
        connection.lane = lane
        enter(connection, lane)
      }
      done(connection)
    }
  }

  /// Takes a connection back; it is kept if it may be used again and there is room.
  func release(_ connection: UpstreamConnection, keep: Bool) {
    leave(connection)
    let most = max(GatewayLimits.idleConnections, connection.concurrency)
    guard keep, connection.isOpen, connection.isIdle else { return connection.close() }
    let lane = connection.lane ?? lane(of: connection.start)
    guard lane.idle.count < most else { return connection.close() }
    connection.lane = lane
    lane.idle.append(connection)
  }

  /// A connection became a tunnel, which looks after itself.
  func release(_ connection: UpstreamConnection) { leave(connection) }

  /// A connection is closed.
  func forget(_ connection: UpstreamConnection) {
    leave(connection)
    guard let lane = connection.lane else { return }
    connection.lane = nil
    if let index = lane.idle.lastIndex(where: { $0 === connection }) { lane.idle.remove(at: index) }
    if lane.idle.isEmpty, lane.used.isEmpty, lanes[lane.number] === lane { lanes[lane.number] = nil }
  }

  /// A start of a pod takes nothing more: idle connections close now; with `abort`, used ones that do not end by
  /// themselves are closed after `goneMilliseconds`.
  func retire(_ key: PodKey, abort: Bool) {
    // A pod that was forgotten and offered again has two lanes.
    let retired = lanes.values.filter { $0.key == key }
    for lane in retired {
      let idle = lane.idle
      lane.idle = []
      for connection in idle { connection.close() }
    }
    guard abort, retired.contains(where: { !$0.used.isEmpty }) else { return }
    eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(GatewayLimits.goneMilliseconds)) { [weak self] in
      for lane in self?.lanes.values.filter({ $0.key == key }) ?? [] {
        for connection in Array(lane.used) { connection.cut() }
      }
    }
  }

  /// Closes everything.
  func closeAll() {
    let open = lanes.values.flatMap { $0.idle + $0.used }
    for connection in open { connection.close() }
  }

  /// Takes a connection out of the used ones; the last of them takes its place.
  private func leave(_ connection: UpstreamConnection) {
    guard let place = connection.place, let lane = connection.lane else { return }
    connection.place = nil
    let last = lane.used.removeLast()
    guard last !== connection else { return }
    lane.used[place] = last
    last.place = place
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
          try pipeline.addHandler(
            UpstreamConnection(
              start: assignment.start, concurrency: assignment.info.route.concurrency, isPlain: uid == nil))
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
