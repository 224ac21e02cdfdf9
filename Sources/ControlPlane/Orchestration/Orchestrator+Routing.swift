package import ClusterAPI
import ClusterModel

/// What gateways follow and ask for.
extension Orchestrator: RouteFeed, Activation {
  /// Updates a gateway may fall behind before its subscription ends and it starts again with a snapshot.
  static let routeBuffer = 100_000

  /// Follows the routes: a snapshot, then every change in order.
  package func subscribe(gateway: String) async throws(APIStatus) -> AsyncStream<RouteUpdate> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: RouteUpdate.self, bufferingPolicy: .bufferingOldest(Self.routeBuffer))
    nextSubscription += 1
    let id = nextSubscription
    subscribers[gateway, default: [:]][id] = continuation
    // The snapshot offers every pod, also those it gave up before.
    for pod in pods.values where pod.unused.contains(gateway) { pods[pod.uid]?.unused.remove(gateway) }
    let live = pods.values.filter { $0.detail.life != .gone }
    continuation.yield(.snapshot(functions: functions.values.map(\.route), endpoints: live.map(\.route)))
    if let credentials { continuation.yield(.credentials(credentials)) }
    continuation.onTermination = { [weak self] _ in
      Task { await self?.unsubscribed(gateway, id) }
    }
    return stream
  }

  /// Takes the tokens that may call functions and tells gateways; a version below one taken before is out of date.
  package func use(_ credentials: [InvokeCredential], version: Int) {
    guard version > credentialsVersion else { return }
    credentialsVersion = version
    self.credentials = credentials
    broadcast(.credentials(credentials))
  }

  /// What gateways know of a function; nil when there is none.
  package func route(namespace: String, function: String) -> FunctionRoute? {
    functions["\(namespace)/\(function)"]?.route
  }

  /// A gateway went; draining pods no longer wait for it.
  private func unsubscribed(_ gateway: String, _ id: Int) {
    subscribers[gateway]?[id] = nil
    guard subscribers[gateway]?.isEmpty == true else { return }
    subscribers[gateway] = nil
    usage.forget(gateway: gateway)
    for pod in pods.values where pod.detail.life == .draining { stopIfReleased(pod.uid) }
    guard !subscribers.isEmpty else { return }
    for pod in pods.values where !pod.unused.isEmpty { drainIfUnused(pod.uid) }
  }

  /// Takes a gateway's wish for pods; creates what is missing, within the function's limits.
  package func want(_ want: PodsWanted) async throws(APIStatus) {
    let key = "\(want.namespace)/\(want.function)"
    guard let record = functions[key] else { throw .notFound(.function, want.function) }
    guard
      let revision = want.revision.flatMap({ record.revisions[$0] == nil ? nil : $0 }) ?? record.serving
        ?? record.latest
    else { throw .unavailable("function \"\(want.function)\" has no revision yet; deploy it") }
    let time = clock()
    if let failure = record.failure, failure.attempts >= Limits.startAttempts, failure.retryAt > time {
      return broadcast(
        .startFailed(
          StartFailure(
            namespace: want.namespace, function: want.function, code: failure.code, message: failure.message,
            attempts: failure.attempts)))
    }
    let target = min(want.pods, record.function.spec.scale.max)
    // What it gave up, and another gateway still uses, is offered to it anew.
    if pods.sums(of: key).unused > 0 {
      for pod in pods.pods(of: key)
      where pod.counts && pod.revision == revision && pod.unused.contains(want.gateway) {
        pods[pod.uid]?.unused.remove(want.gateway)
        broadcast(.endpoint(pod.route))
      }
    }
    // A gateway repeats its wish only after a while: all of it is done, with others in between.
    var left = target - pods.sums(of: key).counting[revision, default: 0]
    guard left > 0 else { return }
    usage.note(key, "start \(left) for \(target) pods: \(want.reason)")
    while left > 0 {
      let missing = target - pods.sums(of: key).counting[revision, default: 0]
      for _ in 0..<max(0, min(missing, left, Self.startsPerTurn)) {
        createPod(key, revision: revision, why: want.reason)
      }
      left -= Self.startsPerTurn
      if left > 0 { await Task.yield() }
    }
  }

  /// A gateway gave a pod up: it is drained when every gateway did, unless it is idle and its function needs it; one that
  /// did not end a call is drained at once.
  package func podIdle(uid: String, gateway: String, why: PodRelease) async throws(APIStatus) {
    guard var pod = pods[uid] else { return }
    switch pod.detail.life {
    case .draining:
      pod.released.insert(gateway)
      pods[uid] = pod
      stopIfReleased(uid)
    case .ready where why == .stuck:
      let message = "it did not end a cancelled call"
      record(
        ObjectReference(.pod, namespace: pod.namespace, name: pod.name, uid: uid), "Stuck", message, warning: true)
      drain(uid, reason: "Stuck", message: message)
      ensurePods(pod.functionKey)
      usage.note(pod.functionKey, "stop \(pod.name): \(why.rawValue)")
      pods[uid]?.released.insert(gateway)
      stopIfReleased(uid)
    case .ready:
      if isNeeded(pod) { return broadcast(.endpoint(pod.route)) }
      pods[uid]?.unused.insert(gateway)
      guard drainIfUnused(uid) else { return }
      pods[uid]?.released.insert(gateway)
      stopIfReleased(uid)
    default: break
    }
  }

  /// Whether its function keeps the pod without traffic (`spec.scale.min`).
  private func isNeeded(_ pod: PodRecord) -> Bool {
    guard let record = functions[pod.functionKey], record.serving == pod.revision else { return false }
    return pods.sums(of: pod.functionKey).counting[pod.revision, default: 0] <= record.function.spec.scale.min
  }

  /// Drains a ready pod that no gateway has a use for; one that is idle at one gateway may be busy at another.
  @discardableResult
  private func drainIfUnused(_ uid: String) -> Bool {
    guard let pod = pods[uid], pod.detail.life == .ready, Set(subscribers.keys).isSubset(of: pod.unused) else {
      return false
    }
    if isNeeded(pod) {
      pods[uid]?.unused = []
      broadcast(.endpoint(pod.route))
      return false
    }
    drain(uid, reason: "Idle", message: "no call for spec.scale.idleAfter")
    usage.note(pod.functionKey, "stop \(pod.name): \(PodRelease.idle.rawValue)")
    return true
  }
}
