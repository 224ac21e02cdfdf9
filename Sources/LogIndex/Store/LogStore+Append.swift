internal import Foundation
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
    try await append(worker: worker, firstSequence: firstSequence, lines: RecordLines(lines))
  }

  /// The same of lines in one piece.
  package func append(
    worker: String, firstSequence: UInt64, lines: RecordLines
  ) async throws(LogIndexError) -> UInt64 {
    guard firstSequence <= UInt64(Int64.max) - UInt64(lines.count) else {
      throw .storage("sequence \(firstSequence) is beyond 2^63")
    }
    let bytes = lines.bytes.count
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
    // One frame a turn: what arrives while one is made durable goes into the next together.
    writing.async { [self] in if writeTurn() { wakeWriter() } }
  }

  /// Commits the next appends; false when nothing waits.
  func writeTurn() -> Bool {
    let appends = queue.withLock { $0.next(recordsMaximum: options.commitRecordsMaximum) }
    if appends.isEmpty { return false }
    if let refusal = refusal() {
      fail(appends, refusal)
      return true
    }
    do throws(LogIndexError) {
      let (acked, rows, table, first) = try writer.withLock { writer throws(LogIndexError) in
        try commit(appends, &writer)
      }
      for (append, acked) in zip(appends, acked) { append.done(.success(acked)) }
      if rows > 0 { hub.publish(table, rows: first..<(first + rows)) }
    } catch {
      fail(appends, error)
    }
    return true
  }

  /// Why nothing can be taken now.
  private func refusal() -> LogIndexError? {
    if let free = file.freeBytes(), free < options.minimumFreeBytes {
      return .storageFull("its volume has \(free) bytes free and keeps \(options.minimumFreeBytes)")
    }
    let (waiting, tables, why) = state.withLock { ($0.waiting.count, $0.memtables.count, $0.sealFault) }
    if waiting > 0 { retrySeals() }
    // The fault stands until a seal succeeds: what is being tried again counts too.
    guard let why, tables > options.sealsMaximum else { return nil }
    return .storageFull(why)
  }

  /// Makes a round durable and lets readers see it.
  private func commit(
    _ appends: [PendingAppend], _ writer: inout StoreWriter
  ) throws(LogIndexError) -> ([UInt64], Int, Memtable, Int) {
    if let fault = writer.fault { throw .storage(fault) }
    var round = AppendRound(workers: writer.workers, scanner: writer.scanner)
    round.take(appends)
    if round.changed.isEmpty { return (round.acked, 0, writer.table, 0) }
    do {
      if !writer.table.hasRoom(rows: round.rows.count, bytes: round.rowBytes) {
        try rotate(&writer, rows: round.rows.count, bytes: round.rowBytes)
      }
      try writer.log.append(round.payload)
    } catch {
      throw failure(error, &writer)
    }
    let first = writer.table.written.rows
    round.payload.withUnsafeBufferPointer { payload in
      for row in round.rows {
        writer.table.append(
          UnsafeBufferPointer(rebasing: payload[row.start..<(row.start + row.length)]), time: row.time,
          level: row.level, hasEscape: row.hasEscape)
      }
    }
    writer.table.publish()
    writer.workers = round.workers
    writer.totals += round.totals
    for worker in round.changed { writer.fresh[worker] = round.workers[worker] }
    let (totals, bytes, hasRows) = (writer.totals, writer.log.length, !round.rows.isEmpty)
    watchIdle()
    state.withLock { state in
      if state.begun == nil, hasRows { state.begun = .now }
      if hasRows { state.touched = .now }
      state.totals = totals
      state.walBytes = bytes
    }
    return (round.acked, round.rows.count, writer.table, first)
  }

  private func fail(_ appends: [PendingAppend], _ error: LogIndexError) {
    for append in appends { append.done(.failure(error)) }
  }

  private func failure(_ error: any Error, _ writer: inout StoreWriter) -> LogIndexError {
    guard let fault = error as? FileFault else { return .storage("\(error)") }
    if fault.isFull { return .storageFull("the volume has no space left") }
    if fault.doing == "shortening a file" {
      writer.fault = "its write-ahead log is in an unknown state (\(fault)); start the process again"
    }
    return .storage("\(fault)")
  }
}
