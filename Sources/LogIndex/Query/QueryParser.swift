/// Reads a query's text, one production a method; the productions are in `docs/log-query.md`.
struct QueryParser {
  static let bytesMaximum = 16 * 1024
  static let depthMaximum = 64
  static let termsMaximum = 1_000
  static let textMaximum = 512

  let bytes: [UInt8]
  var index = 0
  private var depth = 0
  private var terms = 0

  init(_ text: String) throws(LogQueryError) {
    bytes = Array(text.utf8)
    guard bytes.count <= Self.bytesMaximum else {
      throw LogQueryError(
        column: 1, message: "the query has \(bytes.count) bytes", hint: "\(Self.bytesMaximum) are the most")
    }
  }

  /// query = [ or ] { "|" pipe }
  mutating func query() throws(LogQueryError) -> LogQuery {
    var query = LogQuery()
    skipSpace()
    if !isAtEnd, current != 0x7C { query.filter = try or(nil) }
    skipSpace()
    try pipes(into: &query)
    if !isAtEnd {
      throw error(index, "')' without '('", "remove it, or quote it to search for it")
    }
    return query
  }

  /// or = and { "OR" and }
  mutating func or(_ field: LogField?) throws(LogQueryError) -> LogFilter {
    var choices = [try and(field)]
    while takeKeyword("OR") { choices.append(try and(field)) }
    return choices.count == 1 ? choices[0] : .any(choices)
  }

  /// and = unary { [ "AND" ] unary }
  private mutating func and(_ field: LogField?) throws(LogQueryError) -> LogFilter {
    var parts = [try unary(field)]
    while true {
      skipSpace()
      if takeKeyword("AND") {
        parts.append(try unary(field))
      } else if isAtEnd || current == 0x29 || current == 0x7C || isKeyword("OR") {
        break
      } else {
        parts.append(try unary(field))
      }
    }
    return parts.count == 1 ? parts[0] : .all(parts)
  }

  /// unary = ( "NOT" | "-" ) unary | primary; inside `field:( … )` a minus before a digit belongs to the number.
  private mutating func unary(_ field: LogField?) throws(LogQueryError) -> LogFilter {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.depthMaximum else {
      throw error(index, "more than \(Self.depthMaximum) parentheses or NOTs inside each other", "make it flatter")
    }
    skipSpace()
    if takeKeyword("NOT") { return .not(try unary(field)) }
    if current == 0x2D, let next = byte(at: index + 1), !ASCII.isSpace(next),
      field == nil || !(ASCII.isDigit(next) || next == 0x2E)
    {
      index += 1
      return .not(try unary(field))
    }
    return try primary(field)
  }

  /// primary = "(" or ")" | field ":" match | text; inside `field:( … )` it is "(" or ")" | match.
  private mutating func primary(_ field: LogField?) throws(LogQueryError) -> LogFilter {
    terms += 1
    guard terms <= Self.termsMaximum else {
      throw error(index, "more than \(Self.termsMaximum) terms", "split the query")
    }
    guard !isAtEnd else {
      throw error(index, "the query ends where a term is expected", "write a word, a \"phrase\" or field:value")
    }
    if isKeyword("AND") || isKeyword("OR") {
      throw error(index, "an operator without a term before it", "quote it to search for the word itself")
    }
    if current == 0x28 { return try parenthesised(field) }
    if let field { return try match(field) }
    let start = index
    let text = try readText(stopsAtColon: true)
    guard current == 0x3A else { return try words(text, at: start) }
    guard text.parts.count == 1, !text.plain.isEmpty else {
      throw error(start, "a field's name cannot be empty or hold '*'", "name one field, as in level:error")
    }
    index += 1
    return try match(LogField(name: String(decoding: text.plain, as: UTF8.self)))
  }

  mutating func parenthesised(_ field: LogField?) throws(LogQueryError) -> LogFilter {
    let open = index
    index += 1
    skipSpace()
    if current == 0x29 { throw error(open, "empty parentheses", "write a term between them, or remove them") }
    let filter = try or(field)
    skipSpace()
    guard current == 0x29 else { throw error(open, "'(' without ')'", "close it") }
    index += 1
    return filter
  }

  private func words(_ text: QueryText, at start: Int) throws(LogQueryError) -> LogFilter {
    if text.parts.allSatisfy(\.isEmpty), text.parts.count > 1 { return .everything }
    guard text.parts.contains(where: { !$0.isEmpty }) else {
      throw error(start, "an empty phrase", "remove it, or write what to search for")
    }
    return .text(TextFilter(parts: text.parts))
  }
}
