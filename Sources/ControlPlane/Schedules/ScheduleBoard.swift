import ClusterModel

/// A function whose schedules are followed.
struct ScheduledFunction: Hashable, Sendable {
  /// Its namespace.
  var namespace: String
  /// Its name.
  var name: String
  /// Its uid: one made anew under the same name begins anew.
  var uid: String
  /// Whether a revision of it serves; before, its schedules do not begin.
  var serves: Bool
  /// The schedules.
  var schedules: [ScheduleSpec]

  var key: String { "\(namespace)/\(name)" }
}

/// Every schedule, and which runs are due. Pure: time is passed in, and what it decides is made durable by
/// `ScheduleService` before it counts.
struct ScheduleBoard {
  /// Which schedule.
  struct Key: Hashable {
    let namespace: String
    let function: String
    let uid: String
    let name: String

    /// The part of a key in the store that names it.
    var path: String { "\(namespace)/\(function)/\(uid)/\(name)" }
  }

  /// What is kept of a schedule over restarts.
  struct Record: Codable, Hashable {
    /// The expression and zone it was kept for; with others it begins anew.
    var expression: String
    /// Times up to here are dealt with.
    var cursor: Timestamp
    var lastTime: Timestamp?
    var lastCall: String?
    var runs = 0
    var missed = 0
    var lastMissed: Timestamp?
    var skipped = 0
    var suspended = false
  }

  /// One schedule.
  struct Line {
    let spec: ScheduleSpec
    let expression: CronExpression
    let zone: any ZoneOffsets
    var record: Record
    /// The time after `record.cursor`; nil when there is none, or while it is suspended.
    var next: Timestamp?
    /// Why the run that is due could not be queued.
    var failure: String?
    var retryAt: Timestamp?
    /// Whether nothing was decided since the server started.
    var isFresh: Bool
    /// Whether a decision is being made durable.
    var isBusy = false
  }

  /// Something to say about a schedule.
  enum Note: Hashable {
    case missed(Int, isMore: Bool, why: String)
    case skipped
  }

  /// What is due for a schedule: a record to write, with a run or without.
  struct Step: Hashable {
    let key: Key
    /// The time of the run; nil when there is none.
    var run: Timestamp?
    var record: Record
    var notes: [Note] = []
  }

  private(set) var lines: [Key: Line] = [:]
  /// The schedules of each function (`NAMESPACE/NAME`).
  private var byFunction: [String: [Key]] = [:]
  /// Before this moment nothing is due; it may be earlier than what is due first.
  private(set) var soonest: Timestamp?

  // MARK: which there are

  /// Takes the schedules as they are now, with what was kept of them; answers the records to write, and the schedules
  /// that are gone.
  mutating func follow(
    _ functions: [ScheduledFunction], kept: [Key: Record] = [:], isStart: Bool = false, at now: Timestamp
  ) -> (changed: [Key: Record], gone: [Key]) {
    var lines: [Key: Line] = [:]
    var changed: [Key: Record] = [:]
    for function in functions {
      for spec in function.schedules {
        let key = Key(namespace: function.namespace, function: function.name, uid: function.uid, name: spec.name)
        let old = self.lines[key]
        if let old, old.spec == spec {
          lines[key] = old
          continue
        }
        guard let expression = try? CronExpression(spec.cron), let zone = NamedZone.offsets(spec.timeZone) else {
          continue
        }
        let before = old?.record ?? kept[key]
        guard before != nil || function.serves else { continue }
        let record = Self.record(for: spec, before, at: now)
        if record != before { changed[key] = record }
        var line = Line(
          spec: spec, expression: expression, zone: zone, record: record, next: nil, isFresh: isStart)
        line.next = line.following
        line.isBusy = old?.isBusy ?? false
        lines[key] = line
      }
    }
    let gone = Set(self.lines.keys).union(kept.keys).subtracting(lines.keys)
    self.lines = lines
    byFunction = Dictionary(grouping: lines.keys) { "\($0.namespace)/\($0.function)" }
    look()
    return (changed, Array(gone))
  }

  /// The record a schedule goes on with: a new one, a resumed one and one with another expression begin now.
  private static func record(for spec: ScheduleSpec, _ before: Record?, at now: Timestamp) -> Record {
    let expression = "\(spec.cron) \(spec.timeZone)"
    var record = before ?? Record(expression: expression, cursor: now)
    if record.expression != expression || (record.suspended && !spec.suspend) { record.cursor = now }
    record.expression = expression
    record.suspended = spec.suspend
    return record
  }

  private mutating func look() {
    soonest = lines.values.lazy.compactMap(\.wakes).min()
  }

  /// The same after one line changed.
  private mutating func look(at key: Key) {
    guard let wakes = lines[key]?.wakes else { return }
    soonest = soonest.map { min($0, wakes) } ?? wakes
  }

  // MARK: what is due

  /// What is due now, at most so many; each is busy until `settle`. `isOpen` answers whether a call is not over.
  mutating func due(_ now: Timestamp, atMost count: Int, isOpen: (String) -> Bool) -> [Step] {
    guard let soonest, soonest <= now else { return [] }
    var steps: [Step] = []
    for (key, line) in lines where !line.isBusy {
      guard steps.count < count else { break }
      guard let wakes = line.wakes, wakes <= now else { continue }
      steps.append(line.step(key, now, isOpen: isOpen))
      lines[key]?.isBusy = true
    }
    look()
    return steps
  }

  /// A step is durable.
  mutating func settle(_ step: Step) {
    guard var line = lines[step.key] else { return }
    line.isBusy = false
    line.isFresh = false
    line.failure = nil
    line.retryAt = nil
    // Changed meanwhile: the new spec has its own beginning, the counts go on.
    let (cursor, expression) = (max(line.record.cursor, step.record.cursor), line.record.expression)
    line.record = step.record
    line.record.cursor = cursor
    line.record.expression = expression
    line.record.suspended = line.spec.suspend
    line.next = line.following
    lines[step.key] = line
    look(at: step.key)
  }

  /// A step was not taken: it is decided anew after a pause.
  mutating func failed(_ step: Step, why: String, at now: Timestamp) {
    lines[step.key]?.isBusy = false
    lines[step.key]?.failure = why
    lines[step.key]?.retryAt = now.advanced(milliseconds: Limits.schedulePause)
    look(at: step.key)
  }

  /// What the API shows of a function's schedules, by name.
  func statuses(of function: String) -> [ScheduleStatus] {
    (byFunction[function] ?? []).compactMap { key in lines[key]?.status(key.name) }.sorted { $0.name < $1.name }
  }
}

extension ScheduleBoard.Line {
  /// When it must be looked at; nil when never, or while it is busy.
  fileprivate var wakes: Timestamp? {
    guard !isBusy, let next else { return nil }
    return retryAt.map { max(next, $0) } ?? next
  }

  /// The time after those that are dealt with.
  var following: Timestamp? {
    spec.suspend ? nil : expression.next(after: record.cursor, in: zone)
  }

  /// What to do about the times up to now: the newest is run, unless it is too late; those before it were missed.
  fileprivate func step(_ key: ScheduleBoard.Key, _ now: Timestamp, isOpen: (String) -> Bool) -> ScheduleBoard.Step {
    var times: [Timestamp] = []
    var from = record.cursor
    while times.count <= Limits.missedRunsCounted, let time = expression.next(after: from, in: zone), time <= now {
      times.append(time)
      from = time
    }
    let newest = expression.last(until: now, after: record.cursor, in: zone) ?? from
    let isMore = newest > from
    var step = ScheduleBoard.Step(key: key, record: record)
    step.record.cursor = newest
    var missed = isMore ? Limits.missedRunsCounted : max(0, times.count - 1)
    var lastMissed = isMore ? from : times.dropLast().last
    var why = failure ?? (isFresh ? "no server ran at their time" : "the server was late")
    if let deadline = spec.startingDeadline, now.milliseconds(since: newest) > deadline.milliseconds {
      if !isMore { missed += 1 }
      lastMissed = newest
      if failure == nil { why += ", and startingDeadline is \(deadline)" }
    } else if spec.concurrencyPolicy == .forbid, let last = record.lastCall, isOpen(last) {
      step.record.skipped += 1
      step.notes.append(.skipped)
    } else {
      step.run = newest
      step.record.lastTime = newest
      step.record.lastCall = ScheduleService.callID(key, newest)
      step.record.runs += 1
    }
    if missed > 0 {
      step.record.missed += missed
      step.record.lastMissed = lastMissed
      step.notes.append(.missed(missed, isMore: isMore, why: why))
    }
    return step
  }

  fileprivate func status(_ name: String) -> ScheduleStatus {
    var status = ScheduleStatus(name: name)
    status.lastScheduleTime = record.lastTime
    status.lastCall = record.lastCall
    status.nextScheduleTime = next
    status.runs = record.runs
    status.missed = record.missed
    status.lastMissedTime = record.lastMissed
    status.skipped = record.skipped
    if spec.suspend { status.suspended = true }
    return status
  }
}
