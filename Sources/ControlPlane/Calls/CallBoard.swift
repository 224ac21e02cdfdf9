import ClusterAPI
import ClusterModel
import DequeModule
import HeapModule

/// Every call that is kept, without its bytes: who may come in, whose turn it is, what is over. Pure: time is passed in,
/// and what it decides is made durable by `CallService` before anybody hears of it.
struct CallBoard {
  /// Where a call is, in more detail than callers see.
  enum Phase: Hashable {
    /// It is being written for the first time, or being changed by an operator.
    case writing
    case ready
    case running
    case waiting(until: Timestamp)
    case done
    case dead
  }

  /// What is left to do about a callback.
  enum Callback: Hashable {
    case none
    case waiting(attempts: Int)
    case sending(attempts: Int)
  }

  /// One call.
  struct Entry {
    let namespace: String
    let function: String
    let enqueued: Timestamp
    /// Bytes of the stored request.
    let bytes: Int
    var phase: Phase
    var attempts = 0
    var ended: Timestamp?
    var status: Int?
    var reason: String?
    /// Bytes of the stored result.
    var resultBytes = 0
    var callback = Callback.none

    var lane: String { "\(namespace)/\(function)" }
  }

  /// The calls of one function.
  struct Lane {
    var ready: Deque<String> = []
    /// Calls that wait or run.
    var queued = 0
    /// Their bytes, and those of the dead.
    var bytes = 0
    var dead = 0
    var running = 0
    /// Whether it stands in `turns`.
    var hasTurn = false

    var isEmpty: Bool { queued == 0 && dead == 0 && bytes == 0 && running == 0 && !hasTurn }
  }

  /// A moment at which something is due for a call.
  private struct Due: Comparable {
    let time: Timestamp
    let id: String

    static func < (one: Due, other: Due) -> Bool { one.time < other.time }
  }

  /// Why a call may not come in.
  enum Refusal: Error, Hashable {
    case known
    case full(String)
  }

  private(set) var entries: [String: Entry] = [:]
  private(set) var lanes: [String: Lane] = [:]
  /// Functions with calls that are ready, each once; the first one's turn is next.
  private var turns: Deque<String> = []
  private(set) var running = 0
  /// What waits for its moment. An id may stand in it more than once: who takes one out asks whether it still holds.
  private var due = Heap<Due>()
  private var callbacks: Deque<String> = []
  private(set) var callbacksRunning = 0
  /// Calls that are done, by when their time is over.
  private var results: Deque<(id: String, ended: Timestamp)> = []
  private(set) var resultCount = 0
  private(set) var resultBytes = 0

  // MARK: coming in

  /// Takes a place for a call that is about to be written.
  mutating func admit(_ id: String, _ head: AsyncCall.Head, bytes: Int) throws(Refusal) {
    guard entries[id] == nil else { throw .known }
    let entry = Entry(
      namespace: head.namespace, function: head.function, enqueued: head.enqueued, bytes: bytes, phase: .writing)
    try checkRoom(entry.lane, bytes: bytes)
    entries[id] = entry
    lanes[entry.lane, default: Lane()].queued += 1
    lanes[entry.lane, default: Lane()].bytes += bytes
  }

  private func checkRoom(_ key: String, bytes: Int) throws(Refusal) {
    let lane = lanes[key] ?? Lane()
    if lane.queued >= Limits.asyncQueueCalls { throw .full("\(lane.queued) calls wait already") }
    if lane.bytes + bytes > Limits.asyncQueueBytes {
      throw .full("its calls hold \(lane.bytes) of \(Limits.asyncQueueBytes) bytes; dead letters count")
    }
    if lane.dead >= Limits.asyncDeadLetters {
      throw .full("\(lane.dead) dead letters are kept; purge them with `apus calls purge`")
    }
  }

  /// The call was not written: it was never there.
  mutating func abandon(_ id: String) {
    guard let entry = entries.removeValue(forKey: id) else { return }
    release(entry, dead: false)
  }

  /// The call is durable: it may run.
  mutating func written(_ id: String) {
    guard entries[id] != nil else { return }
    makeReady(id)
  }

  /// A call found in the store at the start. Calls come in the order in which they were taken.
  mutating func restore(_ id: String, _ entry: Entry) {
    entries[id] = entry
    switch entry.phase {
    case .writing, .ready, .running, .waiting:
      lanes[entry.lane, default: Lane()].queued += 1
      lanes[entry.lane, default: Lane()].bytes += entry.bytes
      if case .waiting(let until) = entry.phase { due.insert(Due(time: until, id: id)) } else { makeReady(id) }
    case .dead:
      lanes[entry.lane, default: Lane()].dead += 1
      lanes[entry.lane, default: Lane()].bytes += entry.bytes
    case .done:
      results.append((id, entry.ended ?? entry.enqueued))
      resultCount += 1
      resultBytes += entry.bytes + entry.resultBytes
    }
    if case .waiting = entry.callback { callbacks.append(id) }
  }

  // MARK: running

  /// The function whose turn it is; nil when nothing may start now. It keeps its turn until `start` is called.
  var nextLane: String? { running < Limits.asyncRunning ? turns.first : nil }

  /// Takes a call of the function whose turn it is, or nil when so many of it run already; then its turn comes back
  /// when one of them ends.
  mutating func start(_ key: String, atMost limit: Int) -> String? {
    guard turns.first == key, var lane = lanes[key] else { return nil }
    turns.removeFirst()
    lane.hasTurn = false
    defer { lanes[key] = lane }
    guard lane.running < min(limit, Limits.asyncRunningOfFunction) else { return nil }
    while let id = lane.ready.popFirst() {
      guard entries[id]?.phase == .ready else { continue }
      entries[id]?.phase = .running
      lane.running += 1
      running += 1
      if !lane.ready.isEmpty {
        lane.hasTurn = true
        turns.append(key)
      }
      return id
    }
    return nil
  }

  /// The attempt ended and the call is tried again at a moment.
  mutating func retry(_ id: String, at time: Timestamp, attempts: Int, status: Int?, reason: String) {
    guard var entry = entries[id], entry.phase == .running else { return }
    entry.phase = .waiting(until: time)
    entry.attempts = attempts
    entry.status = status
    entry.reason = reason
    entries[id] = entry
    due.insert(Due(time: time, id: id))
    ranOff(entry.lane)
  }

  /// The attempt was the last: the function answered (`dead` false), or the call was given up.
  mutating func end(
    _ id: String, dead: Bool, at time: Timestamp, attempts: Int, status: Int?, reason: String?, resultBytes bytes: Int,
    callback: Bool
  ) {
    guard var entry = entries[id], entry.phase == .running else { return }
    entry.phase = dead ? .dead : .done
    entry.attempts = attempts
    entry.ended = time
    entry.status = status
    entry.reason = reason
    entry.resultBytes = bytes
    if callback {
      entry.callback = .waiting(attempts: 0)
      callbacks.append(id)
    }
    entries[id] = entry
    lanes[entry.lane]?.queued -= 1
    if dead {
      lanes[entry.lane]?.dead += 1
    } else {
      lanes[entry.lane]?.bytes -= entry.bytes
      results.append((id, time))
      resultCount += 1
      resultBytes += entry.bytes + bytes
    }
    ranOff(entry.lane)
  }

  /// An attempt was given up with the server: the call is as it was before.
  mutating func putBack(_ id: String) {
    guard let entry = entries[id], entry.phase == .running else { return }
    ranOff(entry.lane)
    makeReady(id)
  }

  // MARK: callbacks

  /// The next callback to send, with the attempts before; nil when nothing may start now.
  mutating func nextCallback() -> (id: String, attempts: Int)? {
    while callbacksRunning < Limits.callbacksRunning, let id = callbacks.popFirst() {
      guard case .waiting(let attempts)? = entries[id]?.callback else { continue }
      entries[id]?.callback = .sending(attempts: attempts)
      callbacksRunning += 1
      return (id, attempts)
    }
    return nil
  }

  /// A callback was sent, or not; with a moment, it is sent again then.
  mutating func callbackEnded(_ id: String, again: Timestamp?) {
    callbacksRunning -= 1
    guard case .sending(let attempts)? = entries[id]?.callback else { return }
    entries[id]?.callback = again == nil ? .none : .waiting(attempts: attempts + 1)
    if let again { due.insert(Due(time: again, id: id)) }
  }

  // MARK: time

  /// Makes ready what waited until now; answers whether there was any.
  mutating func wake(_ now: Timestamp) -> Bool {
    var any = false
    while let first = due.min, first.time <= now {
      let id = due.removeMin().id
      guard let entry = entries[id] else { continue }
      if case .waiting(let until) = entry.phase, until <= now {
        makeReady(id)
        any = true
      }
      if case .waiting = entry.callback {
        callbacks.append(id)
        any = true
      }
    }
    return any
  }

  /// Takes out the results whose time is over or for which there is no room, at most `count`, oldest first. The caller
  /// removes them from the store.
  mutating func expire(before time: Timestamp, atMost count: Int) -> [(id: String, entry: Entry)] {
    var gone: [(id: String, entry: Entry)] = []
    while gone.count < count, let oldest = results.first {
      let isOver =
        oldest.ended <= time || resultCount > Limits.asyncResults || resultBytes > Limits.asyncResultBytes
      guard let entry = entries[oldest.id], entry.phase == .done, entry.ended == oldest.ended else {
        results.removeFirst()
        continue
      }
      guard isOver else { break }
      results.removeFirst()
      entries[oldest.id] = nil
      forgetResult(entry)
      gone.append((oldest.id, entry))
    }
    return gone
  }

  // MARK: operators

  /// Takes a place in the queue for a dead letter or a call that is done; false while it waits or runs.
  mutating func reopen(_ id: String) throws(Refusal) -> Bool {
    guard let entry = entries[id] else { return false }
    switch entry.phase {
    case .writing, .ready, .running, .waiting: return false
    case .done, .dead: break
    }
    if case .sending = entry.callback { return false }
    let lane = lanes[entry.lane] ?? Lane()
    if lane.queued >= Limits.asyncQueueCalls { throw .full("\(lane.queued) calls wait already") }
    if entry.phase == .done {
      if lane.bytes + entry.bytes > Limits.asyncQueueBytes { throw .full("its calls hold \(lane.bytes) bytes") }
      forgetResult(entry)
      lanes[entry.lane, default: Lane()].bytes += entry.bytes
    } else {
      lanes[entry.lane, default: Lane()].dead -= 1
    }
    lanes[entry.lane, default: Lane()].queued += 1
    entries[id]?.phase = .writing
    return true
  }

  /// The reopened call is durable: it begins anew.
  mutating func reopened(_ id: String) {
    guard let old = entries[id] else { return }
    entries[id] = Entry(
      namespace: old.namespace, function: old.function, enqueued: old.enqueued, bytes: old.bytes, phase: .writing)
    makeReady(id)
  }

  /// The call was not reopened: it is what it was.
  mutating func reopenFailed(_ id: String, dead: Bool) {
    guard let entry = entries[id], entry.phase == .writing else { return }
    entries[id]?.phase = dead ? .dead : .done
    lanes[entry.lane]?.queued -= 1
    if dead {
      lanes[entry.lane]?.dead += 1
    } else {
      lanes[entry.lane]?.bytes -= entry.bytes
      results.append((id, entry.ended ?? entry.enqueued))
      resultCount += 1
      resultBytes += entry.bytes + entry.resultBytes
    }
  }

  /// The ids of a function's dead letters.
  func deadLetters(_ key: String) -> [String] {
    guard lanes[key]?.dead ?? 0 > 0 else { return [] }
    return entries.filter { $0.value.phase == .dead && $0.value.lane == key }.map(\.key)
  }

  /// Forgets a dead letter that was removed from the store.
  mutating func purged(_ id: String) {
    guard let entry = entries[id], entry.phase == .dead else { return }
    entries[id] = nil
    release(entry, dead: true)
  }

  /// The lines of the list, oldest first.
  func list(_ filter: CallFilter) -> [CallSummary] {
    let found = entries.lazy.filter { id, entry in
      entry.namespace == filter.namespace && (filter.function ?? entry.function) == entry.function
        && (filter.state ?? entry.state) == entry.state
    }
    let limit = max(1, min(filter.limit, Limits.callsListed))
    return found.map { $0.value.summary($0.key) }.sorted { ($0.enqueued, $0.id) < ($1.enqueued, $1.id) }
      .prefix(limit).map { $0 }
  }

  // MARK: bookkeeping

  private mutating func makeReady(_ id: String) {
    guard let key = entries[id]?.lane else { return }
    entries[id]?.phase = .ready
    lanes[key, default: Lane()].ready.append(id)
    giveTurn(key)
  }

  private mutating func ranOff(_ key: String) {
    running -= 1
    lanes[key]?.running -= 1
    giveTurn(key)
  }

  private mutating func giveTurn(_ key: String) {
    guard let lane = lanes[key] else { return }
    if !lane.hasTurn, !lane.ready.isEmpty {
      lanes[key]?.hasTurn = true
      turns.append(key)
    } else if lane.isEmpty {
      lanes[key] = nil
    }
  }

  private mutating func release(_ entry: Entry, dead: Bool) {
    if dead { lanes[entry.lane]?.dead -= 1 } else { lanes[entry.lane]?.queued -= 1 }
    lanes[entry.lane]?.bytes -= entry.bytes
    giveTurn(entry.lane)
  }

  private mutating func forgetResult(_ entry: Entry) {
    resultCount -= 1
    resultBytes -= entry.bytes + entry.resultBytes
  }
}

extension CallBoard.Entry {
  /// What callers see of its phase.
  var state: CallState {
    switch phase {
    case .writing, .ready: .queued
    case .running: .running
    case .waiting: .retrying
    case .done: .done
    case .dead: .dead
    }
  }

  /// Its line in the list.
  func summary(_ id: String) -> CallSummary {
    var next: Timestamp?
    if case .waiting(let until) = phase { next = until }
    return CallSummary(
      id: id, namespace: namespace, function: function, state: state, attempts: attempts, enqueued: enqueued,
      next: next, ended: ended, status: status, reason: reason)
  }
}
