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

extension LogStore {
  /// Fields that facets are made of at once, at most.
  package static let facetsMaximum = 16

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
      facets: [], scanned: gathered.scanned, truncated: gathered.gap.reason,
      completeSince: gathered.gap.completeSince)
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
}
