import ClusterAPI
import ClusterModel
import NIOCore
import Planning
import Synchronization

/// What became of a request that was handed to a dispatcher.
enum Delivery: Equatable, Sendable {
  /// A slot is reserved for it.
  case assigned(Assignment)
  /// It is answered with an error.
  case failed(CallErrorCode, String)
}

/// What a dispatcher needs from its surroundings; none of it blocks.
protocol DispatchEffects: Sendable {
  /// Sends a wish; the dispatcher's `wantAnswered` is called once.
  func want(_ dispatcher: FunctionDispatcher, revision: String, pods: Int, reason: String)
  /// Gives a pod up; the dispatcher's `idleRefused` is called if that failed.
  func podIdle(_ dispatcher: FunctionDispatcher, uid: String, _ why: PodRelease)
  /// Closes connections to a start of a pod on every event loop.
  func retire(_ key: PodKey, abort: Bool)
}

/// The queue of one function: the state machine behind a lock, and one timer.
///
/// Isolation: any thread calls; the machine decides under the lock, and everything it wants done is done after unlocking.
final class FunctionDispatcher: Sendable {
  /// Where a waiting request wants to hear of its fate.
  struct Waiter: Sendable {
    let loop: any EventLoop
    let deliver: @Sendable (Delivery) -> Void
  }

  private struct Guarded {
    var machine: DispatchState
    var waiters: [RequestID: Waiter] = [:]
    // The earliest time the timer is set for; an earlier need sets another one, a later need is found when it fires.
    var timerAt: Int64?
  }

  /// A look at the function, for reports.
  struct Figures: Equatable {
    var inFlight: Int
    var queued: Int
    var ready: Int
    var starting: Int
    var draining: Int
    var decision: String?
    var removed: Bool
  }

  /// `namespace/function`.
  let key: String
  /// What is counted of the function's calls, by event loop.
  let meters: FunctionMeters
  private let state: Mutex<Guarded>
  private let effects: any DispatchEffects
  private let timerLoop: any EventLoop
  private let clock: @Sendable () -> Int64

  init(
    route: FunctionRoute, policy: ScalingPolicy, host: String? = nil, effects: any DispatchEffects,
    timerLoop: any EventLoop, loops: Int = 1, clock: @escaping @Sendable () -> Int64 = monotonicNow
  ) {
    key = route.key
    meters = FunctionMeters(loops: loops)
    state = Mutex(Guarded(machine: DispatchState(route: route, policy: policy, host: host)))
    self.effects = effects
    self.timerLoop = timerLoop
    self.clock = clock
  }

  /// The function as it is now.
  var route: FunctionRoute { info.route }
  /// The same, shared.
  var info: RouteInfo { state.withLock { $0.machine.info } }

  var figures: Figures {
    state.withLock { guarded in
      let machine = guarded.machine
      let pods = machine.pods.values
      return Figures(
        inFlight: machine.running.count, queued: machine.queue.count,
        ready: pods.count { $0.phase == .ready && !$0.givenUp }, starting: pods.count { $0.phase == .starting },
        draining: pods.count { $0.phase == .draining || $0.givenUp }, decision: machine.lastNote?.text,
        removed: machine.removed)
    }
  }

  /// Whether the function is removed and nothing of it is left.
  var isOver: Bool {
    state.withLock { $0.machine.removed && $0.machine.pods.isEmpty && $0.machine.running.isEmpty }
  }

  /// A slot that is free now, if nobody waits for one; `arrive` when there is none.
  func reserve(now: Int64) -> (RequestID, Assignment)? { state.withLock { $0.machine.reserve(now: now) } }

  /// Takes a request; `whole`: all of it is held. The second value is its fate if that is clear at once; else the waiter
  /// hears of it later.
  func arrive(_ waiter: Waiter, whole: Bool = false) -> (RequestID, Delivery?) {
    let now = clock()
    var own: Delivery?
    let (id, effects) = state.withLock { guarded in
      var actions: [DispatchState.Action] = []
      let id = guarded.machine.arrive(now: now, whole: whole, actions: &actions)
      guarded.waiters[id] = waiter
      let effects = sort(actions, &guarded, now: now, own: id) { own = $0 }
      return (id, effects)
    }
    perform(effects)
    return (id, own)
  }

  /// All of a waiting request is held now.
  func becameWhole(_ id: RequestID) {
    event { machine, now, actions in machine.becameWhole(id, now: now, actions: &actions) }
  }

  /// A start of a pod, once that was ready.
  func ready(_ key: PodKey) -> PodStart? {
    state.withLock { guarded in
      guard let place = guarded.machine.pods.place(of: key), guarded.machine.pods[place].phase != .starting else {
        return nil
      }
      return guarded.machine.pods[place].start
    }
  }

  /// Takes a waiting request out; false when it no longer waits (its fate is on the way).
  func cancel(_ id: RequestID) -> Bool {
    state.withLock { guarded in
      guard guarded.machine.cancel(id) else { return false }
      guarded.waiters[id] = nil
      return true
    }
  }

  /// Puts a dispatched request back into its place; the waiter hears of its fate.
  func requeue(_ id: RequestID, _ waiter: Waiter, early: Bool = false, whole: Bool = false, why: String) {
    event { machine, now, actions in
      machine.requeue(id, early: early, whole: whole, why: why, now: now, actions: &actions)
    } before: {
      $0.waiters[id] = waiter
    }
  }

  /// Frees the slot of a dispatched request; answers whether its connection is worth keeping. `at`: when that was, for
  /// who knows it already.
  func finish(_ id: RequestID, suspect: Bool, at time: Int64? = nil) -> Bool {
    if !suspect {
      let now = time ?? clock()
      let alone: (keep: Bool, effects: [Effect])? = state.withLock { guarded in
        guard let (keep, idle) = guarded.machine.finishAlone(id, now: now) else { return nil }
        // A timer that fires in time finds the idle pod.
        guard idle, guarded.timerAt ?? .max > now &+ guarded.machine.info.idleAfter else { return (keep, []) }
        return (keep, sort([], &guarded, now: now, own: nil) { _ in })
      }
      if let alone {
        perform(alone.effects)
        return alone.keep
      }
    }
    return event { machine, now, actions in machine.finish(id, suspect: suspect, now: now, actions: &actions) }
  }

  /// Notes that a pod did not end an abandoned request in time.
  func quarantine(_ id: RequestID) {
    event { machine, now, actions in machine.quarantine(id, now: now, actions: &actions) }
  }

  func wantAnswered(delivered: Bool) {
    event { machine, now, actions in machine.wantAnswered(delivered: delivered, now: now, actions: &actions) }
  }

  func idleRefused(_ uid: String) {
    event { machine, now, actions in machine.idleRefused(uid, now: now, actions: &actions) }
  }

  func routeChanged(_ route: FunctionRoute) {
    event { machine, now, actions in machine.routeChanged(route, now: now, actions: &actions) }
  }

  func functionRemoved() {
    event { machine, now, actions in machine.functionRemoved(now: now, actions: &actions) }
  }

  func endpointChanged(_ endpoint: EndpointRoute, inSnapshot: Bool = false) {
    event { machine, now, actions in
      machine.endpointChanged(endpoint, inSnapshot: inSnapshot, now: now, actions: &actions)
    }
  }

  func keepOnly(_ uids: Set<String>) {
    event { machine, now, actions in machine.keepOnly(uids, now: now, actions: &actions) }
  }

  func startFailed(_ failure: StartFailure) {
    event { machine, now, actions in machine.startFailed(failure, now: now, actions: &actions) }
  }

  /// A timer fired; one that was overtaken by an earlier one does nothing.
  private func tick(_ time: Int64) {
    let due = state.withLock { guarded in
      guard guarded.timerAt == time else { return false }
      guarded.timerAt = nil
      return true
    }
    guard due else { return }
    event { machine, now, actions in machine.tick(now: now, actions: &actions) }
  }

  // MARK: doing what the machine decided

  private enum Effect {
    case deliver(Waiter, Delivery)
    case want(revision: String, pods: Int, reason: String)
    case podIdle(String, PodRelease)
    case retire(PodKey, abort: Bool)
    case timer(Int64)
  }

  private func event<R: Sendable>(
    _ body: (inout DispatchState, Int64, inout [DispatchState.Action]) -> R,
    before: (inout sending Guarded) -> Void = { _ in }
  ) -> R {
    let now = clock()
    let (result, effects) = state.withLock { guarded in
      before(&guarded)
      var actions: [DispatchState.Action] = []
      let result = body(&guarded.machine, now, &actions)
      return (result, sort(actions, &guarded, now: now, own: nil) { _ in })
    }
    perform(effects)
    return result
  }

  private func sort(
    _ actions: [DispatchState.Action], _ guarded: inout Guarded, now: Int64, own: RequestID?,
    _ deliverOwn: (Delivery) -> Void
  ) -> [Effect] {
    var effects: [Effect] = []
    for action in actions {
      switch action {
      case .dispatch(let id, let assignment):
        guard let waiter = guarded.waiters.removeValue(forKey: id) else { continue }
        if id == own {
          deliverOwn(.assigned(assignment))
        } else {
          effects.append(.deliver(waiter, .assigned(assignment)))
        }
      case .fail(let id, let code, let message):
        guard let waiter = guarded.waiters.removeValue(forKey: id) else { continue }
        if id == own {
          deliverOwn(.failed(code, message))
        } else {
          effects.append(.deliver(waiter, .failed(code, message)))
        }
      case .want(let revision, let pods, let reason):
        effects.append(.want(revision: revision, pods: pods, reason: reason))
      case .podIdle(let uid, let why): effects.append(.podIdle(uid, why))
      case .retire(let key, let abort): effects.append(.retire(key, abort: abort))
      }
    }
    if let next = guarded.machine.nextDeadline(now: now), next < guarded.timerAt ?? .max {
      guarded.timerAt = next
      effects.append(.timer(next))
    }
    return effects
  }

  private func perform(_ effects: [Effect]) {
    for effect in effects {
      switch effect {
      case .deliver(let waiter, let delivery): waiter.loop.execute { waiter.deliver(delivery) }
      case .want(let revision, let pods, let reason):
        self.effects.want(self, revision: revision, pods: pods, reason: reason)
      case .podIdle(let uid, let why): self.effects.podIdle(self, uid: uid, why)
      case .retire(let key, let abort): self.effects.retire(key, abort: abort)
      case .timer(let time):
        // Not weakly: an object that was referred to weakly is slower to retain for the rest of its life.
        timerLoop.scheduleTask(deadline: .uptimeNanoseconds(UInt64(max(0, time)))) { [self] in tick(time) }
      }
    }
  }
}

/// Nanoseconds on the monotonic clock.
@Sendable func monotonicNow() -> Int64 { Int64(clamping: NIODeadline.now().uptimeNanoseconds) }
