extension QueryParser {
  /// match = "(" or ")" | comparison | regex | range | pattern | "*" | value
  mutating func match(_ field: LogField) throws(LogQueryError) -> LogFilter {
    let start = index
    if isAtEnd || ASCII.isSpace(current) || current == 0x29 || current == 0x7C {
      throw error(
        start, "no value after '\(field):'", "write \(field):value without a space, or \(field):* if any will do")
    }
    if current == 0x28 { return try parenthesised(field) }
    if current == 0x3E || current == 0x3C { return try comparison(field) }
    if current == 0x2F, let regex = try regex(field) { return regex }
    let text = try readText(stopsAtColon: false)
    if text.isQuoted { return try equality(field, text.plain, at: start) }
    if let (low, high) = text.sides { return try range(field, low, high, at: start) }
    if text.parts.count > 1 { return pattern(field, text.parts) }
    return try equality(field, text.plain, at: start)
  }

  private func pattern(_ field: LogField, _ parts: [[UInt8]]) -> LogFilter {
    if parts.allSatisfy(\.isEmpty) { return .exists(ExistsFilter(field: field)) }
    if field == .reserved(.msg) { return .text(TextFilter(parts: parts)) }
    return .pattern(PatternFilter(field: field, parts: parts))
  }

  private func equality(_ field: LogField, _ value: [UInt8], at start: Int) throws(LogQueryError) -> LogFilter {
    if value.isEmpty { return .not(.exists(ExistsFilter(field: field))) }
    switch field {
    case .reserved(.msg): return .text(TextFilter(parts: [value]))
    case .reserved(.level): return .level(LevelFilter([try level(value, at: start)]))
    case .reserved(.time):
      let time = try moment(value, at: start)
      return .time(TimeRange(since: time, until: time + 1))
    default: return .equals(EqualsFilter(field: field, text: value))
    }
  }

  /// comparison = ( ">" | ">=" | "<" | "<=" ) quantity
  private mutating func comparison(_ field: LogField) throws(LogQueryError) -> LogFilter {
    let isLower = current == 0x3E
    index += 1
    let isIncluded = current == 0x3D && !isAtEnd
    if isIncluded { index += 1 }
    skipSpace()
    let start = index
    guard !isAtEnd, current != 0x28, current != 0x29, current != 0x7C else {
      throw error(start, "nothing to compare with", "write a number, a size such as 1Mi, or a duration such as 250ms")
    }
    let text = try readText(stopsAtColon: false)
    guard text.parts.count == 1 else {
      throw error(start, "'*' in a comparison", "write a number, a size such as 1Mi, or a duration such as 250ms")
    }
    switch field {
    case .reserved(.level):
      let level = try level(text.plain, at: start)
      return .level(
        LevelFilter(RecordLevel.allCases.filter { (isLower ? $0 > level : $0 < level) || (isIncluded && $0 == level) }))
    case .reserved(.time):
      let time = try moment(text.plain, at: start)
      return .time(
        isLower ? TimeRange(since: isIncluded ? time : time + 1) : TimeRange(until: isIncluded ? time + 1 : time))
    default:
      let bound = RangeFilter.Bound(value: try measure(field, text.plain, at: start), isIncluded: isIncluded)
      return .range(RangeFilter(field: field, lower: isLower ? bound : nil, upper: isLower ? nil : bound))
    }
  }

  /// range = quantity ".." quantity, both ends inside
  private func range(
    _ field: LogField, _ low: [UInt8], _ high: [UInt8], at start: Int
  ) throws(LogQueryError) -> LogFilter {
    switch field {
    case .reserved(.level):
      let lower = try level(low, at: start)
      let upper = try level(high, at: start)
      return .level(LevelFilter(RecordLevel.allCases.filter { $0 >= lower && $0 <= upper }))
    case .reserved(.time):
      return .time(TimeRange(since: try moment(low, at: start), until: try moment(high, at: start) + 1))
    default:
      return .range(
        RangeFilter(
          field: field, lower: RangeFilter.Bound(value: try measure(field, low, at: start), isIncluded: true),
          upper: RangeFilter.Bound(value: try measure(field, high, at: start), isIncluded: true)))
    }
  }

  private func measure(_ field: LogField, _ text: [UInt8], at start: Int) throws(LogQueryError) -> Measure {
    if case .reserved(let name) = field {
      throw error(start, "\(name.rawValue) is text and has no order", "compare a number of your own, level, or time")
    }
    guard let measure = Measure(text) else {
      throw error(
        start, "'\(String(decoding: text, as: UTF8.self))' is no number, size or duration",
        "write 250, 1Mi or 1.5s; quote a value that holds '..'")
    }
    return measure
  }

  private func level(_ text: [UInt8], at start: Int) throws(LogQueryError) -> RecordLevel {
    guard let level = RecordLevel(name: text) else {
      throw error(
        start, "'\(String(decoding: text, as: UTF8.self))' is no level",
        "levels are \(RecordLevel.allCases.map(\.name).joined(separator: ", "))")
    }
    return level
  }

  private func moment(_ text: [UInt8], at start: Int) throws(LogQueryError) -> Int64 {
    guard let time = RecordTime.parse(text) ?? RecordTime.parseDay(text) else {
      throw error(
        start, "'\(String(decoding: text, as: UTF8.self))' is no time",
        "write 2026-11-20T15:04:05Z or 2026-11-20; for the last minutes use --since 15m")
    }
    return time
  }
}
