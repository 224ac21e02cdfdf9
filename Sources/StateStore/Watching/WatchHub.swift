import Synchronization

/// Where a store announces its revisions and watchers wait for them; holds the ring of recent ones.
final class WatchHub: Sendable {
  /// What a watcher finds when it looks into the ring.
  enum Look {
    /// Matching batches (perhaps none) up to and including `through`.
    case found([StoreWatchBatch], through: Int64)
    /// The ring begins later: read the log up to `head`.
    case behind(head: Int64)
    /// Nothing new.
    case current
    case closed
  }

  /// Why a wait ended.
  enum Wake: Sendable {
    /// There is something to look at after `cursor`; nothing up to it concerned the watcher.
    case news(cursor: Int64)
    case cancelled
    case closed
  }

  private struct Waiter {
    let prefix: String
    var cursor: Int64
    /// What the watcher last told its consumer.
    let reported: Int64
    let continuation: CheckedContinuation<Wake, Never>
  }

  private struct State {
    var ring: EventRing
    var head: Int64
    var oldest: Int64
    var waiters: [Int: Waiter] = [:]
    var nextWaiter = 0
    var closed = false
  }

  /// Most batches one look goes through, so that the lock is held shortly.
  private static let lookMax = 256
  private let state: Mutex<State>

  init(head: Int64, oldest: Int64, eventsMax: Int, bytesMax: Int) {
    state = Mutex(
      State(ring: EventRing(floor: head, eventsMax: eventsMax, bytesMax: bytesMax), head: head, oldest: oldest))
  }

  var head: Int64 { state.withLock { $0.head } }
  /// The oldest revision that may be watched after: what compaction left.
  var oldest: Int64 { state.withLock { $0.oldest } }
  /// The oldest revision the ring alone can serve.
  var ringFloor: Int64 { state.withLock { $0.ring.floor } }

  /// Announces revisions; call the answer when no lock is held. Callers keep the order of revisions.
  func publish(_ batches: [StoreWatchBatch]) -> () -> Void {
    guard let last = batches.last else { return {} }
    var woken: [(CheckedContinuation<Wake, Never>, Int64)] = []
    state.withLock { state in
      for batch in batches { state.ring.append(batch) }
      state.head = last.revision
      for (id, waiter) in state.waiters {
        let concerned = batches.contains { $0.events.contains { $0.key.hasPrefix(waiter.prefix) } }
        if concerned {
          woken.append((waiter.continuation, waiter.cursor))
          state.waiters[id] = nil
        } else if last.revision - waiter.reported >= StoreLimits.progressRevisions {
          woken.append((waiter.continuation, last.revision))
          state.waiters[id] = nil
        } else {
          state.waiters[id]?.cursor = last.revision
        }
      }
    }
    return { for (continuation, cursor) in woken { continuation.resume(returning: .news(cursor: cursor)) } }
  }

  /// Notes a compaction; `dropRing` also forgets the ring up to there (for stores that have no log behind it).
  func compacted(before revision: Int64, dropRing: Bool) {
    state.withLock { state in
      state.oldest = max(state.oldest, revision)
      if dropRing { state.ring.drop(through: revision) }
    }
  }

  func look(prefix: String, after cursor: Int64) -> Look {
    state.withLock { state in
      if state.closed { return .closed }
      guard state.head > cursor else { return .current }
      guard let batches = state.ring.batches(after: cursor) else { return .behind(head: state.head) }
      var found: [StoreWatchBatch] = []
      var through = cursor
      for batch in batches.prefix(Self.lookMax) {
        through = batch.revision
        if let matching = batch.matching(prefix: prefix) { found.append(matching) }
      }
      return .found(found, through: through)
    }
  }

  /// The changes after `revision`, newest first, for a list at an older revision; nil when the ring begins later.
  func undoLog(after revision: Int64) -> [StoreWatchBatch]? {
    state.withLock { $0.ring.batches(after: revision).map { $0.reversed() } }
  }

  /// Waits until there is something after `cursor` for the prefix, or progress is due.
  func wait(prefix: String, cursor: Int64, reported: Int64) async -> Wake {
    let id = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let now: Wake? = state.withLock { state in
          if state.closed { return .closed }
          if state.head > cursor { return .news(cursor: cursor) }
          state.waiters[id] = Waiter(prefix: prefix, cursor: cursor, reported: reported, continuation: continuation)
          return nil
        }
        if let now { continuation.resume(returning: now) }
        // A cancellation before the waiter was noted found nobody to wake.
        if Task.isCancelled { cancel(id) }
      }
    } onCancel: {
      cancel(id)
    }
  }

  func close() {
    let waiters = state.withLock { state in
      defer { state.waiters = [:] }
      state.closed = true
      return state.waiters.values.map(\.continuation)
    }
    for waiter in waiters { waiter.resume(returning: .closed) }
  }

  private func cancel(_ id: Int) {
    let waiter = state.withLock { $0.waiters.removeValue(forKey: id) }
    waiter?.continuation.resume(returning: .cancelled)
  }
}

extension StoreWatchBatch {
  /// The part that concerns a prefix; nil when nothing does.
  func matching(prefix: String) -> StoreWatchBatch? {
    if prefix.isEmpty || events.allSatisfy({ $0.key.hasPrefix(prefix) }) { return self }
    let matching = events.filter { $0.key.hasPrefix(prefix) }
    return matching.isEmpty ? nil : StoreWatchBatch(revision: revision, events: matching)
  }
}
