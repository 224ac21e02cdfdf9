package import struct Foundation.URL
internal import GRDB
internal import Synchronization

/// The records of a cluster, searchable as soon as they are acknowledged.
///
/// One writer commits what concurrent appends brought in one durable transaction after another; readers page through
/// short snapshots; live tails are served beside the writer and never hold it up.
package final class LogStore: Sendable {
  let pool: DatabasePool
  let file: StoreFile
  let options: LogIndexOptions
  let hub: TailHub
  let queue: Mutex<AppendQueue>
  let totals: Mutex<Totals>

  private init(pool: DatabasePool, file: StoreFile, options: LogIndexOptions, totals: Totals) {
    self.pool = pool
    self.file = file
    self.options = options
    self.hub = TailHub(options)
    self.queue = Mutex(
      AppendQueue(bytesMaximum: options.pendingBytesMaximum, appendsMaximum: options.pendingAppendsMaximum))
    self.totals = Mutex(totals)
  }

  /// Opens the store in a directory, which is made if need be. A damaged store, or one of another version, is set
  /// aside under a name with the time and reported to `options.notice`; a fresh one is opened in its place.
  package static func open(directory: URL, options: LogIndexOptions = LogIndexOptions()) throws -> LogStore {
    let file = StoreFile(directory: directory)
    let pool = try file.open(options)
    let totals = try pool.read { db in try Totals.read(db) }
    return LogStore(pool: pool, file: file, options: options, totals: totals)
  }

  /// Writes what waits, ends every live tail and closes the files. Appends after it throw `.closed`.
  package func close() async {
    queue.withLock { $0.close() }
    // The writer takes turns in order: when this turn comes, every append accepted before has had its own.
    await withCheckedContinuation { continuation in
      pool.asyncWriteWithoutTransaction { [self] db in
        while writeTurn(db) {}
        _ = try? db.checkpoint(.truncate)
        continuation.resume()
      }
    }
    hub.close()
    try? pool.close()
  }

  /// What the store holds and has seen.
  package func figures() async throws -> LogFigures {
    let (oldest, newest) = try await pool.read { db in
      (
        try Int64.fetchOne(db, sql: "SELECT min(time) FROM record"),
        try Int64.fetchOne(db, sql: "SELECT max(time) FROM record")
      )
    }
    let totals = totals.withLock { $0 }
    let tails = hub.figures()
    var figures = LogFigures()
    figures.records = totals.records
    figures.recordBytes = totals.recordBytes
    figures.rejected = totals.rejected
    figures.skipped = totals.skipped
    figures.tailDropped = tails.dropped
    figures.tails = tails.count
    figures.diskBytes = file.diskBytes()
    figures.oldest = oldest
    figures.newest = newest
    return figures
  }
}
