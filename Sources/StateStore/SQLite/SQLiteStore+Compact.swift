import GRDB

extension SQLiteStore {
  /// Notes the new oldest revision durably, then removes what it makes superfluous in small transactions between which
  /// commits get their turn, then empties the write-ahead log.
  package func compact(before revision: Int64) async throws(StoreError) {
    do {
      let begins = try await pool.writeWithoutTransaction { db in
        let meta = try SQLiteSchema.Meta(db)
        guard revision <= meta.revision else {
          throw StoreError.futureRevision(asked: revision, current: meta.revision)
        }
        guard revision > meta.compacted else { return false }
        try db.execute(sql: "UPDATE meta SET compacted = ? WHERE id = 1", arguments: [revision])
        return true
      }
      guard begins else { return }
      hub.compacted(before: revision, dropRing: false)
      var cursor: LogPosition? = LogPosition(revision: 0, sub: 0)
      while let position = cursor {
        cursor = try await pool.writeWithoutTransaction { [options] db in
          try LogPosition.compact(db, from: position, before: revision, rows: options.compactionRows)
        }
      }
      try await pool.writeWithoutTransaction { db in
        do {
          _ = try db.checkpoint(.truncate)
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
          // A reader is at work; the next checkpoint gets the rest.
        }
      }
    } catch {
      throw closedOr(error, doing: "compacting")
    }
  }
}

/// A place in the log.
private struct LogPosition: Sendable {
  let revision: Int64
  let sub: Int64

  /// Looks at the next rows from `from` and removes those that only revisions before `before` need; answers where to go
  /// on, nil at the end. Rows go in order of revision, so a crash in between leaves no older row without its newer one.
  static func compact(_ db: Database, from: LogPosition, before: Int64, rows: Int) throws -> LogPosition? {
    let end = try Row.fetchOne(
      db,
      sql: "SELECT rev, sub FROM log WHERE (rev, sub) >= (?, ?) AND rev <= ? ORDER BY rev, sub LIMIT 1 OFFSET ?",
      arguments: [from.revision, from.sub, before, rows]
    ).map { LogPosition(revision: $0[0], sub: $0[1]) }
    let stop = end ?? LogPosition(revision: before + 1, sub: 0)
    try db.execute(
      sql: """
        DELETE FROM log WHERE (rev, sub) >= (?, ?) AND (rev, sub) < (?, ?)
          AND (op = 1 OR EXISTS (SELECT 1 FROM log AS n WHERE n.key = log.key AND n.rev > log.rev AND n.rev <= ?))
        """,
      arguments: [from.revision, from.sub, stop.revision, stop.sub, before])
    return end
  }
}
