internal import Foundation
internal import GRDB
internal import Synchronization

extension LogStore {
  /// Appends lines numbered from `firstSequence` and answers the highest sequence of this worker that is durable; all
  /// lines up to it need not be sent again. Appends are written in the order of the calls.
  ///
  /// Lines whose sequence was seen before are dropped, so that sending again is harmless; therefore a worker sends its
  /// batches in order, one after another, and one whose numbering starts anew takes a new name. A gap before
  /// `firstSequence` is taken as lines the worker gave up, and counted. A line that is no record, or longer than
  /// `IndexedRecord.maximumBytes`, is counted as rejected and uses up its sequence.
  package func append(
    worker: String, firstSequence: UInt64, records lines: [[UInt8]]
  ) async throws(LogIndexError) -> UInt64 {
    guard firstSequence <= UInt64(Int64.max) - UInt64(lines.count) else {
      throw .storage("sequence \(firstSequence) is beyond 2^63")
    }
    let bytes = lines.reduce(0) { $0 + $1.count }
    let result = await withCheckedContinuation { continuation in
      let append = PendingAppend(worker: worker, firstSequence: firstSequence, lines: lines, bytes: bytes) {
        continuation.resume(returning: $0)
      }
      switch queue.withLock({ $0.admit(append) }) {
      case .wake: wakeWriter()
      case .queued: break
      case .busy: continuation.resume(returning: .failure(.busy))
      case .closed: continuation.resume(returning: .failure(.closed))
      }
    }
    return try result.get()
  }

  private func wakeWriter() {
    pool.asyncWriteWithoutTransaction { [self] db in
      // One transaction a turn, so that retention gets its turns in between.
      if writeTurn(db) { wakeWriter() }
    }
  }

  /// Commits the next appends; false when nothing waits.
  func writeTurn(_ db: Database) -> Bool {
    let appends = queue.withLock { $0.next(recordsMaximum: options.commitRecordsMaximum) }
    if appends.isEmpty { return false }
    if let free = file.freeBytes(), free < options.minimumFreeBytes {
      fail(appends, .storageFull("its volume has \(free) bytes free and keeps \(options.minimumFreeBytes)"))
      return true
    }
    var round = AppendRound()
    do {
      try db.inTransaction(.immediate) {
        try round.write(appends, to: db)
        try round.totals.add(to: db)
        return .commit
      }
    } catch {
      fail(appends, failure(error))
      return true
    }
    totals.withLock { $0 += round.totals }
    for (append, acked) in zip(appends, round.acked) { append.done(.success(acked)) }
    hub.publish(round.written)
    return true
  }

  private func fail(_ appends: [PendingAppend], _ error: LogIndexError) {
    for append in appends { append.done(.failure(error)) }
  }

  /// What an error of the database means to who appends; damage is noted for the next start.
  private func failure(_ error: any Error) -> LogIndexError {
    guard let error = error as? DatabaseError else { return .storage("\(error)") }
    if StoreFile.isDamage(error) { file.markSuspect() }
    switch error.resultCode {
    case .SQLITE_FULL: return .storageFull("the volume has no space left")
    case .SQLITE_IOERR: return .storageFull("the volume cannot be written (\(error.extendedResultCode))")
    default: return .storage(error.message ?? "\(error.resultCode)")
    }
  }
}

/// The records one transaction writes, and what it acknowledges when it is committed.
struct AppendRound {
  private(set) var totals = Totals()
  /// What each append is answered, in their order.
  private(set) var acked: [UInt64] = []
  private(set) var written: [TailRecord] = []

  /// Writes appends in the order of their sequences, so that two of one worker that overtook each other on their way
  /// here lose nothing.
  mutating func write(_ appends: [PendingAppend], to db: Database) throws {
    acked = Array(repeating: 0, count: appends.count)
    for index in Self.order(appends) { acked[index] = try write(appends[index], to: db) }
  }

  static func order(_ appends: [PendingAppend]) -> [Int] {
    appends.indices.sorted { (appends[$0].firstSequence, $0) < (appends[$1].firstSequence, $1) }
  }

  private mutating func write(_ append: PendingAppend, to db: Database) throws -> UInt64 {
    let select = try db.cachedStatement(sql: "SELECT acked FROM worker WHERE name = ?")
    let before = try Int64.fetchOne(select, arguments: [append.worker]).map(UInt64.init)
    guard !append.lines.isEmpty, append.lastSequence > before ?? 0 || before == nil else { return before ?? 0 }
    var first = 0
    if let before {
      if append.firstSequence <= before { first = Int(before - append.firstSequence) + 1 }
      if append.firstSequence > before + 1 { totals.skipped += Int64(append.firstSequence - before - 1) }
    }
    let insert = try db.cachedStatement(
      sql: """
        INSERT INTO record (time, level, namespace, function, stream, call, pod, node, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """)
    for line in append.lines[first...] {
      guard let record = try? IndexedRecord(line) else {
        totals.rejected += 1
        continue
      }
      try self.insert(record, insert, db)
    }
    let mark = try db.cachedStatement(
      sql: """
        INSERT INTO worker (name, acked, seen) VALUES (?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET acked = excluded.acked, seen = excluded.seen
        """)
    try mark.execute(
      arguments: [append.worker, Int64(append.lastSequence), Int64(Date().timeIntervalSince1970)])
    return append.lastSequence
  }

  private mutating func insert(_ record: IndexedRecord, _ statement: Statement, _ db: Database) throws {
    var arguments: [(any DatabaseValueConvertible)?] = [record.time, Int64(record.level?.rawValue ?? 0)]
    for column in Pruning.columns { arguments.append(Data(record.reservedBytes(column))) }
    arguments.append(Data(record.bytes))
    statement.setUncheckedArguments(StatementArguments(arguments))
    try statement.execute()
    totals.records += 1
    totals.recordBytes += Int64(record.bytes.count)
    written.append(TailRecord(id: db.lastInsertedRowID, record: record))
  }
}
