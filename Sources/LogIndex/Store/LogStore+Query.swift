internal import GRDB

extension LogStore {
  /// The records that match, newest first, read as they are asked for: whoever stops asking stops the work. The last
  /// batch says when the bounds cut the answer. A statistics query answers nothing here.
  package func query(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) -> AsyncThrowingStream<LogBatch, any Error> {
    let run = QueryRun(
      pool: pool, scan: RecordScan(query, scope: scope), limit: query.stats == nil ? query.limit : 0, bounds: bounds)
    let projection = query.fields.map { LogProjection(fields: $0) }
    return AsyncThrowingStream {
      guard let step = try await run.next() else { return nil }
      let entries = step.matches.map { position, record in
        LogEntry(position: position, bytes: projection?.apply(record) ?? record.bytes)
      }
      return LogBatch(entries: entries, scanned: step.scanned, truncated: step.truncated)
    }
  }

  /// The statistics of a query with a stats pipe; without one, no rows.
  package func stats(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) async throws -> LogStatResult {
    guard let stats = query.stats else { return LogStatResult(columns: [], rows: [], scanned: 0) }
    let run = QueryRun(pool: pool, scan: RecordScan(query, scope: scope), limit: nil, bounds: bounds)
    var table = StatsTable(stats)
    var result = LogStatResult(columns: stats.columns, rows: [], scanned: 0)
    while let step = try await run.next() {
      for (_, record) in step.matches { table.add(record) }
      result.scanned += step.scanned
      result.truncated = step.truncated
    }
    if table.isFull { result.truncated = .groups }
    result.rows = table.rows(limit: query.limit)
    return result
  }
}
