import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization

@testable import Gateway

/// A control plane and a node in one, around real sockets: starts fake pods on a wish, drains them in two steps.
final class FakePlatform: RouteFeed, Activation, UsageSink, LogSink {
  struct State {
    var functions: [String: FunctionRoute] = [:]
    var endpoints: [String: EndpointRoute] = [:]
    var pods: [String: FakePod] = [:]
    var credentials: [InvokeCredential]? = []
    var feeds: [AsyncStream<RouteUpdate>.Continuation] = []
    var wants: [PodsWanted] = []
    var idles: [String] = []
    var usage: [FunctionUsage] = []
    var lines: [[UInt8]] = []
    var acknowledged: UInt64 = 0
    var sources: Set<String> = []
    var nextPod = 0
    var autoStart = true
    var refusesFeed = false
    var refusesWants = false
    var refusesLogs = false
    var cutShort = 0
  }

  let state = Mutex(State())
  let folder: TemporaryFolder
  let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  /// The host identity written into endpoints.
  let host: String
  let worker: String?

  init(host: String = "here", worker: String? = nil) throws {
    folder = try TemporaryFolder("gw")
    self.host = host
    self.worker = worker
  }

  // MARK: what the gateway calls

  func subscribe(gateway: String) async throws(APIStatus) -> AsyncStream<RouteUpdate> {
    let (stream, input) = AsyncStream.makeStream(of: RouteUpdate.self)
    let refused = state.withLock { state in
      if state.refusesFeed { return true }
      input.yield(.snapshot(functions: Array(state.functions.values), endpoints: Array(state.endpoints.values)))
      if let credentials = state.credentials { input.yield(.credentials(credentials)) }
      state.feeds.append(input)
      return false
    }
    if refused { throw .unavailable("no feed today") }
    return stream
  }

  func want(_ want: PodsWanted) async throws(APIStatus) {
    let missing = state.withLock { state -> Int? in
      if state.refusesWants { return nil }
      state.wants.append(want)
      guard state.autoStart else { return 0 }
      let own = state.endpoints.values.count {
        $0.function == want.function && $0.revision == want.revision && ($0.state == .ready || $0.state == .starting)
      }
      return max(0, want.pods - own)
    }
    guard let missing else { throw .unavailable("no wishes today") }
    for _ in 0..<missing { await startPod(want.function, want.revision ?? "?") }
  }

  func podIdle(uid: String, gateway: String, why: PodRelease) async throws(APIStatus) {
    let next = state.withLock { state -> EndpointRoute? in
      state.idles.append(uid)
      guard var endpoint = state.endpoints[uid] else { return nil }
      if endpoint.state == .draining {
        // Drained and confirmed: now it may stop.
        if state.pods[uid]?.counts.withLock({ $0.running }) ?? 0 > 0 { state.cutShort += 1 }
        endpoint.state = .gone
      } else {
        let minimum = state.functions["default/\(endpoint.function)"]?.minPods ?? 0
        let ready = state.endpoints.values.count { $0.function == endpoint.function && $0.state == .ready }
        if ready > minimum { endpoint.state = .draining }
      }
      return endpoint
    }
    guard let next else { return }
    publish(next)
    if next.state == .gone, let pod = state.withLock({ $0.pods.removeValue(forKey: uid) }) { await pod.kill() }
  }

  func report(_ usage: [FunctionUsage], gateway: String) async { state.withLock { $0.usage += usage } }

  func append(source: String, firstSequence: UInt64, lines: [[UInt8]]) async throws(APIStatus) -> UInt64 {
    let answer = state.withLock { state -> UInt64? in
      if state.refusesLogs { return nil }
      state.sources.insert(source)
      let last = firstSequence + UInt64(lines.count) - 1
      if firstSequence == state.acknowledged + 1 {
        state.lines += lines
        state.acknowledged = last
      }
      return state.acknowledged
    }
    guard let answer else { throw .storageFull("full") }
    return answer
  }

  // MARK: what tests do

  func set(_ route: FunctionRoute) {
    state.withLock { state in
      state.functions[route.key] = route
      for feed in state.feeds { feed.yield(.function(route)) }
    }
  }

  func set(_ tokens: [TestToken]) {
    state.withLock { state in
      let credentials = tokens.map(\.credential)
      state.credentials = credentials
      for feed in state.feeds { feed.yield(.credentials(credentials)) }
    }
  }

  func remove(_ function: String) {
    state.withLock { state in
      state.functions["default/\(function)"] = nil
      for feed in state.feeds { feed.yield(.functionRemoved(namespace: "default", function: function)) }
    }
  }

  func publish(_ endpoint: EndpointRoute) {
    state.withLock { state in
      state.endpoints[endpoint.uid] = endpoint.state == .gone ? nil : endpoint
      for feed in state.feeds { feed.yield(.endpoint(endpoint)) }
    }
  }

  func send(_ update: RouteUpdate) { state.withLock { state in for feed in state.feeds { feed.yield(update) } } }

  func cutFeeds() {
    let feeds = state.withLock { state in
      defer { state.feeds = [] }
      return state.feeds
    }
    for feed in feeds { feed.finish() }
  }

  @discardableResult
  func startPod(_ function: String, _ revision: String) async -> FakePod {
    let (pod, endpoint) = state.withLock { state in
      state.nextPod += 1
      let uid = "u\(state.nextPod)"
      let path = folder.path + "/\(uid).s"
      let pod = FakePod(uid: uid, revision: revision, socket: path, group: group)
      state.pods[uid] = pod
      return (
        pod,
        makeEndpoint(uid, .starting, function: function, revision: revision, socket: path, host: host, worker: worker)
      )
    }
    publish(endpoint)
    do {
      try await pod.start()
    } catch {
      preconditionFailure("a fake pod could not listen: \(error)")
    }
    var ready = endpoint
    ready.state = .ready
    ready.endpoint = PodEndpoint(socket: pod.socket, host: host, worker: worker)
    publish(ready)
    return pod
  }

  /// A new revision, the way the control plane rolls it out: a pod is ready, traffic moves, old pods drain.
  func redeploy(_ function: String, _ revision: String) async {
    await startPod(function, revision)
    let route = state.withLock { $0.functions["default/\(function)"] }
    if var route {
      route.revision = revision
      set(route)
    }
    for var endpoint in state.withLock({ Array($0.endpoints.values) })
    where endpoint.function == function && endpoint.revision != revision && endpoint.state == .ready {
      endpoint.state = .draining
      publish(endpoint)
    }
  }

  func pod(_ uid: String) -> FakePod? { state.withLock { $0.pods[uid] } }

  func shutdown() async {
    for pod in state.withLock({ Array($0.pods.values) }) { await pod.kill() }
    try? await group.shutdownGracefully()
    try? FileManager.default.removeItem(at: folder.url)
  }
}

/// Runs a gateway over a fake platform for the length of a test.
func withGateway(
  _ routes: [FunctionRoute], platform given: FakePlatform? = nil, threads: Int = 2, hostIdentity: String = "here",
  calls: (any CallQueue)? = nil, intakeBytes: Int = Limits.asyncIntakeBytes,
  configure: (inout GatewayConfiguration) throws -> Void = { _ in },
  _ body: (FakePlatform, GatewayServer, TestClients) async throws -> Void
) async throws {
  let platform = try given ?? FakePlatform()
  for route in routes { platform.set(route) }
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  var configuration = GatewayConfiguration(
    host: "127.0.0.1", port: 0, gatewayID: "g1", hostIdentity: hostIdentity, threads: threads, drainSeconds: 5)
  configuration.intakeBytes = intakeBytes
  try configure(&configuration)
  let gateway = GatewayServer(
    configuration: configuration, routes: platform, activation: platform, usage: platform, logs: platform,
    calls: calls, logger: logger)
  let running = Task { try await gateway.run() }
  let outcome: Result<Void, any Error>
  do {
    guard let port = await gateway.waitUntilListening() else {
      try await running.value
      return
    }
    let clients = TestClients(port: port)
    try await body(platform, gateway, clients)
    await clients.shutdown()
    outcome = .success(())
  } catch { outcome = .failure(error) }
  running.cancel()
  try await running.value
  await platform.shutdown()
  try outcome.get()
}
