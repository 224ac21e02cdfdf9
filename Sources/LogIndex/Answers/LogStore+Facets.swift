/// The most frequent values of one field.
package struct LogFacet: Sendable, Equatable {
  /// A value and how many records have it.
  package struct Value: Sendable, Equatable {
    /// The value as text.
    package var text: String
    /// The records.
    package var count: Int
  }

  /// The field.
  package var field: LogField
  /// The most frequent first; of those alike in the order of their texts.
  package var values: [Value]
  /// How many values there are besides.
  package var others: Int
  /// The records without the field.
  package var absent: Int
}

/// The facets of a query's records.
package struct LogFacets: Sendable, Equatable {
  /// One for each field that was asked for, in that order.
  package var facets: [LogFacet]
  /// The records read.
  package var scanned: Int
  /// Why the answer is not of all records, when it is not.
  package var truncated: LogTruncation?
  /// Of a cut answer: it is that of the records from this moment on; nanoseconds since 1970.
  package var completeSince: Int64?
}

/// How many records there are in spans of time, by level.
package struct LogHistogram: Sendable, Equatable {
  /// One level's records.
  package struct Series: Sendable, Equatable {
    /// The level's name, or what stands there in its place; nil for records without one.
    package var level: String?
    /// The records of each span.
    package var counts: [Int]
  }

  /// Where the first span begins, nanoseconds since 1970.
  package var start: Int64
  /// The length of a span, nanoseconds.
  package var step: Int64
  /// How many spans there are.
  package var spans: Int
  /// The least serious level first; records without a level before all.
  package var series: [Series]
  /// The records read.
  package var scanned: Int
  /// Why the answer is not of all records, when it is not.
  package var truncated: LogTruncation?
  /// Of a cut answer: it is that of the records from this moment on; nanoseconds since 1970.
  package var completeSince: Int64?
}

extension LogStore {
  /// Fields that facets are made of at once, at most.
  package static let facetsMaximum = 16
  private static let steps: [Int64] = [
    1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 10_800_000,
    21_600_000, 43_200_000, 86_400_000, 604_800_000, 2_592_000_000,
  ].map { $0 * 1_000_000 }

  /// The most frequent values of fields among the records that match, `top` of each; one reading for all fields, at most
  /// `facetsMaximum`. Pipes of the query have no meaning here.
  package func facets(
    _ query: LogQuery, fields: [LogField], top: Int, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) async throws -> LogFacets {
    let fields = Array(fields.prefix(Self.facetsMaximum))
    let all = fields.map { field in
      var stats = LogStats(functions: [LogStats.Function(kind: .count)])
      stats.keys = [field]
      stats.order = [LogStats.Order(column: 1, isDescending: true)]
      return stats
    }
    let gathered = try await gather(query, all, scope: scope, bounds: bounds)
    var result = LogFacets(
      facets: [], scanned: gathered.scanned, truncated: gathered.cut?.reason,
      completeSince: gathered.cut.map { $0.time &+ 1 })
    let tables = gathered.withTables { tables in tables.map { ($0.rows(limit: nil), $0.isFull) } }
    for (field, (rows, isFull)) in zip(fields, tables) {
      if isFull { result.truncated = .groups }
      var facet = LogFacet(field: field, values: [], others: 0, absent: 0)
      for row in rows {
        guard case .count(let count) = row.values[1] else { continue }
        switch row.values[0] {
        case .text(let text) where facet.values.count < top:
          facet.values.append(LogFacet.Value(text: text, count: count))
        case .text: facet.others += 1
        default: facet.absent += count
        }
      }
      result.facets.append(facet)
    }
    return result
  }

  /// How many of the records that match there are over time, by level: at most `spans` spans over the query's time, or
  /// over all that the store has. Spans of whole minutes are answered without reading records where the query allows.
  package func histogram(
    _ query: LogQuery, spans: Int, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) async throws -> LogHistogram {
    let figures = try await figures()
    let range = query.range.intersection(Pruning(query.filter).range)
    let low = range.since ?? figures.oldest ?? 0
    let high = max(low, min(range.until.map { $0 &- 1 } ?? .max, max(figures.newest ?? low, low)))
    let spans = max(1, spans)
    // One more begins before the first record.
    let step = Self.steps.first { (high - low) / $0 + 2 <= Int64(spans) } ?? (high - low) / Int64(spans) + 1
    var stats = LogStats(functions: [LogStats.Function(kind: .count)])
    stats.keys = [.reserved(.level)]
    stats.bucket = step
    let table = StatsTable(stats)
    let start = table.bucket(low)
    let count = Int((high - start) / step) + 1
    var result = LogHistogram(start: start, step: step, spans: count, series: [], scanned: 0)
    let gathered = try await gather(query, [stats], scope: scope, bounds: bounds)
    result.scanned = gathered.scanned
    result.truncated = gathered.cut?.reason
    result.completeSince = gathered.cut.map { $0.time &+ 1 }
    var series: [String?: [Int]] = [:]
    for row in gathered.withTables({ $0[0].rows(limit: nil) }) {
      guard case .time(let time) = row.values[0], case .count(let number) = row.values[2] else { continue }
      var level: String?
      if case .text(let text) = row.values[1] { level = text }
      let place = Int((time - start) / step)
      // Records that came meanwhile may lie beyond.
      if place >= 0, place < count { series[level, default: Array(repeating: 0, count: count)][place] += number }
    }
    func rank(_ level: String?) -> (Int, String) {
      guard let level else { return (-1, "") }
      return (Int(RecordLevel(name: level.utf8)?.rawValue ?? 0), level)
    }
    result.series = series.map { LogHistogram.Series(level: $0.key, counts: $0.value) }
      .sorted { rank($0.level) < rank($1.level) }
    return result
  }
}
