import Synchronization

/// The store of soft state: the same contract without a disk.
///
/// Its revisions begin at boot × 2^40, so a revision of an earlier boot is known as such and answers `.compacted`.
/// History is the ring of recent events alone: what falls out of it is compacted.
package final class MemoryStore: StateStore {
  private struct State {
    var objects: [String: StoredObject] = [:]
    /// The keys in order.
    var keys: [String] = []
    var expiring: [String: Int64] = [:]
    var head: Int64
    var closed = false
  }

  /// How far apart the revisions of two boots begin.
  package static let revisionsPerBoot: Int64 = 1 << 40
  private let hub: WatchHub
  private let state: Mutex<State>

  /// An empty store for the `boot`-th start of the server, with at most `ringEvents` and `ringBytes` of history.
  package init(boot: Int64, ringEvents: Int = 16_384, ringBytes: Int = 32 << 20) {
    let head = boot * Self.revisionsPerBoot
    hub = WatchHub(head: head, oldest: head, eventsMax: ringEvents, bytesMax: ringBytes)
    state = Mutex(State(head: head))
  }

  /// The newest revision.
  package var currentRevision: Int64 { get async { hub.head } }
  /// The oldest revision that can still be watched after.
  package var oldestRevision: Int64 { get async { max(hub.oldest, hub.ringFloor) } }

  /// The object under the key, or nil.
  package func get(_ key: String) async throws(StoreError) -> StoredObject? {
    try StoreLimits.check(key: key)
    return try current(key)
  }

  /// One page of objects under a prefix.
  package func list(
    prefix: String, after: String?, limit: Int, at revision: Int64?
  ) async throws(StoreError) -> StoreList {
    let range = try StoreLimits.range(prefix: prefix, after: after)
    let limit = max(1, min(limit, StoreLimits.pageItemsMax))
    let result: Result<StoreList, StoreError> = state.withLock { state in
      if state.closed { return .failure(.closed) }
      guard let revision, revision != state.head else {
        return .success(Self.page(state, range, limit: limit, replaced: [:], at: state.head))
      }
      guard revision < state.head else { return .failure(.futureRevision(asked: revision, current: state.head)) }
      guard revision >= hub.oldest, let undo = hub.undoLog(after: revision) else {
        return .failure(.compacted(oldest: max(hub.oldest, hub.ringFloor)))
      }
      var replaced: [String: StoredObject?] = [:]
      for batch in undo {
        for event in batch.events where range.contains(event.key) {
          replaced.updateValue(event.previous, forKey: event.key)
        }
      }
      return .success(Self.page(state, range, limit: limit, replaced: replaced, at: revision))
    }
    return try result.get()
  }

  /// Applies all operations in one revision if every compare holds.
  package func commit(
    _ compares: [StoreCompare], _ operations: [StoreOperation]
  ) async throws(StoreError) -> Int64 {
    _ = try StoreLimits.check(compares, operations)
    let (result, wake): (Result<Int64, StoreError>, () -> Void) = state.withLock { state in
      if state.closed { return (.failure(.closed), {}) }
      for compare in compares {
        let object = state.objects[compare.key]
        guard compare.holds(for: object) else {
          return (.failure(.conflict(key: compare.key, current: object?.modRevision)), {})
        }
      }
      let revision = state.head + 1
      let events = operations.compactMap { Self.apply($0, revision: revision, &state) }
      guard !events.isEmpty else { return (.success(state.head), {}) }
      state.head = revision
      return (.success(revision), hub.publish([StoreWatchBatch(revision: revision, events: events)]))
    }
    wake()
    return try result.get()
  }

  /// Every change after a revision, in order.
  package func watch(prefix: String, after revision: Int64) -> AsyncThrowingStream<StoreWatchBatch, any Error> {
    Watcher.stream(hub: hub, history: self, prefix: prefix, after: revision)
  }

  /// Forgets history before a revision.
  package func compact(before revision: Int64) async throws(StoreError) {
    let head = hub.head
    guard revision <= head else { throw .futureRevision(asked: revision, current: head) }
    hub.compacted(before: revision, dropRing: true)
  }

  /// Keys whose time is over.
  package func expired(at time: Int64, limit: Int) async throws(StoreError) -> [StoreVersionedKey] {
    state.withLock { state in
      let due = state.expiring.filter { $0.value <= time }.sorted { ($0.value, $0.key) < ($1.value, $1.key) }
      return due.prefix(limit).compactMap { entry in
        state.objects[entry.key].map { StoreVersionedKey(key: entry.key, modRevision: $0.modRevision) }
      }
    }
  }

  /// Ends watches with `.closed` and refuses everything from now on.
  package func close() {
    state.withLock { $0.closed = true }
    hub.close()
  }

  private func current(_ key: String) throws(StoreError) -> StoredObject? {
    let (closed, object) = state.withLock { ($0.closed, $0.objects[key]) }
    if closed { throw .closed }
    return object
  }

  private static func apply(_ operation: StoreOperation, revision: Int64, _ state: inout State) -> StoreEvent? {
    let key = operation.key
    let previous = state.objects[key]
    switch operation {
    case .put(_, let value, let expires):
      let object = StoredObject(
        key: key, value: value, createRevision: previous?.createRevision ?? revision, modRevision: revision,
        version: (previous?.version ?? 0) + 1, expires: expires)
      state.objects[key] = object
      state.expiring[key] = expires
      if previous == nil { state.keys.insert(key, at: state.keys.firstIndex(notBefore: key)) }
      return StoreEvent(key: key, revision: revision, object: object, previous: previous)
    case .delete:
      guard let previous else { return nil }
      state.objects[key] = nil
      state.expiring[key] = nil
      state.keys.remove(at: state.keys.firstIndex(notBefore: key))
      return StoreEvent(key: key, revision: revision, object: nil, previous: previous)
    }
  }

  /// A page of the keys in `range`, with some objects replaced by what they were.
  private static func page(
    _ state: State, _ range: Range<String>, limit: Int, replaced: [String: StoredObject?], at revision: Int64
  ) -> StoreList {
    var page = PageBuilder(limit: limit)
    let gone = replaced.keys.filter { state.objects[$0] == nil }.sorted()  // they were there, or came and went
    var nextGone = gone.makeIterator()
    var goneKey = nextGone.next()
    var index = state.keys.firstIndex(notBefore: range.lowerBound)
    while true {
      let living = index < state.keys.count && state.keys[index] < range.upperBound ? state.keys[index] : nil
      let key: String
      switch (living, goneKey) {
      case (let living?, let gone?) where gone < living: key = gone
      case (let living?, _): key = living
      case (nil, let gone?): key = gone
      case (nil, nil): return page.list(at: revision)
      }
      if key == living { index += 1 } else { goneKey = nextGone.next() }
      guard let object = replaced[key] ?? state.objects[key] else { continue }
      guard page.add(object) else { return page.list(at: revision) }
    }
  }
}

extension MemoryStore: WatchHistory {
  func checkWatch(after revision: Int64) async throws(StoreError) {
    let head = hub.head
    let oldest = max(hub.oldest, hub.ringFloor)
    guard revision <= head else { throw .futureRevision(asked: revision, current: head) }
    guard revision >= oldest else { throw .compacted(oldest: oldest) }
  }

  func history(prefix: String, after revision: Int64, head: Int64) async throws(StoreError) -> WatchHistoryPage {
    throw .compacted(oldest: max(hub.oldest, hub.ringFloor))
  }
}

extension [String] {
  /// The first place in this ordered list whose key is not before `key`.
  fileprivate func firstIndex(notBefore key: String) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < key { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
