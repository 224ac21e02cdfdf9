/// A word or quoted text of a query.
struct QueryText {
  /// The literal parts between unescaped stars; one when there is none.
  var parts: [[UInt8]]
  /// Whether it stood in quotes, where nothing but `\` is special.
  var isQuoted: Bool
  /// What stands left and right of the first unescaped `..`, when both are there.
  var sides: ([UInt8], [UInt8])?

  var plain: [UInt8] { parts.count == 1 ? parts[0] : [] }
}

extension QueryParser {
  var isAtEnd: Bool { index >= bytes.count }

  /// The byte at the reading place; 0 at the end.
  var current: UInt8 { index < bytes.count ? bytes[index] : 0 }

  func byte(at index: Int) -> UInt8? { index < bytes.count ? bytes[index] : nil }

  mutating func skipSpace() {
    while index < bytes.count, ASCII.isSpace(bytes[index]) { index += 1 }
  }

  /// Whether the word at the reading place is exactly this operator.
  func isKeyword(_ word: String) -> Bool {
    guard index + word.utf8.count <= bytes.count,
      bytes[index..<(index + word.utf8.count)].elementsEqual(word.utf8)
    else { return false }
    guard let next = byte(at: index + word.utf8.count) else { return true }
    return ASCII.isSpace(next) || next == 0x28 || next == 0x29 || next == 0x22 || next == 0x7C
  }

  mutating func takeKeyword(_ word: String) -> Bool {
    skipSpace()
    guard isKeyword(word) else { return false }
    index += word.utf8.count
    return true
  }

  mutating func take(_ byte: UInt8) -> Bool {
    skipSpace()
    guard current == byte, !isAtEnd else { return false }
    index += 1
    return true
  }

  func error(_ at: Int, _ message: String, _ hint: String) -> LogQueryError {
    let before = String(decoding: bytes[..<min(at, bytes.count)], as: UTF8.self)
    return LogQueryError(column: before.count + 1, message: message, hint: hint)
  }

  /// text = quoted | plain; plain text ends at white space, a parenthesis, a quote, `|`, and a colon if asked.
  mutating func readText(stopsAtColon: Bool) throws(LogQueryError) -> QueryText {
    let start = index
    let text = current == 0x22 ? try quoted() : try plain(stopsAtColon: stopsAtColon)
    guard text.parts.reduce(0, { $0 + $1.count }) <= Self.textMaximum else {
      throw error(start, "a text of more than \(Self.textMaximum) bytes", "search for a shorter part of it")
    }
    return text
  }

  private mutating func quoted() throws(LogQueryError) -> QueryText {
    let start = index
    index += 1
    var text: [UInt8] = []
    while !isAtEnd {
      let byte = current
      index += 1
      if byte == 0x22 { return QueryText(parts: [text], isQuoted: true) }
      if byte == 0x5C, !isAtEnd {
        text.append(Self.escaped(current))
        index += 1
      } else {
        text.append(byte)
      }
    }
    throw error(start, "a quote that is never closed", "close it, or write \\\" for a quote inside")
  }

  private mutating func plain(stopsAtColon: Bool) throws(LogQueryError) -> QueryText {
    let start = index
    var parts: [[UInt8]] = [[]]
    var dots: Int?
    while !isAtEnd {
      let byte = current
      if ASCII.isSpace(byte) || byte == 0x28 || byte == 0x29 || byte == 0x22 || byte == 0x7C { break }
      if byte == 0x3A, stopsAtColon { break }
      index += 1
      switch byte {
      case 0x5C:
        guard !isAtEnd else { throw error(index - 1, "a '\\' with nothing after it", "write \\\\ for a backslash") }
        parts[parts.count - 1].append(current)
        index += 1
      case 0x2A: parts.append([])
      default:
        if byte == 0x2E, current == 0x2E, !isAtEnd, dots == nil { dots = index - 1 }
        parts[parts.count - 1].append(byte)
      }
    }
    guard index > start else {
      throw error(
        start, "'\(String(decoding: [current], as: UTF8.self))' where a term is expected", "quote it to search for it")
    }
    var text = QueryText(parts: parts, isQuoted: false)
    if let dots, dots > start, dots + 2 < index {
      text.sides = (Array(bytes[start..<dots]), Array(bytes[(dots + 2)..<index]))
    }
    return text
  }

  private static func escaped(_ letter: UInt8) -> UInt8 {
    switch letter {
    case 0x6E: 0x0A
    case 0x74: 0x09
    case 0x72: 0x0D
    default: letter
    }
  }
}
