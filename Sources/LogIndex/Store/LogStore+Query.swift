internal import Synchronization

extension LogStore {
  /// The records that match, newest first, read as they are asked for: whoever stops asking stops the work. The last
  /// batch says when the bounds cut the answer. A statistics query answers nothing here.
  package func query(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) -> AsyncThrowingStream<LogBatch, any Error> {
    let run = QueryRun(
      store: self, query: bounded(query), scope: scope, limit: query.stats == nil ? query.limit : 0, bounds: bounds)
    let projection = query.fields.map { LogProjection(fields: $0) }
    return AsyncThrowingStream {
      guard let step = try await run.next() else { return nil }
      let entries = step.matches.map { position, bytes in
        LogEntry(
          position: position, bytes: projection.flatMap { cut in (try? IndexedRecord(bytes)).map(cut.apply) } ?? bytes)
      }
      return LogBatch(entries: entries, scanned: step.scanned, truncated: step.truncated)
    }
  }

  /// The statistics of a query with a stats pipe; without one, no rows.
  package func stats(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) async throws -> LogStatResult {
    guard let stats = query.stats else { return LogStatResult(columns: [], rows: [], scanned: 0) }
    let query = bounded(query)
    let started = ContinuousClock.now
    let probes = BloomProbes(query.filter)
    var result = LogStatResult(columns: stats.columns, rows: [], scanned: 0)
    let gathered = GatheredStats(stats)
    for source in QuerySource.planned(view(), query, scope: scope) {
      try Task.checkCancellation()
      if result.scanned >= bounds.recordsMaximum {
        result.truncated = .records
        break
      }
      if ContinuousClock.now - started >= bounds.timeMaximum {
        result.truncated = .time
        break
      }
      let budget = bounds.recordsMaximum - result.scanned
      result.scanned += try await QueryRun.detached { [self] in
        gathered.table.withLock { add(source, query, stats, scope, probes, budget: budget, to: &$0) }
      }
    }
    if result.truncated == nil, result.scanned >= bounds.recordsMaximum { result.truncated = .records }
    gathered.table.withLock { table in
      if table.isFull { result.truncated = .groups }
      result.rows = table.rows(limit: query.limit)
    }
    return result
  }

  /// Adds one part of the store to statistics, and answers how many records had to be looked at.
  private func add(
    _ source: QuerySource, _ query: LogQuery, _ stats: LogStats, _ scope: LogScope, _ probes: BloomProbes, budget: Int,
    to table: inout StatsTable
  ) -> Int {
    switch source.body {
    case .memtable(let memtable):
      let found = MemtableSearch(memtable, query, scope: scope).run(after: query.after, matches: .max, budget: budget)
      for (_, row) in found.rows {
        if let record = try? IndexedRecord(memtable.bytes(row)) { table.add(record) }
      }
      return found.scanned
    case .block(let entry):
      guard mayHold(entry, probes), let block = block(entry) else { return 0 }
      do throws(BlockFault) {
        let (found, looked) = try search(block, query, scope: scope, budget: budget)
        try BlockStats(try BlockSearch(block), stats).add(found, to: &table)
        return min(looked, budget)
      } catch {
        quarantine(entry, error)
        return 0
      }
    }
  }
}

/// Statistics that are gathered part by part, each on a thread of its own.
private final class GatheredStats: Sendable {
  let table: Mutex<StatsTable>

  init(_ stats: LogStats) { table = Mutex(StatsTable(stats)) }
}
