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
    for pod in pods.values where pod.detail.life == .draining { stopIfReleased(pod.uid) }
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
            namespace: want.namespace, function: want.function, code: .startFailed, message: failure.message,
            attempts: failure.attempts)))
    }
    let target = min(want.pods, record.function.spec.scale.max)
    let own = (podsByFunction[key] ?? []).compactMap { pods[$0] }.filter { $0.counts && $0.revision == revision }
    let missing = min(target - own.count, Self.startsPerWish)
    guard missing > 0 else { return }
    usage.note(key, "start \(missing) for \(target) pods: \(want.reason)")
    for _ in 0..<missing { createPod(key, revision: revision, why: want.reason) }
  }

  /// A gateway gave a pod up: it is drained, unless it is idle and its function needs it.
  package func podIdle(uid: String, gateway: String, why: PodRelease) async throws(APIStatus) {
    guard var pod = pods[uid] else { return }
    switch pod.detail.life {
    case .draining:
      pod.released.insert(gateway)
      pods[uid] = pod
      stopIfReleased(uid)
    case .ready:
      let key = pod.functionKey
      if why == .idle, let record = functions[key], record.serving == pod.revision {
        let ready = (podsByFunction[key] ?? []).count { pods[$0]?.counts == true && pods[$0]?.revision == pod.revision }
        if ready <= record.function.spec.scale.min { return broadcast(.endpoint(pod.route)) }
      }
      if why == .stuck {
        let message = "it did not end a cancelled call"
        record(
          ObjectReference(.pod, namespace: pod.namespace, name: pod.name, uid: uid), "Stuck", message, warning: true)
        drain(uid, reason: "Stuck", message: message)
        ensurePods(key)
      } else {
        drain(uid, reason: "Idle", message: "no call for spec.scale.idleAfter")
      }
      usage.note(key, "stop \(pod.name): \(why.rawValue)")
      pods[uid]?.released.insert(gateway)
      stopIfReleased(uid)
    default: break
    }
  }
}
