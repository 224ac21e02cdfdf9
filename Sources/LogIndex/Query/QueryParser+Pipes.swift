extension QueryParser {
  static let limitMaximum = 1_000_000
  static let columnsMaximum = 32
  static let topDefault = 10
  /// Records that `| sort` answers at most.
  static let sortMaximum = 10_000

  /// pipes = { "|" ( stats | top | uniq | sort | fields | limit ) }
  mutating func pipes(into query: inout LogQuery) throws(LogQueryError) {
    var limited = false
    while take(0x7C) {
      skipSpace()
      let start = index
      let name = identifier()
      if limited { throw error(start, "a pipe after limit", "limit is the last pipe") }
      switch name {
      case "stats", "top", "uniq":
        guard query.stats == nil, query.fields == nil, query.order.isEmpty else {
          let before = query.stats != nil ? "stats" : query.fields != nil ? "fields" : "sort"
          throw error(start, "\(name) after \(before)", "stats, top or uniq is the first pipe, and only one")
        }
        try rows(name, into: &query)
      case "sort":
        guard query.stats?.order.isEmpty ?? query.order.isEmpty else {
          throw error(
            start, "sort after \(query.limit == nil ? "sort" : "top")", "name all columns in one: sort by (a desc, b)")
        }
        try sort(into: &query)
      case "fields":
        guard query.stats == nil, query.fields == nil else {
          throw error(start, "fields after \(query.stats == nil ? "fields" : "stats")", "stats names its own columns")
        }
        query.fields = try fieldList()
      case "limit":
        let most = try limit()
        query.limit = min(most, query.limit ?? most)
        limited = true
      default:
        throw error(start, "'\(name)' is no pipe", "pipes are stats, top, uniq, sort, fields and limit")
      }
      skipSpace()
      if !isAtEnd, current != 0x7C {
        throw error(index, "unexpected text after \(name)", "start the next pipe with '|'")
      }
    }
  }

  /// A statistics text that stands beside the query, such as `count() by (function) per 5m`; `stats` before it may be
  /// left out, and sort and limit may follow.
  mutating func statsAlone(into query: inout LogQuery) throws(LogQueryError) {
    skipSpace()
    let start = index
    if identifier() != "stats" { index = start }
    query.stats = try stats()
    query.fields = nil
    skipSpace()
    if !isAtEnd, current != 0x7C {
      throw error(index, "unexpected text after the statistics", "write count(), sum(f) … by (field) per 5m")
    }
    try pipes(into: &query)
  }

  /// One of the pipes that answer rows.
  private mutating func rows(_ name: String, into query: inout LogQuery) throws(LogQueryError) {
    switch name {
    case "top":
      // top = [ number ] columns: the values that most records have
      var stats = LogStats(functions: [LogStats.Function(kind: .count)])
      skipSpace()
      query.limit = ASCII.isDigit(current) ? try limit("top") : Self.topDefault
      stats.keys = try columns()
      stats.order = [LogStats.Order(column: stats.keys.count, isDescending: true)]
      query.stats = stats
    case "uniq":
      // uniq = [ "by" ] columns: each combination of values once
      var stats = LogStats(functions: [])
      stats.keys = try columns()
      query.stats = stats
    default: query.stats = try stats()
    }
  }

  /// [ "by" ] columns
  private mutating func columns() throws(LogQueryError) -> [LogField] {
    let start = index
    if takeWord("by") {
      skipSpace()
      // A field may have the name `by`.
      if isAtEnd || current == 0x7C || current == 0x2C { index = start }
    }
    return try fieldList()
  }

  /// stats = function { "," function } [ "by" columns ] [ "per" duration ]
  private mutating func stats() throws(LogQueryError) -> LogStats {
    var stats = LogStats(functions: [try function()])
    while take(0x2C) { stats.functions.append(try function()) }
    if takeWord("by") {
      stats.keys = try fieldList()
    }
    if takeWord("per") {
      skipSpace()
      let start = index
      let text = try readText(stopsAtColon: false)
      guard let nanoseconds = Measure.nanoseconds(text.plain), nanoseconds >= 1e6, nanoseconds <= 366 * 86_400e9 else {
        throw error(start, "no duration between 1ms and 366d after per", "write per 30s, per 5m or per 1h")
      }
      stats.bucket = Int64(nanoseconds)
    }
    guard stats.functions.count + stats.keys.count <= Self.columnsMaximum else {
      throw error(index, "more than \(Self.columnsMaximum) columns", "ask for fewer at once")
    }
    return stats
  }

  /// function = name "(" [ field ] ")" [ "as" name ]
  private mutating func function() throws(LogQueryError) -> LogStats.Function {
    skipSpace()
    let start = index
    let name = identifier()
    guard take(0x28) else {
      throw error(start, "a statistics function is expected", "write count(), sum(f), min(f), max(f), avg(f) or p99(f)")
    }
    skipSpace()
    let field = current == 0x29 ? nil : try self.field()
    guard take(0x29) else { throw error(index, "'(' without ')'", "close it after the field") }
    guard let kind = LogStats.Kind(name: name) else {
      throw error(
        start, "'\(name)' is no statistics function",
        "there are count, sum, min, max, avg and percentiles such as p50 or p99")
    }
    guard kind == .count || field != nil else {
      throw error(start, "\(name) needs a field", "write \(name)(duration_ms)")
    }
    var function = LogStats.Function(kind: kind, field: field)
    if takeWord("as") {
      skipSpace()
      let start = index
      let alias = identifier()
      guard !alias.isEmpty else { throw error(start, "no name after as", "write as slow, with letters, digits and _") }
      function.alias = alias
    }
    return function
  }

  /// sort = [ "by" ] column [ "asc" | "desc" ] { "," … }, in parentheses or not
  private mutating func sort(into query: inout LogQuery) throws(LogQueryError) {
    _ = takeWord("by")
    let open = take(0x28)
    repeat {
      skipSpace()
      let start = index
      guard let stats = query.stats else {
        query.order.append(LogQuery.Order(field: try field(), isDescending: descending()))
        continue
      }
      let name = try columnName()
      guard let column = stats.column(named: name) else {
        throw error(start, "stats has no column '\(name)'", "it has \(stats.columns.joined(separator: ", "))")
      }
      query.stats?.order.append(LogStats.Order(column: column, isDescending: descending()))
    } while take(0x2C)
    guard query.order.count <= Self.columnsMaximum else {
      throw error(index, "more than \(Self.columnsMaximum) columns", "sort by fewer")
    }
    if open, !take(0x29) { throw error(index, "'(' without ')'", "close the list of columns") }
  }

  private mutating func descending() -> Bool {
    if takeWord("desc") { return true }
    _ = takeWord("asc")
    return false
  }

  /// A column of stats: a field's name, an alias, or a function with its field such as `p99(duration_ms)`.
  private mutating func columnName() throws(LogQueryError) -> String {
    let name = String(decoding: try rawName(), as: UTF8.self)
    guard current == 0x28, !isAtEnd else { return name }
    index += 1
    skipSpace()
    let field = current == 0x29 ? "" : "\(try self.field())"
    guard take(0x29) else { throw error(index, "'(' without ')'", "close it after the field") }
    return "\(name)(\(field))"
  }

  /// columns = field { "," field }, in parentheses or not
  private mutating func fieldList() throws(LogQueryError) -> [LogField] {
    let open = take(0x28)
    var fields = [try field()]
    while take(0x2C) { fields.append(try field()) }
    if open, !take(0x29) { throw error(index, "'(' without ')'", "close the list of fields") }
    guard fields.count <= Self.columnsMaximum else {
      throw error(index, "more than \(Self.columnsMaximum) fields", "ask for fewer at once")
    }
    return fields
  }

  private mutating func limit(_ pipe: String = "limit") throws(LogQueryError) -> Int {
    skipSpace()
    let start = index
    let text = isAtEnd ? [] : try readText(stopsAtColon: false).plain
    guard let limit = Int(String(decoding: text, as: UTF8.self)), limit > 0, limit <= Self.limitMaximum else {
      throw error(start, "no number from 1 to \(Self.limitMaximum) after \(pipe)", "write \(pipe) 100")
    }
    return limit
  }

  /// A field's name in a pipe: up to white space, comma or parenthesis, or quoted.
  private mutating func field() throws(LogQueryError) -> LogField {
    skipSpace()
    let start = index
    let name = try rawName()
    guard !name.isEmpty, name.count <= Self.textMaximum else {
      throw error(start, "a field's name is expected", "write a name such as function or duration_ms")
    }
    return LogField(name: String(decoding: name, as: UTF8.self))
  }

  private mutating func rawName() throws(LogQueryError) -> [UInt8] {
    if current == 0x22, !isAtEnd { return try readText(stopsAtColon: false).plain }
    let start = index
    while !isAtEnd, !ASCII.isSpace(current), ![0x28, 0x29, 0x2C, 0x22, 0x7C].contains(current) { index += 1 }
    return Array(bytes[start..<index])
  }

  /// Takes one of the small words of the pipes.
  private mutating func takeWord(_ word: String) -> Bool {
    skipSpace()
    let start = index
    if identifier() == word { return true }
    index = start
    return false
  }

  private mutating func identifier() -> String {
    skipSpace()
    let start = index
    while !isAtEnd, ASCII.isWord(current) { index += 1 }
    return String(decoding: bytes[start..<index], as: UTF8.self)
  }
}
