/// A parsed query: what to find, when, how many, and what to make of it. Answers come newest first.
package struct LogQuery: Sendable, Equatable {
  /// Which records match.
  package var filter: LogFilter
  /// When.
  package var range: TimeRange
  /// Records, or statistics rows, at most; nil for no limit but the engine's own bounds.
  package var limit: Int?
  /// The fields each record is cut down to, `| fields`; nil for whole records, byte for byte.
  package var fields: [LogField]?
  /// The statistics to make instead of records, `| stats`.
  package var stats: LogStats?
  /// The fields records are ordered by, `| sort` without statistics; empty for newest first.
  package var order: [Order] = []
  /// Only records that come after this one in the answer: the position of the last record of the page before.
  package var after: LogPosition?

  /// A field to order records by: numbers before texts, records without it last.
  package struct Order: Sendable, Equatable {
    /// The field.
    package var field: LogField
    /// The largest first.
    package var isDescending: Bool
  }

  /// A query of its parts.
  package init(
    filter: LogFilter = .everything, range: TimeRange = TimeRange(), limit: Int? = nil, fields: [LogField]? = nil,
    stats: LogStats? = nil, after: LogPosition? = nil
  ) {
    self.filter = filter
    self.range = range
    self.limit = limit
    self.fields = fields
    self.stats = stats
    self.after = after
  }

  /// Bytes of a query's text, at most.
  package static let bytesMaximum = QueryParser.bytesMaximum

  /// Reads a query of at most `bytesMaximum` (`docs/log-query.md` has the grammar). `stats` is the text of a statistics pipe
  /// given beside the query, as `apus logs --stats` does.
  package static func parse(_ text: String, stats: String? = nil) throws(LogQueryError) -> LogQuery {
    var parser = try QueryParser(text)
    var query = try parser.query()
    if let stats {
      guard query.stats == nil else {
        throw LogQueryError(
          column: 1, message: "the query has a stats pipe and statistics were asked for beside it",
          hint: "keep one of the two")
      }
      var parser = try QueryParser(stats)
      try parser.statsAlone(into: &query)
    }
    return query
  }

  /// Whether a record's bytes match, whatever the limit; false for bytes that are no record. Pure: this is the meaning
  /// the engine must agree with.
  package func matches(_ bytes: [UInt8], scope: LogScope) -> Bool {
    guard let record = try? IndexedRecord(bytes) else { return false }
    return matches(record, scope: scope)
  }

  /// Whether a decoded record matches, whatever the limit.
  package func matches(_ record: IndexedRecord, scope: LogScope) -> Bool {
    range.contains(record.time) && scope.admits(record) && filter.matches(record)
  }
}

/// What a reader may see.
package struct LogScope: Sendable, Equatable {
  /// The namespaces; nil for all.
  package var namespaces: [String]?

  /// A scope; nil for all namespaces.
  package init(namespaces: [String]?) { self.namespaces = namespaces }

  /// Everything.
  package static let all = LogScope(namespaces: nil)

  func admits(_ record: IndexedRecord) -> Bool {
    guard let namespaces else { return true }
    return namespaces.contains(record.text(.namespace))
  }
}

/// Where a record stands in the order of answers.
package struct LogPosition: Sendable, Hashable, Comparable {
  /// Nanoseconds since 1970.
  package var time: Int64
  /// The record's number in its store, rising with arrival.
  package var id: Int64

  /// A position.
  package init(time: Int64, id: Int64) {
    self.time = time
    self.id = id
  }

  /// Orders by time, then by arrival.
  package static func < (left: LogPosition, right: LogPosition) -> Bool {
    (left.time, left.id) < (right.time, right.id)
  }
}
