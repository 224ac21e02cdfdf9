import ClusterModel

/// One pod's life on this node: events in, actions out; no I/O, no clock.
///
/// idle → preparing → sandboxing → waking → (probing) → ready → terminating → killing → cleaning → gone, and from
/// cleaning back to preparing (after a back-off) when the pod is to be started again. What follows the clean-up is
/// decided where the end is decided (`verdict`) and only ever becomes more final.
struct PodMachine: Sendable {
  /// Where the pod is on this node; finer than `PodLife`, which is what others see.
  enum Phase: Hashable, Sendable, CaseIterable {
    case idle, preparing, sandboxing, waking, probing, ready, terminating, killing, cleaning, waiting, gone
  }

  /// What happened. Events of one start carry its number, so that a late one of an earlier start is ignored.
  enum Event: Hashable, Sendable {
    case begin
    case prepared
    case prepareFailed(String)
    case sandboxed
    case sandboxFailed(String)
    case awake
    case probed
    case startupExpired
    case exited(PodExit, lastLines: String)
    case livenessFailed(String)
    case drain
    case stop(graceMilliseconds: Int64)
    case graceExpired
    case cleaned
    case restartDue
  }

  /// What is to be done, in order.
  enum Action: Hashable, Sendable {
    case report
    case event(reason: String, message: String, warning: Bool)
    case prepare
    case cancelPreparation
    case listen
    case startSandbox
    case awaitWake
    case probeReadiness
    case watchLiveness
    case terminate
    case kill
    case clean
    case armStartup(milliseconds: Int64)
    case armGrace(milliseconds: Int64)
    case armRestart(milliseconds: Int64)
    case disarm
    case finish
  }

  /// What the machine must know of the pod.
  struct Plan: Hashable, Sendable {
    var startupMilliseconds: Int64
    var graceMilliseconds: Int64
    var hasReadiness: Bool
    var hasLiveness: Bool
    var servesPort: Bool
    var memoryLimit: String
    var endpoint: PodEndpoint
    var wantedAt: Timestamp
  }

  private enum Verdict: Hashable, Sendable {
    case restart(waitMilliseconds: Int64)
    case gone(reason: String, message: String?, failed: Bool)
  }

  /// Starts that may fail in a row after the pod was ready once; a pod that was never ready gets one.
  static let failedRestartsMaximum = Limits.startAttempts

  let plan: Plan
  private(set) var phase = Phase.idle
  /// What others see.
  private(set) var detail: PodDetail
  /// Counts the starts from 1; 0 before the first.
  private(set) var start = 0
  private var backoff = RestartBackoff()
  private var verdict: Verdict?
  private var draining = false
  private var wasReady = false
  private var everProven = false
  private var failedRestarts = 0
  private var marks = StartMarks()
  private var mark = Moment(wall: Timestamp(nanoseconds: 0), uptime: 0)
  private var readySince = Moment(wall: Timestamp(nanoseconds: 0), uptime: 0)

  /// A pod that was assigned to this node.
  init(function: String, revision: String, plan: Plan, at now: Moment) {
    self.plan = plan
    detail = PodDetail(function: function, revision: revision, life: .wanted)
    detail.enter(.placed, at: now.wall, reason: "Assigned")
    mark = now
  }

  /// Takes an event; `start` is given for events that belong to one start.
  mutating func handle(_ event: Event, start: Int? = nil, at now: Moment) -> [Action] {
    if let start, start != self.start { return [] }
    switch event {
    case .begin: return phase == .idle ? begin(first: true, at: now) : []
    case .prepared: return phase == .preparing ? prepared(at: now) : []
    case .prepareFailed(let why): return phase == .preparing ? startFailed(why, nil, at: now) : []
    case .sandboxed: return phase == .sandboxing ? sandboxed(at: now) : []
    case .sandboxFailed(let why): return phase == .sandboxing ? startFailed(why, nil, at: now) : []
    case .awake: return phase == .waking ? awake(at: now) : []
    case .probed: return phase == .probing ? becomeReady(at: now) : []
    case .startupExpired: return startupExpired(at: now)
    case .exited(let exit, let lines): return exited(exit, lines, at: now)
    case .livenessFailed(let why): return phase == .ready ? unhealthy(why, at: now) : []
    case .drain: return drain(at: now)
    case .stop(let grace): return stop(max(0, grace), at: now)
    case .graceExpired:
      guard phase == .terminating else { return [] }
      phase = .killing
      return [.kill]
    case .cleaned: return phase == .cleaning ? cleaned(at: now) : []
    case .restartDue: return phase == .waiting ? begin(first: false, at: now) : []
    }
  }

  /// Notes what its sandbox knows of the start that goes on, before the event that it belongs to.
  mutating func marked(_ marks: StartMarks) { self.marks = marks }

  /// Notes a memory figure for the next report.
  mutating func sampled(memory: Int64) { detail.memory = memory }
}

// MARK: starting

extension PodMachine {
  private mutating func begin(first: Bool, at now: Moment) -> [Action] {
    start += 1
    phase = .preparing
    verdict = nil
    wasReady = false
    detail.everReady = false
    detail.startup = StartupBreakdown()
    if first { detail.startup?.placed = Double(max(0, now.wall.nanoseconds - plan.wantedAt.nanoseconds)) / 1_000_000 }
    mark = now
    marks = StartMarks()
    if first { detail.enter(.starting, at: now.wall, reason: "Starting") }
    return [.report, .prepare]
  }

  private mutating func prepared(at now: Moment) -> [Action] {
    detail.startup?.prepared = now.milliseconds(since: mark)
    mark = now
    phase = .sandboxing
    // The socket takes connections from now on: whoever wants may connect at once and wait in its backlog, unless the pod
    // is to be asked first whether it is ready.
    if !plan.hasReadiness { detail.endpoint = plan.endpoint }
    return [
      .listen, .report, .armStartup(milliseconds: plan.startupMilliseconds), .startSandbox,
    ]
  }

  private mutating func sandboxed(at now: Moment) -> [Action] {
    // A pod that was made ahead stood before it was asked for: it is sandboxed when it was told what it is.
    let sandboxed = reach(marks.stood.flatMap { $0 > mark.uptime ? $0 : nil }, now)
    detail.startup?.sandboxed = sandboxed
    if verdict != nil {
      phase = .killing
      return [.disarm, .kill]
    }
    phase = .waking
    return [.awaitWake]
  }

  /// Milliseconds from the last mark to the next one, which is now where the sandbox told of none; it becomes the last.
  private mutating func reach(_ told: Int64?, _ now: Moment) -> Double {
    let since = mark
    mark = now
    if let told { mark.uptime = max(since.uptime, min(told, now.uptime)) }
    return mark.milliseconds(since: since)
  }

  private mutating func awake(at now: Moment) -> [Action] {
    // Its word may overtake the sandbox's: then it started now at the latest.
    let started = reach(marks.began, now)
    detail.startup?.started = started
    guard plan.hasReadiness else { return becomeReady(at: now) }
    phase = .probing
    return [.probeReadiness]
  }

  private mutating func becomeReady(at now: Moment) -> [Action] {
    detail.startup?.ready = now.milliseconds(since: mark)
    phase = .ready
    wasReady = true
    everProven = true
    failedRestarts = 0
    readySince = now
    detail.everReady = true
    detail.endpoint = plan.endpoint
    if !draining { detail.enter(.ready, at: now.wall, reason: "Ready") }
    return [.disarm, .report] + (plan.hasLiveness ? [.watchLiveness] : [])
  }

  private mutating func startupExpired(at now: Moment) -> [Action] {
    let seconds = TimeSpan(milliseconds: plan.startupMilliseconds)
    let missing = phase == .probing ? "its readiness probe did not pass" : "it was not ready"
    switch phase {
    case .sandboxing:
      if verdict == nil {
        verdict = .gone(reason: "StartFailed", message: "\(missing) within \(seconds)", failed: true)
      }
      return []
    case .waking, .probing:
      verdict = .gone(reason: "StartFailed", message: "\(missing) within \(seconds)", failed: true)
      phase = .killing
      return [.disarm, .kill]
    default: return []
    }
  }
}

// MARK: ends

extension PodMachine {
  private mutating func exited(_ exit: PodExit, _ lastLines: String, at now: Moment) -> [Action] {
    switch phase {
    case .waking, .probing, .ready, .terminating, .killing: break
    default: return []
    }
    detail.exitCode = exit.status
    let sentence = exit.sentence(memoryLimit: plan.memoryLimit)
    switch verdict {
    case .gone(let reason, let message?, failed: true):
      verdict = .gone(reason: reason, message: Self.message(message, lastLines), failed: true)
      return clean(with: [.event(reason: reason, message: Self.message(message, lastLines), warning: true)])
    case .gone: return clean(with: [])
    case .restart: return clean(with: [])
    case nil: break
    }
    if draining {
      let message = exit.failed || exit.signal != nil ? Self.message(sentence, lastLines) : nil
      verdict = .gone(reason: exit.reason, message: message, failed: exit.failed || exit.signal != nil)
      return clean(with: [])
    }
    guard wasReady else {
      return startFailed(exit.startFailure ?? "\(sentence) before it was ready", exit, lastLines, at: now)
    }
    return crashed(exit.reason, Self.message(sentence, lastLines), at: now)
  }

  private mutating func crashed(_ reason: String, _ message: String, at now: Moment) -> [Action] {
    let wait = backoff.crashed(afterRunning: Int64(now.milliseconds(since: readySince)))
    detail.restarts += 1
    detail.endpoint = nil
    detail.everReady = false
    detail.enter(.starting, at: now.wall, reason: reason, message: message)
    verdict = .restart(waitMilliseconds: wait)
    var actions: [Action] = [.report, .event(reason: reason, message: message, warning: true)]
    if backoff.crashes >= 3 {
      let text = "crashed \(backoff.crashes) times in a row; starts again in \(TimeSpan(milliseconds: wait))"
      actions.append(.event(reason: "CrashLoop", message: text, warning: true))
    }
    return clean(with: actions)
  }

  private mutating func startFailed(
    _ why: String, _ exit: PodExit?, _ lastLines: String = "", at now: Moment
  ) -> [Action] {
    let message = Self.message(why, lastLines)
    var actions: [Action] = []
    if case .gone = verdict { return clean(with: []) }
    if exit?.outOfMemory == true { actions.append(.event(reason: "OOMKilled", message: message, warning: true)) }
    actions.append(.event(reason: "StartFailed", message: message, warning: true))
    failedRestarts += 1
    if everProven, !draining, failedRestarts < Self.failedRestartsMaximum {
      // It worked before: the next start may work again.
      let wait = backoff.crashed(afterRunning: 0)
      detail.restarts += 1
      detail.endpoint = nil
      detail.enter(.starting, at: now.wall, reason: "StartFailed", message: message)
      verdict = .restart(waitMilliseconds: wait)
      return clean(with: [.report] + actions)
    }
    verdict = .gone(reason: "StartFailed", message: message, failed: true)
    return clean(with: actions)
  }

  private mutating func unhealthy(_ why: String, at now: Moment) -> [Action] {
    let wait = backoff.crashed(afterRunning: Int64(now.milliseconds(since: readySince)))
    phase = .terminating
    var actions: [Action] = []
    if draining {
      verdict = .gone(reason: "Unhealthy", message: why, failed: true)
    } else {
      verdict = .restart(waitMilliseconds: wait)
      detail.restarts += 1
      detail.endpoint = nil
      detail.everReady = false
      detail.enter(.starting, at: now.wall, reason: "Unhealthy", message: why)
      actions.append(.report)
    }
    actions.append(.event(reason: "Unhealthy", message: why, warning: true))
    return actions + [.disarm, .terminate, .armGrace(milliseconds: plan.graceMilliseconds)]
  }

  private mutating func drain(at now: Moment) -> [Action] {
    guard phase != .gone, !draining else { return [] }
    draining = true
    if case .restart = verdict { verdict = Self.stopped }
    let enters = detail.life.canBecome(.draining)
    if enters { detail.enter(.draining, at: now.wall, reason: "Draining") }
    if phase == .waiting || phase == .idle {
      verdict = Self.stopped
      return [.disarm] + gone(at: now)
    }
    return enters ? [.report] : []
  }

  private mutating func stop(_ grace: Int64, at now: Moment) -> [Action] {
    switch phase {
    case .gone: return []
    case .idle, .waiting:
      verdict = Self.stopped
      return [.disarm] + gone(at: now)
    case .preparing:
      verdict = Self.stopped
      return [.cancelPreparation] + clean(with: [])
    case .sandboxing, .killing, .cleaning:
      switch verdict {
      case .gone: break
      case .restart, nil: verdict = Self.stopped
      }
      draining = true
      return []
    case .terminating:
      draining = true
      if case .restart = verdict { verdict = Self.stopped }
      return [.armGrace(milliseconds: grace)]
    case .waking, .probing, .ready:
      verdict = Self.stopped
      draining = true
      phase = .terminating
      let enters = detail.life != .draining && detail.life.canBecome(.draining)
      if enters { detail.enter(.draining, at: now.wall, reason: "Stopping") }
      let first: [Action] = enters ? [.report, .disarm] : [.disarm]
      return first + [.terminate, .armGrace(milliseconds: grace)]
    }
  }

  private mutating func clean(with actions: [Action]) -> [Action] {
    phase = .cleaning
    return actions + [.disarm, .clean]
  }

  private mutating func cleaned(at now: Moment) -> [Action] {
    guard case .restart(let wait) = verdict else { return gone(at: now) }
    if wait == 0 { return begin(first: false, at: now) }
    phase = .waiting
    return [.armRestart(milliseconds: wait)]
  }

  private mutating func gone(at now: Moment) -> [Action] {
    phase = .gone
    detail.endpoint = nil
    detail.memory = nil
    if case .gone(let reason, let message, let failed) = verdict {
      detail.failed = failed
      detail.enter(.gone, at: now.wall, reason: reason, message: message)
    } else {
      detail.failed = false
      detail.enter(.gone, at: now.wall, reason: "Stopped")
    }
    return [.report, .finish]
  }

  private static let stopped = Verdict.gone(reason: "Stopped", message: nil, failed: false)

  private static func message(_ sentence: String, _ lastLines: String) -> String {
    lastLines.isEmpty ? sentence : "\(sentence); last lines written:\n\(lastLines)"
  }
}
