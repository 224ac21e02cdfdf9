import Dispatch
import GRDB
import Synchronization

/// The durable store: one SQLite file in WAL mode with synchronous=FULL, one writer that commits in groups.
///
/// Concurrent commits share a transaction and its fsync; each gets its own revision inside it. Reads run on their own
/// connections in short transactions. Watchers are served from a ring in memory right after COMMIT, behind it from
/// the log. A failed fsync stops all writing until the store is opened again, because nobody knows what is on disk.
package final class SQLiteStore: StateStore {
  /// Where the database file lies; `-wal`, `-shm` and `.lock` stand beside it.
  package let path: String
  /// How often this file has been opened, this time included; durable before `open` returns.
  package let bootCount: Int64
  let options: SQLiteOptions
  let pool: DatabasePool
  let hub: WatchHub
  private let lock: StoreLock
  private let queue = Mutex(CommitQueue())

  init(path: String, options: SQLiteOptions, pool: DatabasePool, lock: StoreLock, meta: SQLiteSchema.Meta) {
    self.path = path
    self.options = options
    self.pool = pool
    self.lock = lock
    bootCount = meta.boots
    hub = WatchHub(
      head: meta.revision, oldest: meta.compacted, eventsMax: options.ringEvents, bytesMax: options.ringBytes)
  }

  /// The newest revision.
  package var currentRevision: Int64 { get async { hub.head } }
  /// The oldest revision that can still be watched after.
  package var oldestRevision: Int64 { get async { hub.oldest } }

  /// The object under the key, or nil.
  package func get(_ key: String) async throws(StoreError) -> StoredObject? {
    try StoreLimits.check(key: key)
    return try await read { db in try SQLiteReads.object(key, db) }
  }

  /// One page of objects under a prefix.
  package func list(
    prefix: String, after: String?, limit: Int, at revision: Int64?
  ) async throws(StoreError) -> StoreList {
    let range = try StoreLimits.range(prefix: prefix, after: after)
    let limit = max(1, min(limit, StoreLimits.pageItemsMax))
    return try await read { db in try SQLiteReads.list(range, limit: limit, at: revision, db) }
  }

  /// Applies all operations in one revision if every compare holds.
  package func commit(
    _ compares: [StoreCompare], _ operations: [StoreOperation]
  ) async throws(StoreError) -> Int64 {
    let bytes = try StoreLimits.check(compares, operations)
    let outcome = await withCheckedContinuation { (reply: CheckedContinuation<Result<Int64, StoreError>, Never>) in
      let request = CommitRequest(compares: compares, operations: operations, bytes: bytes, reply: reply)
      switch queue.withLock({ $0.enqueue(request) }) {
      case .queued: break
      case .startWriter: startWriter()
      case .refused(let error): reply.resume(returning: .failure(error))
      }
    }
    return try outcome.get()
  }

  /// Every change after a revision, in order.
  package func watch(prefix: String, after revision: Int64) -> AsyncThrowingStream<StoreWatchBatch, any Error> {
    Watcher.stream(hub: hub, history: self, prefix: prefix, after: revision)
  }

  /// Keys whose time is over.
  package func expired(at time: Int64, limit: Int) async throws(StoreError) -> [StoreVersionedKey] {
    try await read { db in try SQLiteReads.expired(at: time, limit: limit, db) }
  }

  /// Refuses new commits, finishes the waiting ones, ends watches with `.closed` and closes the file.
  package func close() async {
    queue.withLock { $0.refuse(.closed) }
    await withCheckedContinuation { continuation in
      if !queue.withLock({ $0.whenIdle(continuation) }) { continuation.resume() }
    }
    hub.close()
    await withCheckedContinuation { continuation in
      // Closing waits for running reads, which must not block a thread of the cooperative pool.
      DispatchQueue.global().async { [pool, lock] in
        try? pool.close()  // what cannot be closed now is closed with the last reference
        lock.release()
        continuation.resume()
      }
    }
  }

  func read<Value: Sendable>(
    _ question: @escaping @Sendable (Database) throws -> Value
  ) async throws(StoreError) -> Value {
    do {
      return try await pool.read(question)
    } catch {
      throw closedOr(error, doing: "reading")
    }
  }

  func closedOr(_ error: any Error, doing: String) -> StoreError {
    if let error = error as? DatabaseError, error.resultCode == .SQLITE_MISUSE { return .closed }
    return StoreError(error, path: path, doing: doing)
  }

  private func startWriter() {
    pool.asyncWriteWithoutTransaction { [self] db in writeGroup(db) }
  }

  /// Runs on the writer's queue: one group, one transaction, then the answers.
  private func writeGroup(_ db: Database) {
    let group = queue.withLock { $0.nextGroup() }
    var transaction = GroupTransaction(db, head: hub.head)
    var answers: [Result<Int64, StoreError>] = []
    do {
      try db.inTransaction(.immediate) {
        for request in group { answers.append(try transaction.apply(request)) }
        if transaction.batches.isEmpty { return .rollback }
        try transaction.finish()
        return .commit
      }
      hub.publish(transaction.batches)()
    } catch {
      let failure = StoreError(error, path: path, doing: "committing to")
      if let error = error as? DatabaseError, error.extendedResultCode == .SQLITE_IOERR_FSYNC {
        queue.withLock { $0.refuse(.backend("an earlier fsync of \(path) failed; check the disk, then restart apus")) }
      }
      answers = group.map { _ in .failure(failure) }
    }
    for (request, answer) in zip(group, answers) { request.reply.resume(returning: answer) }
    switch queue.withLock({ $0.finishGroup() }) {
    case .writeOn: startWriter()
    case .idle(let waiters): for waiter in waiters { waiter.resume() }
    }
  }
}

extension SQLiteStore: WatchHistory {
  func checkWatch(after revision: Int64) async throws(StoreError) {
    try await read { db in
      // Asked of the file: a list may have shown a revision the moment before it was announced.
      let meta = try SQLiteSchema.Meta(db)
      guard revision <= meta.revision else {
        throw StoreError.futureRevision(asked: revision, current: meta.revision)
      }
      guard revision >= meta.compacted else { throw StoreError.compacted(oldest: meta.compacted) }
    }
  }

  func history(prefix: String, after revision: Int64, head: Int64) async throws(StoreError) -> WatchHistoryPage {
    let range = try StoreLimits.range(prefix: prefix, after: nil)
    return try await read { db in try SQLiteReads.history(range, after: revision, head: head, db) }
  }
}
