import ClusterAPI
import ClusterModel
import Planning

/// One start of one pod.
struct PodKey: Hashable, Sendable {
  /// The pod's uid.
  let uid: String
  /// Which of its starts.
  let incarnation: Int
}

/// A slot in a pod, reserved for one request.
struct Assignment: Equatable, Sendable {
  /// The pod's start.
  let start: PodStart
  /// Whether the request waited for this pod to start.
  let cold: Bool
  /// Whether the pod is still starting: the request waits in its socket.
  var isEarly = false
  /// The revision's request concurrency and limits at this moment.
  let info: RouteInfo

  var key: PodKey { start.key }
  var endpoint: EndpointRoute { start.endpoint }
}

/// The queue and the pods of one function, and every decision about them: a pure state machine.
///
/// Events are methods; what must happen outside is appended to `actions`. Times are nanoseconds on a monotonic clock.
/// After every event: a request waits only while no slot is free (`settle`), no pod holds more than `concurrency`
/// requests, and every request gets exactly one of dispatch-then-end, fail, or cancel.
struct DispatchState {
  /// What the surroundings must do.
  enum Action: Equatable {
    /// Send the request to the pod whose slot was reserved for it.
    case dispatch(RequestID, Assignment)
    /// Answer a waiting request with an error.
    case fail(RequestID, CallErrorCode, String)
    /// Ask the control plane for `pods` pods in all; answer with `wantAnswered`.
    case want(revision: String, pods: Int, reason: String)
    /// Tell the control plane that the pod is given up; on failure answer with `idleRefused`.
    case podIdle(String, PodRelease)
    /// Close idle connections to this start of a pod; with `abort`, soon also those in use.
    case retire(PodKey, abort: Bool)
  }

  /// A request inside a pod.
  struct Running {
    let pod: PodKey
    let arrived: Int64
    let requeues: Int
    let dispatchedAt: Int64
  }

  /// What was decided last, for people.
  enum Note {
    case scaling(ScalingPolicy.Decision)
    case words(String)

    var text: String {
      switch self {
      case .scaling(let decision): decision.reason
      case .words(let words): words
      }
    }
  }

  private(set) var info: RouteInfo
  /// The host whose pods' sockets can be told from here to have refused a request; nil knows none.
  let host: String?
  var policy: ScalingPolicy
  var keepAlive = KeepAlivePolicy()
  var queue = WaitingQueue()
  var running: [RequestID: Running] = [:]
  var pods = PodTable()
  var wish = WishState()
  var removed = false
  var lastFailure: StartFailure?
  var lastNote: Note?
  var serviceTime: Double?
  var startTime: Double?
  private var nextID: RequestID = 1

  init(route: FunctionRoute, policy: ScalingPolicy = ScalingPolicy(), host: String? = nil) {
    info = RouteInfo(route)
    self.host = host
    self.policy = policy
  }

  /// The function as the control plane told it last.
  var route: FunctionRoute {
    get { info.route }
    set { info = RouteInfo(newValue) }
  }

  // MARK: requests

  /// The short way of `arrive`: a slot, if nobody waits and one is free now. Decides as `arrive` would.
  mutating func reserve(now: Int64) -> (RequestID, Assignment)? {
    guard queue.isEmpty, !removed, let place = pickPlace() else { return nil }
    let id = nextID
    nextID += 1
    pods[place].inFlight += 1
    pods[place].lastUsed = now
    pods[place].idleSince = nil
    let start = pods[place].start
    running[id] = Running(pod: start.key, arrived: now, requeues: 0, dispatchedAt: now)
    return (id, Assignment(start: start, cold: false, info: info))
  }

  /// The short way of `finish` without suspicion, where nothing else follows from the end of the request: nobody waits
  /// and the pod goes on as it was. Nil, and nothing is changed, where more has to be decided. `idle`: the pod has
  /// nothing more inside and may be given up for that.
  mutating func finishAlone(_ id: RequestID, now: Int64) -> (keep: Bool, idle: Bool)? {
    guard queue.isEmpty, !removed, let index = running.index(forKey: id),
      let place = pods.place(of: running.values[index].pod), pods[place].phase == .ready,
      pods[place].quarantined.isEmpty
    else { return nil }
    smooth(&serviceTime, Double(now &- running.remove(at: index).value.dispatchedAt) / 1e6)
    pods[place].inFlight -= 1
    pods[place].refusals = 0
    let empty = pods[place].inFlight == 0
    if empty { pods[place].idleSince = now }
    let idle = empty && pods.values.count { $0.phase == .ready && !$0.givenUp } > info.route.minPods
    return (!pods[place].givenUp && pods[place].suspectUntil == nil, idle)
  }

  /// A request arrived; `whole`: all of it is held. It is dispatched, queued or failed; its id is new.
  mutating func arrive(now: Int64, whole: Bool = false, actions: inout [Action]) -> RequestID {
    let id = nextID
    nextID += 1
    if let (code, message) = refusal {
      actions.append(.fail(id, code, message))
    } else if queue.count >= route.queueLimit, pickPlace() == nil {
      actions.append(.fail(id, .queueFull, "\(queue.count) requests wait for \"\(route.function)\" already"))
    } else {
      queue.insert(
        Waiting(id: id, arrived: now, deadline: now &+ nanoseconds(route.queueTimeout), requeues: 0, isWhole: whole))
      settle(now: now, actions: &actions)
    }
    return id
  }

  /// A waiting request's client went away; false when it does not wait.
  mutating func cancel(_ id: RequestID) -> Bool { queue.remove(id) }

  /// All of a waiting request is held now.
  mutating func becameWhole(_ id: RequestID, now: Int64, actions: inout [Action]) {
    if host != nil, queue.becameWhole(id) { settle(now: now, actions: &actions) }
  }

  /// A request's slot is free again: it was answered, or its connection is closed. `suspect`: the pod broke it off.
  ///
  /// Answers whether the pod takes more requests, so that its connection is worth keeping.
  mutating func finish(_ id: RequestID, suspect: Bool, now: Int64, actions: inout [Action]) -> Bool {
    guard let call = leave(id, suspect: suspect, now: now, actions: &actions) else { return false }
    if !suspect { smooth(&serviceTime, Double(now &- call.dispatchedAt) / 1e6) }
    settle(now: now, actions: &actions)
    return takesRequests(call.pod)
  }

  /// A dispatched request did not reach its pod, or may run again: it takes its old place in the queue. One that was
  /// early and went down with a start comes back as often as the control plane starts pods.
  mutating func requeue(
    _ id: RequestID, early: Bool = false, whole: Bool = false, why: String, now: Int64, actions: inout [Action]
  ) {
    guard let call = leave(id, suspect: true, now: now, actions: &actions) else { return }
    if let (code, message) = refusal {
      actions.append(.fail(id, code, message))
    } else if !early, call.requeues >= GatewayLimits.requeues {
      actions.append(.fail(id, .podCrashed, "no pod took the request in \(call.requeues + 1) attempts; \(why)"))
    } else {
      let deadline = now &+ nanoseconds(route.queueTimeout)
      queue.insert(
        Waiting(
          id: id, arrived: call.arrived, deadline: deadline, requeues: call.requeues + (early ? 0 : 1), cameBack: true,
          isWhole: whole))
    }
    settle(now: now, actions: &actions)
  }

  /// A pod did not close the connection of a request the gateway gave up: the pod takes no requests until it does.
  /// When nothing else runs in it, it is given up, so that the platform ends it.
  mutating func quarantine(_ id: RequestID, now: Int64, actions: inout [Action]) {
    guard let call = running[id], var pod = pods[call.pod.uid], pod.key == call.pod else { return }
    pod.quarantined.insert(id)
    pods[pod.key.uid] = pod
    releaseWhenEmpty(pod.key.uid, actions: &actions)
    settle(now: now, actions: &actions)
  }

  // MARK: control plane

  /// The last wish reached the control plane, or did not.
  mutating func wantAnswered(delivered: Bool, now: Int64, actions: inout [Action]) {
    wish.outstanding = false
    wish.failing = !delivered
    if !delivered { wish.askedAt = now }
    scale(now: now, actions: &actions)
  }

  /// The control plane could not be told that a pod is given up: it is used again.
  mutating func idleRefused(_ uid: String, now: Int64, actions: inout [Action]) {
    guard var pod = pods[uid], pod.givenUp, pod.phase == .ready else { return }
    pod.givenUp = false
    pod.idleSince = now
    pods[uid] = pod
    settle(now: now, actions: &actions)
  }

  /// Deadlines: queued requests that waited too long, pods idle too long, wishes to repeat.
  mutating func tick(now: Int64, actions: inout [Action]) {
    for waiting in queue.removeExpired(now: now) {
      actions.append(.fail(waiting.id, wish.failing ? .noControlPlane : .queueTimeout, expiredMessage))
    }
    settle(now: now, actions: &actions)
    releaseIdle(now: now, actions: &actions)
  }

  /// When `tick` must be called next; nil when nothing is due.
  func nextDeadline(now: Int64) -> Int64? {
    var next = queue.earliestDeadline
    func consider(_ time: Int64?) { if let time { next = min(next ?? .max, time) } }
    if !queue.isEmpty {
      consider(wish.askAgainAt)
      if !wish.outstanding { consider(wish.repeatAt) }
      for pod in pods.values { consider(pod.suspectUntil) }
    }
    let idle = idleDecision(now: now)
    consider(idle.release.isEmpty ? idle.next : now)
    return next
  }

  // MARK: decisions

  /// Why no request of this function can be taken now, not even to wait.
  var refusal: (CallErrorCode, String)? {
    if removed { return (.functionNotFound, "function \"\(route.key)\" was deleted") }
    if route.revision == nil, let why = route.unavailable { return (.startFailed, why) }
    return nil
  }

  /// Dispatches while a request waits and a slot is free, then asks for pods if some still wait.
  mutating func settle(now: Int64, actions: inout [Action]) {
    for place in pods.values.indices {
      if let until = pods[place].suspectUntil, until <= now { pods[place].suspectUntil = nil }
    }
    while !queue.isEmpty, let place = pickPlace(), let head = queue.popFirst() {
      let cold = pods[place].readyAt > head.arrived
      dispatch(head, to: place, cold: cold, early: false, now: now, actions: &actions)
    }
    while queue.first?.isWhole == true, let place = pickEarlyPlace(), let head = queue.popFirst() {
      dispatch(head, to: place, cold: true, early: true, now: now, actions: &actions)
    }
    scale(now: now, actions: &actions)
  }

  /// The pod the next request goes to: most requests below the limit first, then most recently used.
  private func pickPlace() -> Int? {
    guard let revision = info.route.revision, !removed else { return nil }
    var best: Int?
    for place in pods.values.indices where pods[place].freeSlots(revision, info.route.concurrency) > 0 {
      if let found = best, !pods[place].isBetter(than: pods[found]) { continue }
      best = place
    }
    return best
  }

  private mutating func dispatch(
    _ head: Waiting, to place: Int, cold: Bool, early: Bool, now: Int64, actions: inout [Action]
  ) {
    pods[place].inFlight += 1
    pods[place].lastUsed = now
    pods[place].idleSince = nil
    let start = pods[place].start
    running[head.id] = Running(pod: start.key, arrived: head.arrived, requeues: head.requeues, dispatchedAt: now)
    actions.append(.dispatch(head.id, Assignment(start: start, cold: cold, isEarly: early, info: info)))
  }

  /// A pod that is still starting and has room in its socket. Only where starts are known to be quick: a call's time runs
  /// from here on.
  private func pickEarlyPlace() -> Int? {
    guard let host, let revision = info.route.revision, !removed, let startTime,
      startTime <= Double(GatewayLimits.earlyStartMilliseconds)
    else { return nil }
    var best: Int?
    for place in pods.values.indices where pods[place].earlySlots(revision, info.route.concurrency, on: host) > 0 {
      if let found = best, !pods[place].isBetter(than: pods[found]) { continue }
      best = place
    }
    return best
  }

  /// Asks for more pods when the policy wants more than exist and than were asked for.
  mutating func scale(now: Int64, actions: inout [Action]) {
    // What was to be looked at later is looked at now, or is over.
    (wish.repeatAt, wish.askAgainAt) = (nil, nil)
    guard !queue.isEmpty, !removed, let revision = route.revision, !wish.outstanding else { return }
    let load = self.load(revision, now: now)
    let decision = policy.decide(load)
    lastNote = .scaling(decision)
    wish.askAgainAt = decision.askAgainAfter.map { now &+ Int64($0 * 1e6) }
    guard decision.pods > load.ready + load.starting else { return }
    let repeatAt = wish.askedAt.map { $0 &+ GatewayLimits.wantRefreshMilliseconds * 1_000_000 } ?? now
    guard repeatAt <= now || (decision.pods > wish.asked && !wish.failing) else {
      wish.repeatAt = repeatAt
      return
    }
    wish.asked = decision.pods
    wish.askedAt = now
    wish.outstanding = true
    actions.append(.want(revision: revision, pods: decision.pods, reason: decision.reason))
  }

  private func load(_ revision: String, now: Int64) -> ScalingPolicy.Load {
    var ready = 0
    var starting = 0
    var free = 0
    for pod in pods.values where pod.endpoint.revision == revision {
      // One that has a request already is not there for those that wait.
      if pod.phase == .starting, pod.inFlight > 0 {
        ready += 1
        free += max(0, route.concurrency - pod.inFlight)
      } else if pod.phase == .starting {
        starting += 1
      }
      guard pod.phase == .ready, !pod.givenUp, pod.suspectUntil == nil, pod.quarantined.isEmpty else { continue }
      ready += 1
      free += pod.freeSlots(revision, route.concurrency)
    }
    return ScalingPolicy.Load(
      queued: queue.count, ready: ready, starting: starting, freeSlots: free, concurrency: route.concurrency,
      maxPods: route.maxPods, oldestWait: queue.first.map { Double(now &- $0.arrived) / 1e6 } ?? 0,
      serviceTime: serviceTime, startTime: startTime)
  }

  private func idleDecision(now: Int64) -> KeepAlivePolicy.Decision {
    guard let revision = route.revision, queue.isEmpty else { return .init(release: [], next: nil) }
    var ready = 0
    var idle: [KeepAlivePolicy.IdlePod] = []
    for pod in pods.values where pod.phase == .ready && !pod.givenUp && pod.endpoint.revision == revision {
      ready += 1
      if pod.inFlight == 0, let since = pod.idleSince { idle.append(.init(uid: pod.key.uid, since: since)) }
    }
    return keepAlive.decide(
      idle: idle, ready: ready, minPods: route.minPods, idleAfter: route.idleAfter.duration, now: now)
  }

  private mutating func releaseIdle(now: Int64, actions: inout [Action]) {
    for uid in idleDecision(now: now).release { giveUp(uid, actions: &actions) }
  }

  mutating func giveUp(_ uid: String, _ why: PodRelease = .idle, actions: inout [Action]) {
    guard let pod = pods[uid], !pod.givenUp else { return }
    pods[uid]?.givenUp = true
    wish.asked = 0
    lastNote =
      switch why {
      case .idle: .words("gave up \(pod.endpoint.pod): idle for \(route.idleAfter)")
      case .stuck: .words("gave up \(pod.endpoint.pod): it did not end a cancelled call")
      }
    actions.append(.retire(pod.key, abort: false))
    actions.append(.podIdle(uid, why))
  }

  /// Frees the slot of a dispatched request; nil when it holds none (it ended already).
  private mutating func leave(
    _ id: RequestID, suspect: Bool, now: Int64, actions: inout [Action]
  ) -> Running? {
    guard let call = running.removeValue(forKey: id) else { return nil }
    guard let place = pods.place(of: call.pod) else { return call }
    pods[place].inFlight -= 1
    pods[place].quarantined.remove(id)
    if suspect { pods[place].suspect(now: now) } else { pods[place].refusals = 0 }
    if pods[place].inFlight == 0 { pods[place].idleSince = now }
    releaseWhenEmpty(call.pod.uid, actions: &actions)
    return call
  }

  /// Confirms a draining pod, or gives up one of which only abandoned calls are left.
  mutating func releaseWhenEmpty(_ uid: String, actions: inout [Action]) {
    guard let pod = pods[uid] else { return }
    guard pod.inFlight == pod.quarantined.count else { return }
    if pod.phase == .draining {
      actions.append(.podIdle(uid, pod.inFlight == 0 ? .idle : .stuck))
    } else if pod.phase == .ready, !pod.quarantined.isEmpty {
      giveUp(uid, .stuck, actions: &actions)
    }
  }

  private func takesRequests(_ key: PodKey) -> Bool {
    guard let place = pods.place(of: key), pods[place].phase != .draining else { return false }
    return !pods[place].givenUp && pods[place].suspectUntil == nil && !removed
  }

  private var expiredMessage: String {
    let busy = pods.values.count { $0.phase == .ready && $0.inFlight > 0 }
    let starting = pods.values.count { $0.phase == .starting }
    var text = "waited \(route.queueTimeout) (spec.queue.timeout) for a pod; \(busy) busy, \(starting) starting, "
    text += "spec.scale.max is \(route.maxPods); raise either"
    if wish.failing { text += "; the control plane does not answer" }
    if let lastFailure { text += "; last start: \(lastFailure.message)" }
    return text
  }

  func nanoseconds(_ span: TimeSpan) -> Int64 { span.milliseconds &* 1_000_000 }
}

/// What was asked of the control plane.
struct WishState {
  /// Pods in all asked for last; 0 when that no longer holds.
  var asked = 0
  /// When.
  var askedAt: Int64?
  /// Whether the answer is still out.
  var outstanding = false
  /// Whether the last one could not be delivered.
  var failing = false
  /// When to ask once more because nothing came of the last wish; nil while no more pods are wanted.
  var repeatAt: Int64?
  /// When the policy wants to be asked again.
  var askAgainAt: Int64?
}

/// Moves a smoothed value an eighth of the way to a sample.
func smooth(_ value: inout Double?, _ sample: Double) {
  value = value.map { $0 + (sample - $0) / 8 } ?? sample
}
