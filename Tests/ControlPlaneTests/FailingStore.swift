import ClusterTestSupport
import StateStore
import Synchronization

/// A store that refuses as many writes as the test says, or lets the test do something right before one.
final class FailingStore: StateStore {
  private let store: MemoryStore
  /// Writes still to be refused.
  let fails = Mutex(0)
  /// Writes that were refused.
  let refused = Mutex(0)
  /// Called before each write with the keys it writes.
  let before = Mutex<(@Sendable ([String]) async -> Void)?>(nil)

  init(_ store: MemoryStore) { self.store = store }

  func get(_ key: String) async throws(StoreError) -> StoredObject? { try await store.get(key) }

  func list(prefix: String, after: String?, limit: Int, at revision: Int64?) async throws(StoreError) -> StoreList {
    try await store.list(prefix: prefix, after: after, limit: limit, at: revision)
  }

  func commit(_ compares: [StoreCompare], _ operations: [StoreOperation]) async throws(StoreError) -> Int64 {
    let isFull = fails.withLock { left in
      defer { left = max(0, left - 1) }
      return left > 0
    }
    if isFull {
      refused.withLock { $0 += 1 }
      throw .full(path: "/full")
    }
    await before.withLock { $0 }?(operations.map(\.key))
    return try await store.commit(compares, operations)
  }

  func watch(prefix: String, after revision: Int64) -> AsyncThrowingStream<StoreWatchBatch, any Error> {
    store.watch(prefix: prefix, after: revision)
  }

  func compact(before revision: Int64) async throws(StoreError) { try await store.compact(before: revision) }

  var currentRevision: Int64 { get async { await store.currentRevision } }
  var oldestRevision: Int64 { get async { await store.oldestRevision } }

  func expired(at time: Int64, limit: Int) async throws(StoreError) -> [StoreVersionedKey] {
    try await store.expired(at: time, limit: limit)
  }
}
