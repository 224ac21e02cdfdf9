import ClusterAPI
import ClusterModel

/// What the route feed says, as events of the state machine.
extension DispatchState {
  /// The function changed. A new uid is a new function of the same name: pods of the old one get nothing more.
  mutating func routeChanged(_ new: FunctionRoute, now: Int64, actions: inout [Action]) {
    let old = route
    if new.uid != old.uid || removed { retireAll(actions: &actions) }
    removed = false
    route = new
    if new.revision != old.revision || new.uid != old.uid {
      wish.asked = 0
      lastFailure = nil
      for place in pods.values.indices where pods[place].idleSince != nil { pods[place].idleSince = now }
    }
    if let (code, message) = refusal {
      for waiting in queue.removeAll() { actions.append(.fail(waiting.id, code, message)) }
    }
    settle(now: now, actions: &actions)
  }

  /// The function is gone: who waits is told, what runs goes on.
  mutating func functionRemoved(now: Int64, actions: inout [Action]) {
    removed = true
    retireAll(actions: &actions)
    for waiting in queue.removeAll() {
      actions.append(.fail(waiting.id, .functionNotFound, "function \"\(route.key)\" was deleted"))
    }
  }

  /// A pod is new or changed. News of an earlier start than the one known are old and dropped; not so in a snapshot, which
  /// may be of a server that counts anew.
  mutating func endpointChanged(
    _ new: EndpointRoute, inSnapshot: Bool = false, now: Int64, actions: inout [Action]
  ) {
    if let known = pods[new.uid] {
      if known.key.incarnation > new.incarnation {
        guard inSnapshot else { return }
        podGone(known.endpoint, abort: false, actions: &actions)
      }
      if known.key.incarnation < new.incarnation {
        pods[new.uid] = nil
        wish.asked = 0
        actions.append(.retire(known.key, abort: true))
      }
    }
    switch new.state {
    case .starting: podStarting(new)
    case .ready: podReady(new, now: now)
    case .draining: podDraining(new, actions: &actions)
    case .gone: podGone(new, abort: true, actions: &actions)
    }
    settle(now: now, actions: &actions)
  }

  /// The feed began anew: pods it does not name are gone, but calls inside them may end by themselves.
  mutating func keepOnly(_ uids: Set<String>, now: Int64, actions: inout [Action]) {
    for pod in pods.values where !uids.contains(pod.key.uid) {
      podGone(pod.endpoint, abort: false, actions: &actions)
    }
    wish.asked = 0
    settle(now: now, actions: &actions)
  }

  /// Starts failed. While pods serve, or the control plane still tries, it is only noted.
  mutating func startFailed(_ failure: StartFailure, now: Int64, actions: inout [Action]) {
    lastFailure = failure
    lastNote = .words("start failed (\(failure.attempts)): \(failure.message)")
    wish.asked = 0
    let serving = pods.values.contains {
      $0.phase == .ready && !$0.givenUp && $0.suspectUntil == nil && $0.endpoint.revision == route.revision
    }
    if failure.attempts >= Limits.startAttempts, !serving {
      for waiting in queue.removeAll() { actions.append(.fail(waiting.id, failure.code, failure.message)) }
    }
  }

  private mutating func podStarting(_ new: EndpointRoute) {
    guard let known = pods[new.uid] else {
      pods[new.uid] = PodState(new, phase: .starting)
      adoptRunning(new.uid)
      return
    }
    guard known.phase != .draining else { return }
    pods[new.uid]?.endpoint = new
    pods[new.uid]?.phase = .starting
  }

  private mutating func podReady(_ new: EndpointRoute, now: Int64) {
    guard new.endpoint != nil else { return podStarting(new) }
    let known = pods[new.uid] != nil
    var pod = pods[new.uid] ?? PodState(new, phase: .starting)
    pod.endpoint = new
    if pod.phase != .ready {
      pod.phase = .ready
      pod.readyAt = now
      lastFailure = nil
      if let startup = new.startup, startup.total > 0 { smooth(&startTime, startup.total) }
    }
    if pod.givenUp {
      pod.givenUp = false
      pod.idleSince = now
    }
    pod.suspectUntil = nil
    pods[new.uid] = pod
    if !known { adoptRunning(new.uid) }
    if pods[new.uid]?.inFlight == 0, pods[new.uid]?.idleSince == nil { pods[new.uid]?.idleSince = now }
  }

  private mutating func podDraining(_ new: EndpointRoute, actions: inout [Action]) {
    let known = pods[new.uid] != nil
    var pod = pods[new.uid] ?? PodState(new, phase: .draining)
    if pod.phase != .draining {
      pod.phase = .draining
      wish.asked = 0
      actions.append(.retire(pod.key, abort: false))
    }
    pod.endpoint = new
    pods[new.uid] = pod
    if !known { adoptRunning(new.uid) }
    releaseWhenEmpty(new.uid, actions: &actions)
  }

  private mutating func podGone(_ new: EndpointRoute, abort: Bool, actions: inout [Action]) {
    guard let pod = pods.removeValue(forKey: new.uid) else { return }
    wish.asked = 0
    actions.append(.retire(pod.key, abort: abort))
  }

  /// A pod that was forgotten and came back still has the calls that were inside.
  private mutating func adoptRunning(_ uid: String) {
    guard let key = pods[uid]?.key else { return }
    pods[uid]?.inFlight = running.values.count { $0.pod == key }
  }

  private mutating func retireAll(actions: inout [Action]) {
    for place in pods.values.indices where !pods[place].givenUp {
      pods[place].givenUp = true
      actions.append(.retire(pods[place].key, abort: false))
    }
  }
}
