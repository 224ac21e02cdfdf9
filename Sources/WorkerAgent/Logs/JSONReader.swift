import ClusterModel

/// A strict, bounded JSON reader for log lines: it never traps, and gives nil for anything that is not JSON.
///
/// JSONDecoder costs some 30 µs a line and loses the order of members, which decides what is kept of too many.
struct JSONReader {
  /// Objects and lists inside each other, at most.
  static let depthMaximum = 32

  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  private init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// The members of a line that is one JSON object, in order, or nil.
  static func object(_ bytes: UnsafeRawBufferPointer) -> [(key: String, value: LineValue)]? {
    var reader = JSONReader(bytes)
    reader.skipSpace()
    guard reader.peek == UInt8(ascii: "{"), case .object(let members)? = reader.value(depth: 0) else { return nil }
    reader.skipSpace()
    return reader.position == bytes.count ? members : nil
  }

  private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipSpace() {
    while let byte = peek, byte == 32 || byte == 9 || byte == 10 || byte == 13 { position += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard peek == byte else { return false }
    position += 1
    return true
  }

  private mutating func word(_ text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    guard position + count <= bytes.count else { return false }
    let same = text.withUTF8Buffer { buffer in buffer.indices.allSatisfy { bytes[position + $0] == buffer[$0] } }
    if same { position += count }
    return same
  }

  private mutating func value(depth: Int) -> LineValue? {
    guard depth < Self.depthMaximum, let byte = peek else { return nil }
    switch byte {
    case UInt8(ascii: "{"): return object(depth: depth)
    case UInt8(ascii: "["): return list(depth: depth)
    case UInt8(ascii: "\""): return string().map { .scalar(.string($0)) }
    case UInt8(ascii: "t"): return word("true") ? .scalar(.bool(true)) : nil
    case UInt8(ascii: "f"): return word("false") ? .scalar(.bool(false)) : nil
    case UInt8(ascii: "n"): return word("null") ? .scalar(.null) : nil
    default: return number()
    }
  }

  private mutating func object(depth: Int) -> LineValue? {
    position += 1
    var members: [(key: String, value: LineValue)] = []
    skipSpace()
    if take(UInt8(ascii: "}")) { return .object(members) }
    while true {
      skipSpace()
      guard peek == UInt8(ascii: "\""), let key = string() else { return nil }
      skipSpace()
      guard take(UInt8(ascii: ":")) else { return nil }
      skipSpace()
      guard let value = value(depth: depth + 1) else { return nil }
      members.append((key, value))
      skipSpace()
      if take(UInt8(ascii: "}")) { return .object(members) }
      guard take(UInt8(ascii: ",")) else { return nil }
    }
  }

  private mutating func list(depth: Int) -> LineValue? {
    position += 1
    let start = position - 1
    var items: [JSONValue] = []
    var isSpelled = false
    skipSpace()
    if take(UInt8(ascii: "]")) { return .scalar(.array(items)) }
    while true {
      skipSpace()
      guard let value = value(depth: depth + 1) else { return nil }
      if value.isSpelled { isSpelled = true }
      items.append(value.plain)
      skipSpace()
      if take(UInt8(ascii: "]")) {
        guard isSpelled else { return .scalar(.array(items)) }
        return .spelled(.array(items), String(decoding: bytes[start..<position].filter { $0 >= 32 }, as: UTF8.self))
      }
      guard take(UInt8(ascii: ",")) else { return nil }
    }
  }

  private mutating func number() -> LineValue? {
    let start = position
    var whole = true
    _ = take(UInt8(ascii: "-"))
    guard let first = peek, Self.isDigit(first) else { return nil }
    if first == UInt8(ascii: "0") { position += 1 } else { digits() }
    if take(UInt8(ascii: ".")) {
      whole = false
      guard let digit = peek, Self.isDigit(digit) else { return nil }
      digits()
    }
    if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
      whole = false
      position += 1
      if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { position += 1 }
      guard let digit = peek, Self.isDigit(digit) else { return nil }
      digits()
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if whole, text != "-0", let integer = Int64(text) { return .scalar(.int(integer)) }
    // What a double would spell in another way keeps the spelling beside it; what none holds is its text.
    guard let double = Double(text), double.isFinite else { return .spelled(.string(text), text) }
    return String(double) == text ? .scalar(.double(double)) : .spelled(.double(double), text)
  }

  private mutating func digits() {
    while let byte = peek, Self.isDigit(byte) { position += 1 }
  }

  private static func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }

  private mutating func string() -> String? {
    position += 1
    let start = position
    while let byte = peek {
      if byte == UInt8(ascii: "\"") {
        defer { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
      }
      if byte == UInt8(ascii: "\\") { return escapedString(from: start) }
      if byte < 32 { return nil }
      position += 1
    }
    return nil
  }

  private mutating func escapedString(from start: Int) -> String? {
    var out = [UInt8](bytes[start..<position])
    while let byte = peek {
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: out, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let escape = peek else { return nil }
        position += 1
        guard self.escape(escape, into: &out) else { return nil }
      case 0..<32: return nil
      default: out.append(byte)
      }
    }
    return nil
  }

  private mutating func escape(_ letter: UInt8, into out: inout [UInt8]) -> Bool {
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(letter)
    case UInt8(ascii: "b"): out.append(8)
    case UInt8(ascii: "f"): out.append(12)
    case UInt8(ascii: "n"): out.append(10)
    case UInt8(ascii: "r"): out.append(13)
    case UInt8(ascii: "t"): out.append(9)
    case UInt8(ascii: "u"):
      guard let unit = hexUnit() else { return false }
      out.append(contentsOf: String(scalar(startingWith: unit)).utf8)
    default: return false
    }
    return true
  }

  /// A scalar from its first UTF-16 unit; takes the low surrogate that belongs to it. A lone half becomes U+FFFD.
  private mutating func scalar(startingWith unit: UInt32) -> Unicode.Scalar {
    if let scalar = Unicode.Scalar(unit) { return scalar }
    let before = position
    if unit < 0xDC00, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")), let low = hexUnit(),
      (0xDC00...0xDFFF).contains(low),
      let scalar = Unicode.Scalar(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
    {
      return scalar
    }
    position = before
    return "\u{FFFD}"
  }

  private mutating func hexUnit() -> UInt32? {
    guard position + 4 <= bytes.count else { return nil }
    var value: UInt32 = 0
    for offset in 0..<4 {
      let byte = bytes[position + offset]
      let digit: UInt32
      switch byte {
      case 48...57: digit = UInt32(byte) - 48
      case 65...70: digit = UInt32(byte) - 55
      case 97...102: digit = UInt32(byte) - 87
      default: return nil
      }
      value = value << 4 | digit
    }
    position += 4
    return value
  }
}

/// A value of a log line: an object keeps the order of its members.
enum LineValue {
  case scalar(JSONValue)
  /// A number, or a list with one, that its value would spell differently: JSON on one line.
  case spelled(JSONValue, String)
  case object([(key: String, value: LineValue)])

  /// Whether its spelling is more than its value.
  var isSpelled: Bool {
    switch self {
    case .scalar: false
    case .spelled: true
    // An object inside a list keeps the order of its members by being spelled.
    case .object(let members): members.count > 1 || members.contains { $0.value.isSpelled }
    }
  }

  /// The value without the order.
  var plain: JSONValue {
    switch self {
    case .scalar(let value), .spelled(let value, _): value
    case .object(let members):
      .object(Dictionary(members.map { ($0.key, $0.value.plain) }) { _, last in last })
    }
  }
}
