internal import Foundation
internal import GRDB
internal import Synchronization

extension LogStore {
  private static let retentionRows = 1_000
  private static let vacuumPages = 512
  private static let workerDays: Int64 = 90

  /// Deletes what the policy no longer keeps, oldest first, in small transactions between which appends get their
  /// turn, and gives the space back to the volume. `now` is in nanoseconds since 1970.
  package func retain(policy: LogRetention, now: Int64) async throws -> LogRetentionReport {
    var report = LogRetentionReport()
    let before = file.diskBytes()
    if let maxAge = policy.maxAge {
      let limit = now - Self.nanoseconds(maxAge)
      while true {
        let deleted = try await deleteOldest(before: limit)
        report.deletedByAge += deleted
        if deleted == 0 { break }
      }
    }
    if let maxBytes = policy.maxBytes {
      while try await usedBytes() > maxBytes {
        let deleted = try await deleteOldest(before: .max)
        report.deletedByBytes += deleted
        if deleted == 0 { break }
      }
    }
    try await forgetWorkers(now: now)
    try await giveBack()
    report.freedBytes = max(0, before - file.diskBytes())
    return report
  }

  private static func nanoseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max / 2 : whole + attoseconds / 1_000_000_000
  }

  /// Deletes the oldest records before a moment, a bounded number, and answers how many.
  private func deleteOldest(before limit: Int64) async throws -> Int {
    try Task.checkCancellation()
    let change = try await pool.writeWithoutTransaction { db in
      var change = Totals()
      try db.inTransaction(.immediate) {
        let rows = try Row.fetchAll(
          db,
          sql: """
            SELECT id, length(body) FROM record INDEXED BY record_time WHERE time < ? ORDER BY time, id LIMIT ?
            """, arguments: [limit, Self.retentionRows])
        let delete = try db.cachedStatement(sql: "DELETE FROM record WHERE id = ?")
        for row in rows {
          try delete.execute(arguments: [row[0] as Int64])
          change.records -= 1
          change.recordBytes -= row[1] as Int64
        }
        try change.add(to: db)
        return .commit
      }
      return change
    }
    totals.withLock { $0 += change }
    return Int(-change.records)
  }

  /// Bytes of the database's pages in use.
  private func usedBytes() async throws -> Int64 {
    try await pool.read { db in
      let pages = try Int64.fetchOne(db, sql: "PRAGMA page_count") ?? 0
      let free = try Int64.fetchOne(db, sql: "PRAGMA freelist_count") ?? 0
      return (pages - free) * (try Int64.fetchOne(db, sql: "PRAGMA page_size") ?? 4096)
    }
  }

  private func forgetWorkers(now: Int64) async throws {
    let limit = now / 1_000_000_000 - Self.workerDays * 86_400
    try await pool.writeWithoutTransaction { db in
      try db.execute(sql: "DELETE FROM worker WHERE seen < ?", arguments: [limit])
    }
  }

  /// Shrinks the database by its free pages, some at a time, then the write-ahead log.
  private func giveBack() async throws {
    while true {
      try Task.checkCancellation()
      let rest = try await pool.writeWithoutTransaction { db -> Int64 in
        let before = try Int64.fetchOne(db, sql: "PRAGMA freelist_count") ?? 0
        if before == 0 { return 0 }
        // Each step of the statement frees one page.
        _ = try Row.fetchAll(db, sql: "PRAGMA incremental_vacuum(\(Self.vacuumPages))")
        let after = try Int64.fetchOne(db, sql: "PRAGMA freelist_count") ?? 0
        return after < before ? after : 0
      }
      if rest == 0 { break }
    }
    try await pool.writeWithoutTransaction { db in
      // A reader in the way makes this busy; the next round will do it.
      _ = try? db.checkpoint(.truncate)
    }
  }
}
