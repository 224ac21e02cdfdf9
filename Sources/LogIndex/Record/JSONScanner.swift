/// Where one JSON value lies in a record's bytes.
struct JSONSpan: Sendable, Equatable {
  enum Kind: UInt8, Sendable {
    /// A string without escapes; the span lies inside the quotes.
    case plain
    /// A string with escapes; the span lies inside the quotes.
    case escaped
    case number, bool, null
    /// An object or array, brackets included.
    case composite
  }

  var kind: Kind
  var start: Int
  var end: Int

  var isString: Bool { kind == .plain || kind == .escaped }
}

/// Why a record was refused.
package enum RecordFault: Error, Equatable, Sendable {
  /// The line is longer than `IndexedRecord.maximumBytes`.
  case tooLarge(bytes: Int)
  /// Not one JSON object on one line; the offset is where reading stopped.
  case notJSON(offset: Int)
  /// The object has no `time` that is an RFC 3339 string.
  case noTime
}

/// A strict one-pass JSON reader over bytes that validates and reports where values lie; it never builds a tree.
struct JSONScanner {
  static let depthMaximum = 64

  let bytes: [UInt8]
  private(set) var index = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var fault: RecordFault { .notJSON(offset: index) }

  var isAtEnd: Bool { index >= bytes.count }

  /// Skips blanks and tabs; a line break inside a record would break NDJSON and is not a blank here.
  mutating func skipBlanks() {
    while index < bytes.count, bytes[index] == 0x20 || bytes[index] == 0x09 { index += 1 }
  }

  /// Reads an object, calling `member` with each key; `member` must read the value.
  mutating func object(
    _ member: (inout JSONScanner, JSONSpan) throws(RecordFault) -> Void
  ) throws(RecordFault) {
    try expect(0x7B)
    skipBlanks()
    if take(0x7D) { return }
    while true {
      skipBlanks()
      let key = try string()
      skipBlanks()
      try expect(0x3A)
      skipBlanks()
      try member(&self, key)
      skipBlanks()
      if take(0x2C) { continue }
      try expect(0x7D)
      return
    }
  }

  /// Reads any value, `depth` levels below the record's own object.
  mutating func value(depth: Int) throws(RecordFault) -> JSONSpan {
    guard index < bytes.count, depth <= Self.depthMaximum else { throw fault }
    let start = index
    switch bytes[index] {
    case 0x22: return try string()
    case 0x7B:
      try object { (scanner, _) throws(RecordFault) in _ = try scanner.value(depth: depth + 1) }
      return JSONSpan(kind: .composite, start: start, end: index)
    case 0x5B:
      try array(depth: depth)
      return JSONSpan(kind: .composite, start: start, end: index)
    case 0x74: return try word([0x74, 0x72, 0x75, 0x65], .bool)
    case 0x66: return try word([0x66, 0x61, 0x6C, 0x73, 0x65], .bool)
    case 0x6E: return try word([0x6E, 0x75, 0x6C, 0x6C], .null)
    default: return try number()
    }
  }

  var isAtObject: Bool { index < bytes.count && bytes[index] == 0x7B }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard index < bytes.count, bytes[index] == byte else { return false }
    index += 1
    return true
  }

  private mutating func expect(_ byte: UInt8) throws(RecordFault) {
    guard take(byte) else { throw fault }
  }

  private mutating func array(depth: Int) throws(RecordFault) {
    try expect(0x5B)
    skipBlanks()
    if take(0x5D) { return }
    while true {
      skipBlanks()
      _ = try value(depth: depth + 1)
      skipBlanks()
      if take(0x2C) { continue }
      try expect(0x5D)
      return
    }
  }

  private mutating func word(_ letters: [UInt8], _ kind: JSONSpan.Kind) throws(RecordFault) -> JSONSpan {
    let start = index
    for letter in letters { try expect(letter) }
    return JSONSpan(kind: kind, start: start, end: index)
  }

  private mutating func number() throws(RecordFault) -> JSONSpan {
    let start = index
    _ = take(0x2D)
    if !take(0x30) { try digits() }
    if take(0x2E) { try digits() }
    if take(0x65) || take(0x45) {
      if !take(0x2B) { _ = take(0x2D) }
      try digits()
    }
    return JSONSpan(kind: .number, start: start, end: index)
  }

  private mutating func digits() throws(RecordFault) {
    let start = index
    while index < bytes.count, ASCII.isDigit(bytes[index]) { index += 1 }
    guard index > start else { throw fault }
  }

  private mutating func string() throws(RecordFault) -> JSONSpan {
    try expect(0x22)
    let start = index
    var kind = JSONSpan.Kind.plain
    while index < bytes.count {
      let byte = bytes[index]
      switch byte {
      case 0x22:
        index += 1
        return JSONSpan(kind: kind, start: start, end: index - 1)
      case 0x5C:
        kind = .escaped
        try escape()
      case 0..<0x20: throw fault
      case 0x20..<0x80: index += 1
      default: try character()
      }
    }
    throw fault
  }

  private mutating func escape() throws(RecordFault) {
    index += 1
    guard index < bytes.count else { throw fault }
    switch bytes[index] {
    case 0x22, 0x5C, 0x2F, 0x62, 0x66, 0x6E, 0x72, 0x74: index += 1
    case 0x75:
      index += 1
      for _ in 0..<4 {
        guard index < bytes.count, JSONText.hexValue(bytes[index]) != nil else { throw fault }
        index += 1
      }
    default: throw fault
    }
  }

  /// One character of two to four bytes, refused when it is not well-formed UTF-8.
  private mutating func character() throws(RecordFault) {
    let second = index + 1 < bytes.count ? bytes[index + 1] : 0
    guard let length = JSONText.characterLength(bytes[index], second), index + length <= bytes.count else {
      throw fault
    }
    for next in (index + 2)..<max(index + length, index + 2) where bytes[next] & 0xC0 != 0x80 { throw fault }
    index += length
  }
}
