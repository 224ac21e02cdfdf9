/// A condition a commit rests on.
package enum StoreCompare: Sendable, Hashable {
  /// There is no object under the key.
  case absent(String)
  /// There is an object under the key.
  case exists(String)
  /// The object under the key was last changed by this revision.
  case modRevision(String, equals: Int64)

  /// The key the condition speaks about.
  package var key: String {
    switch self {
    case .absent(let key), .exists(let key), .modRevision(let key, _): key
    }
  }

  /// Whether the condition holds for what is stored under the key.
  func holds(for object: StoredObject?) -> Bool {
    switch self {
    case .absent: object == nil
    case .exists: object != nil
    case .modRevision(_, let revision): object?.modRevision == revision
    }
  }
}

/// One change a commit makes.
package enum StoreOperation: Sendable, Hashable {
  /// Writes the bytes under the key; `expires` in milliseconds since 1970 lets `StateStore.expire` remove it.
  case put(String, value: [UInt8], expires: Int64? = nil)
  /// Removes the key; nothing happens when it is absent.
  case delete(String)

  /// The key that is written.
  package var key: String {
    switch self {
    case .put(let key, _, _), .delete(let key): key
    }
  }

  var bytes: Int {
    switch self {
    case .put(let key, let value, _): key.utf8.count + value.count
    case .delete(let key): key.utf8.count
    }
  }
}

/// A key with the revision that last changed it.
package struct StoreVersionedKey: Sendable, Hashable {
  /// The key.
  package let key: String
  /// The revision of its last change.
  package let modRevision: Int64
}

/// Revisioned objects: one total order of revisions, compare-and-set commits, lists at a revision, watches from one.
///
/// Revisions start at 1 and grow by one with each commit that changes something. All methods may be called from any
/// task; calls that finished before another started are seen by it (strict serialisability).
package protocol StateStore: Sendable {
  /// The object under the key, or nil.
  func get(_ key: String) async throws(StoreError) -> StoredObject?

  /// One page of the objects whose keys begin with `prefix`, ordered by key, after the key `after`.
  ///
  /// `limit` is brought into 1 … `StoreLimits.pageItemsMax`; a page also ends after `StoreLimits.pageBytesMax`.
  /// `revision` nil means the newest; an older one throws `.compacted` when it is forgotten.
  func list(prefix: String, after: String?, limit: Int, at revision: Int64?) async throws(StoreError) -> StoreList

  /// Applies all operations in one new revision if every compare holds, and returns that revision.
  ///
  /// A commit that changes nothing (no operations, or only deletions of absent keys) returns the newest revision.
  /// Returns after the change is durable (as durable as the store is) and visible to everyone. Not cancellable.
  func commit(_ compares: [StoreCompare], _ operations: [StoreOperation]) async throws(StoreError) -> Int64

  /// Every change after `revision` of keys that begin with `prefix`: ordered, each once, a revision never split.
  ///
  /// The stream throws a `StoreError`: `.compacted` when the revision, or a watcher slower than compaction, fell behind
  /// what is kept; `.futureRevision`; `.closed`. Cancelling the consuming task ends it. Nothing is buffered for a
  /// watcher: it pulls from recent changes in memory, behind these from the log, so a slow one holds up nobody.
  func watch(prefix: String, after revision: Int64) -> AsyncThrowingStream<StoreWatchBatch, any Error>

  /// Forgets the history before `revision`: that one can still be listed and watched after, older ones cannot.
  func compact(before revision: Int64) async throws(StoreError)

  /// The newest revision that is visible to everyone.
  var currentRevision: Int64 { get async }

  /// The oldest revision that can still be listed and watched after.
  var oldestRevision: Int64 { get async }

  /// Up to `limit` keys whose `expires` is at or before `time`, in milliseconds since 1970.
  func expired(at time: Int64, limit: Int) async throws(StoreError) -> [StoreVersionedKey]
}

extension StateStore {
  /// Deletes up to `StoreLimits.operationsMax` objects that expired by `time` (milliseconds since 1970) in one commit
  /// and returns how many; 0 when one of them was changed meanwhile, then the next call tries again.
  package func expire(at time: Int64) async throws(StoreError) -> Int {
    let keys = try await expired(at: time, limit: StoreLimits.operationsMax)
    guard !keys.isEmpty else { return 0 }
    do {
      _ = try await commit(keys.map { .modRevision($0.key, equals: $0.modRevision) }, keys.map { .delete($0.key) })
      return keys.count
    } catch .conflict {
      return 0
    }
  }

  /// Every object under a prefix at one revision, read in pages; the caller knows that they fit in memory.
  package func listAll(prefix: String) async throws(StoreError) -> StoreList {
    var page = try await list(prefix: prefix, after: nil, limit: StoreLimits.pageItemsMax, at: nil)
    var items = page.items
    while let next = page.next {
      page = try await list(prefix: prefix, after: next, limit: StoreLimits.pageItemsMax, at: page.revision)
      items += page.items
    }
    return StoreList(items: items, revision: page.revision, next: nil)
  }
}
