import GRDB

/// The questions the store asks its tables; each runs in one short transaction.
enum SQLiteReads {
  /// Rows of the log one page of history goes through.
  private static let historyRows = 512
  /// A page of history ends once it holds this many bytes: 4 MiB.
  private static let historyBytesMax = 4 << 20

  static func object(_ key: String, _ db: Database) throws -> StoredObject? {
    let statement = try db.cachedStatement(
      sql: "SELECT key, value, create_rev, mod_rev, version, lease FROM kv WHERE key = ?")
    let rows = try Row.fetchCursor(statement, arguments: [key])
    return try rows.next().map { try StoredObject($0) }
  }

  /// A page of keys in `range` at `revision`, the newest when nil.
  static func list(_ range: Range<String>, limit: Int, at asked: Int64?, _ db: Database) throws -> StoreList {
    let meta = try SQLiteSchema.Meta(db)
    let revision = asked ?? meta.revision
    guard revision <= meta.revision else {
      throw StoreError.futureRevision(asked: revision, current: meta.revision)
    }
    guard revision >= meta.compacted else { throw StoreError.compacted(oldest: meta.compacted) }
    let rows: RowCursor
    if revision == meta.revision {
      let statement = try db.cachedStatement(
        sql: """
          SELECT key, value, create_rev, mod_rev, version, lease FROM kv WHERE key >= ? AND key < ? ORDER BY key LIMIT ?
          """)
      rows = try Row.fetchCursor(statement, arguments: [range.lowerBound, range.upperBound, limit + 1])
    } else {
      let statement = try db.cachedStatement(
        sql: """
          SELECT key, value, create_rev, rev, version, lease FROM log INDEXED BY log_key
          WHERE key >= ? AND key < ? AND rev <= ? AND op = 0
            AND rev = (SELECT MAX(n.rev) FROM log AS n WHERE n.key = log.key AND n.rev <= ?)
          ORDER BY key LIMIT ?
          """)
      rows = try Row.fetchCursor(
        statement, arguments: [range.lowerBound, range.upperBound, revision, revision, limit + 1])
    }
    var page = PageBuilder(limit: limit)
    while let row = try rows.next() {
      guard page.add(try StoredObject(row)) else { break }
    }
    return page.list(at: revision)
  }

  /// The events after `revision` up to `head`, in whole revisions, a bounded number of them.
  static func history(
    _ range: Range<String>, after revision: Int64, head: Int64, _ db: Database
  ) throws -> WatchHistoryPage {
    let meta = try SQLiteSchema.Meta(db)
    guard revision >= meta.compacted else { throw StoreError.compacted(oldest: meta.compacted) }
    let statement = try db.cachedStatement(
      sql: """
        SELECT l.rev, l.op, l.key, l.value, l.create_rev, l.rev, l.version, l.lease,
          p.key, p.value, p.create_rev, p.rev, p.version, p.lease
        FROM log AS l LEFT JOIN log AS p ON p.key = l.key AND p.rev = l.prev_rev AND l.prev_rev > 0
        WHERE l.rev > ? AND l.rev <= ? AND l.key >= ? AND l.key < ?
        ORDER BY l.rev, l.sub LIMIT ?
        """)
    let rows = try Row.fetchCursor(
      statement, arguments: [revision, head, range.lowerBound, range.upperBound, historyRows])
    var batches: [StoreWatchBatch] = []
    var current: [StoreEvent] = []
    var seen = 0
    var bytes = 0
    while let row = try rows.next() {
      let event = try StoreEvent(row)
      if let last = current.last, last.revision != event.revision {
        batches.append(StoreWatchBatch(revision: last.revision, events: current))
        current = []
        if bytes > historyBytesMax { return WatchHistoryPage(batches: batches, through: last.revision) }
      }
      current.append(event)
      seen += 1
      bytes += event.weight
    }
    // A full page may have cut its last revision; it holds at least one whole one before that.
    if seen == historyRows, let last = batches.last {
      return WatchHistoryPage(batches: batches, through: last.revision)
    }
    if let last = current.last { batches.append(StoreWatchBatch(revision: last.revision, events: current)) }
    return WatchHistoryPage(batches: batches, through: head)
  }

  static func expired(at time: Int64, limit: Int, _ db: Database) throws -> [StoreVersionedKey] {
    let statement = try db.cachedStatement(
      sql: "SELECT key, mod_rev FROM kv WHERE lease IS NOT NULL AND lease <= ? ORDER BY lease LIMIT ?")
    return try Row.fetchAll(statement, arguments: [time, limit]).map {
      StoreVersionedKey(key: $0[0], modRevision: $0[1])
    }
  }
}

extension StoreEvent {
  /// Reads a row of the history question: rev, op, the six columns after, the six columns before.
  fileprivate init(_ row: Row) throws {
    let revision: Int64 = row[0]
    let isPut = row[1] == SQLiteSchema.Operation.put.rawValue
    let hadPrevious = !row.hasNull(atIndex: 8)
    self.init(
      key: row[2], revision: revision, object: isPut ? try StoredObject(row, at: 2) : nil,
      previous: hadPrevious ? try StoredObject(row, at: 8) : nil)
  }
}
