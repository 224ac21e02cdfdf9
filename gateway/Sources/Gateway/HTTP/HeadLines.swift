import Glibc

/// A piece of a head: offsets from its first byte.
struct Span: Equatable {
  var start: Int
  var end: Int

  /// Nothing.
  static let none = Span(start: 0, end: 0)

  var count: Int { end - start }
  var isEmpty: Bool { start == end }

  /// The bytes it stands for.
  func of(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes[start..<end])
  }

  /// The bytes it stands for, as text.
  func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: of(bytes), as: UTF8.self) }
}

/// One header field: its line is `name` to the end of `value`, without the line's end.
struct Field {
  var name: Span
  var value: Span
  let kind: FieldName
}

/// Why a message cannot be read.
struct ParseFailure: Error, Equatable {
  /// What kind of fault it is.
  enum Kind: Equatable { case malformed, headTooLarge, targetTooLong }

  var kind = Kind.malformed
  let message: String

  init(_ message: String, _ kind: Kind = .malformed) {
    self.message = message
    self.kind = kind
  }
}

/// Reads the lines of a head, a status line or request line first, or those of trailers: as they come, each byte once.
///
/// Strict (RFC 9112): lines end with CR LF and nothing else; no control character but a tab in a value; no space before
/// the colon; no line that continues the one before. What breaks a rule is told at once, not at the end of the head.
struct HeadLines {
  /// Whether a first line that is no field is expected.
  let hasStartLine: Bool
  /// The first line.
  private(set) var startLine: Span?
  /// The fields, in order.
  private(set) var fields: [Field] = []
  /// Where the line begins that is not whole yet.
  private(set) var lineStart = 0
  /// Up to where it was looked at.
  private var scanned = 0

  /// Lines of a head, or of trailers.
  init(hasStartLine: Bool) { self.hasStartLine = hasStartLine }

  /// Forgets everything but its room.
  mutating func reset() {
    startLine = nil
    if !fields.isEmpty { fields.removeAll(keepingCapacity: true) }
    lineStart = 0
    scanned = 0
  }

  /// Reads on in the bytes that began with the first line; answers their count with the empty line that ends them, or
  /// nil when more must come.
  mutating func read(_ bytes: UnsafeRawBufferPointer) throws(ParseFailure) -> Int? {
    while true {
      let end = ByteScan.control(bytes, from: max(scanned, lineStart))
      guard end < bytes.count else {
        scanned = end
        guard bytes.count <= GatewayLimits.headBytes else {
          throw ParseFailure("the head is larger than \(GatewayLimits.headBytes) bytes", .headTooLarge)
        }
        return nil
      }
      guard bytes[end] == 13 else {
        throw ParseFailure(bytes[end] == 10 ? "a line ends without CR" : "a control character in the head")
      }
      guard end + 1 < bytes.count else {
        scanned = end
        return nil
      }
      guard bytes[end + 1] == 10 else { throw ParseFailure("CR without LF") }
      let line = Span(start: lineStart, end: end)
      lineStart = end + 2
      scanned = lineStart
      guard lineStart <= GatewayLimits.headBytes else {
        throw ParseFailure("the head is larger than \(GatewayLimits.headBytes) bytes", .headTooLarge)
      }
      if hasStartLine, startLine == nil {
        startLine = line
      } else if line.isEmpty {
        return lineStart
      } else {
        try field(line, bytes)
      }
    }
  }

  private mutating func field(_ line: Span, _ bytes: UnsafeRawBufferPointer) throws(ParseFailure) {
    guard fields.count < GatewayLimits.headerCount else {
      throw ParseFailure("more than \(GatewayLimits.headerCount) header fields", .headTooLarge)
    }
    var colon = line.start
    while colon < line.end, ByteScan.isToken(bytes[colon]) { colon += 1 }
    guard colon < line.end, bytes[colon] == UInt8(ascii: ":"), colon > line.start else {
      throw ParseFailure("a header name is not a token")
    }
    var start = colon + 1
    var end = line.end
    while start < end, ByteScan.isBlank(bytes[start]) { start += 1 }
    while end > start, ByteScan.isBlank(bytes[end - 1]) { end -= 1 }
    let name = Span(start: line.start, end: colon)
    fields.append(Field(name: name, value: Span(start: start, end: end), kind: FieldName.of(name.of(bytes))))
  }
}

/// Searches in bytes.
enum ByteScan {
  /// The next byte from an offset on that may not stand in a line: a control character other than a tab, or DEL.
  ///
  /// Eight bytes at a time: a byte below 0x20 shows in the top bit of `word - 0x20…` where its own is clear (the test of
  /// "Bit Twiddling Hacks", S. E. Anderson, for a byte less than n); DEL as a zero byte of `word ^ 0x7F…`. A tab is one
  /// of the former and is looked at singly.
  static func control(_ bytes: UnsafeRawBufferPointer, from offset: Int) -> Int {
    var index = offset
    let count = bytes.count
    while index + 8 <= count {
      let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self).littleEndian
      let below = (word &- 0x2020_2020_2020_2020) & ~word
      let folded = word ^ 0x7F7F_7F7F_7F7F_7F7F
      let delete = (folded &- 0x0101_0101_0101_0101) & ~folded
      let found = (below | delete) & 0x8080_8080_8080_8080
      if found == 0 {
        index += 8
        continue
      }
      // The lowest mark is right; those above it may come from a borrow.
      index += found.trailingZeroBitCount / 8
      if bytes[index] != 9 { return index }
      index += 1
    }
    while index < count {
      let byte = bytes[index]
      if (byte < 0x20 && byte != 9) || byte == 0x7F { return index }
      index += 1
    }
    return count
  }

  /// The next byte from an offset on that a JSON string escapes: a control character, a quote or a backslash. Found as
  /// in `control`.
  static func jsonEscape(_ bytes: UnsafeRawBufferPointer, from offset: Int) -> Int {
    var index = offset
    let count = bytes.count
    while index + 8 <= count {
      let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self).littleEndian
      let below = (word &- 0x2020_2020_2020_2020) & ~word
      let quote = word ^ 0x2222_2222_2222_2222
      let slash = word ^ 0x5C5C_5C5C_5C5C_5C5C
      let quotes = (quote &- 0x0101_0101_0101_0101) & ~quote
      let slashes = (slash &- 0x0101_0101_0101_0101) & ~slash
      let found = (below | quotes | slashes) & 0x8080_8080_8080_8080
      if found != 0 { return index + found.trailingZeroBitCount / 8 }
      index += 8
    }
    while index < count {
      let byte = bytes[index]
      if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return index }
      index += 1
    }
    return count
  }

  /// Whether a byte may stand in a name (RFC 9110, 5.6.2).
  @inline(__always)
  static func isToken(_ byte: UInt8) -> Bool {
    byte < 128 && (byte < 64 ? tokenLow >> byte & 1 : tokenHigh >> (byte - 64) & 1) == 1
  }

  /// A space or tab.
  static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

  // ! # $ % & ' * + - . 0-9
  private static let tokenLow: UInt64 = 0x03FF_6CFA_0000_0000
  // A-Z ^ _ ` a-z | ~
  private static let tokenHigh: UInt64 = 0x57FF_FFFF_C7FF_FFFE

  /// Whether bytes are a text.
  @inline(__always)
  static func same(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
    guard bytes.count == text.utf8CodeUnitCount, let start = bytes.baseAddress else { return false }
    return memcmp(start, text.utf8Start, bytes.count) == 0
  }

  /// Whether bytes are a lower-case text, whatever their case.
  static func equals(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
    guard bytes.count == text.utf8CodeUnitCount else { return false }
    for index in 0..<bytes.count {
      let byte = bytes[index]
      let lower = byte >= 65 && byte <= 90 ? byte + 32 : byte
      if lower != text.utf8Start[index] { return false }
    }
    return true
  }

  /// Whether bytes begin with a lower-case text, whatever their case.
  static func starts(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    return bytes.count >= count && equals(UnsafeRawBufferPointer(rebasing: bytes[..<count]), text)
  }

  /// The parts of a comma-separated list, without blanks around them; empty ones are left out.
  static func list(_ span: Span, _ bytes: UnsafeRawBufferPointer, _ body: (Span) -> Void) {
    var start = span.start
    while start < span.end {
      var end = start
      while end < span.end, bytes[end] != UInt8(ascii: ",") { end += 1 }
      var part = Span(start: start, end: end)
      while part.start < part.end, isBlank(bytes[part.start]) { part.start += 1 }
      while part.end > part.start, isBlank(bytes[part.end - 1]) { part.end -= 1 }
      if !part.isEmpty { body(part) }
      start = end + 1
    }
  }

  /// Decimal digits as a number; nil for anything else, or more than 18 of them.
  static func decimal(_ bytes: UnsafeRawBufferPointer) -> Int64? {
    guard (1...18).contains(bytes.count) else { return nil }
    var value: Int64 = 0
    for byte in bytes {
      guard byte >= 48, byte <= 57 else { return nil }
      value = value * 10 + Int64(byte - 48)
    }
    return value
  }
}
