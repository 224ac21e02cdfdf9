internal import Foundation
internal import GRDB

/// Reads records newest first, a page at a time, each page in a snapshot of its own.
///
/// The planned index leads; what the other columns rule out is read without its body, so that a page has a bound
/// whatever the filter is.
struct RecordScan: Sendable {
  /// Which index leads the way.
  enum Lead: Equatable {
    case time, errors
    case column(ReservedField, [UInt8])
  }

  struct Page: Sendable {
    var matches: [(LogPosition, IndexedRecord)] = []
    var scanned = 0
    /// The last record read, where the next page begins.
    var last: LogPosition?
    /// Nothing is left.
    var isLast = false
  }

  let query: LogQuery
  let scope: LogScope
  let lead: Lead
  private let pruning: Pruning
  private let sql: String
  private let fixed: [DatabaseValue]

  init(_ query: LogQuery, scope: LogScope) {
    self.query = query
    self.scope = scope
    pruning = Pruning(query, scope: scope)
    lead = Self.lead(pruning)
    (sql, fixed) = Self.statement(pruning, lead)
  }

  /// The rarest column that fixes one value, then errors, then time alone.
  private static func lead(_ pruning: Pruning) -> Lead {
    for field in [ReservedField.call, .pod, .function] {
      if let texts = pruning.texts[field], texts.count == 1, let text = texts.first, !text.isEmpty {
        return .column(field, text)
      }
    }
    if let levels = pruning.levels, levels & 0b1_1111 == 0 { return .errors }
    return .time
  }

  private static func statement(_ pruning: Pruning, _ lead: Lead) -> (String, [DatabaseValue]) {
    var wanted: [String] = []
    var values: [DatabaseValue] = []
    for field in Pruning.columns {
      guard let texts = pruning.texts[field] else { continue }
      if case .column(field, _) = lead { continue }
      wanted.append("\(field.rawValue) IN (\(texts.map { _ in "?" }.joined(separator: ",")))")
      values += texts.sorted { $0.lexicographicallyPrecedes($1) }.map { Data($0).databaseValue }
    }
    if let levels = pruning.levels {
      let list = RecordLevel.allCases.filter { levels & (1 << $0.rawValue) != 0 }.map { String($0.rawValue) }
      wanted.append("level IN (\(list.joined(separator: ",")))")
    }
    let body = wanted.isEmpty ? "body" : "CASE WHEN \(wanted.joined(separator: " AND ")) THEN body END"
    let index: String
    var conditions = ["time >= ?", "(time, id) < (?, ?)"]
    switch lead {
    case .time: index = "record_time"
    case .errors:
      index = "record_error"
      conditions.append("level >= 5")
    case .column(let field, let text):
      index = "record_\(field.rawValue)"
      conditions.append("\(field.rawValue) = ?")
      if field != .function { conditions.append("\(field.rawValue) <> x''") }
      values.append(Data(text).databaseValue)
    }
    // The values of `body` come first in the text; those of the conditions are put after the cursor's by `page`.
    let sql = """
      SELECT id, time, \(body) FROM record INDEXED BY \(index) WHERE \(conditions.joined(separator: " AND "))
      ORDER BY time DESC, id DESC LIMIT ?
      """
    return (sql, values)
  }

  /// Where an answer begins: at the end of the time range, or after the page before.
  var start: LogPosition {
    let end = pruning.range.until.map { LogPosition(time: $0, id: .min) } ?? LogPosition(time: .max, id: .max)
    return query.after.map { min($0, end) } ?? end
  }

  /// Reads at most `rows` records before a position, and stops after `matches` of them matched.
  func page(_ db: Database, before position: LogPosition, rows: Int, matches: Int) throws -> Page {
    var page = Page()
    if pruning.texts.values.contains(where: \.isEmpty) || pruning.levels == 0 {
      page.isLast = true
      return page
    }
    let statement = try db.cachedStatement(sql: sql)
    let cursor: [DatabaseValue] = [
      (pruning.range.since ?? .min).databaseValue, position.time.databaseValue, position.id.databaseValue,
    ]
    var arguments = fixed
    if case .column = lead, let last = arguments.popLast() { arguments += cursor + [last] } else { arguments += cursor }
    arguments.append(rows.databaseValue)
    let found = try Row.fetchCursor(statement, arguments: StatementArguments(arguments))
    while let row = try found.next() {
      page.scanned += 1
      let place = LogPosition(time: row[1], id: row[0])
      page.last = place
      let bytes = try row.withUnsafeData(atIndex: 2) { $0.map { [UInt8]($0) } }
      guard let bytes, let record = try? IndexedRecord(bytes) else { continue }
      if pruning.isExact || query.filter.matches(record) {
        page.matches.append((place, record))
        if page.matches.count == matches { return page }
      }
    }
    page.isLast = page.scanned < rows
    return page
  }
}
