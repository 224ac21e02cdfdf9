/// Writes JSON text; the library links no Foundation, whose start would cost each cold start milliseconds.
package enum JSONText {
  /// Appends a JSON string.
  package static func quote(_ text: String, into out: inout [UInt8]) {
    var text = text
    text.withUTF8 { quote($0, into: &out) }
  }

  static func quote(_ bytes: UnsafeBufferPointer<UInt8>, into out: inout [UInt8]) {
    out.append(0x22)
    for byte in bytes {
      switch byte {
      case 0x22, 0x5C: out += [0x5C, byte]
      case 0x0A: out += [0x5C, 0x6E]
      case 0x0D: out += [0x5C, 0x72]
      case 0x09: out += [0x5C, 0x74]
      case 0..<0x20:
        let digits = Array("0123456789abcdef".utf8)
        out += [0x5C, 0x75, 0x30, 0x30, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      default: out.append(byte)
      }
    }
    out.append(0x22)
  }

  /// An object of strings, in the order given.
  package static func object(_ pairs: [(String, String)]) -> [UInt8] {
    var out: [UInt8] = [0x7B]
    for (index, pair) in pairs.enumerated() {
      if index > 0 { out.append(0x2C) }
      quote(pair.0, into: &out)
      out.append(0x3A)
      quote(pair.1, into: &out)
    }
    out.append(0x7D)
    return out
  }
}

/// A value of a log record's field: text, numbers, truth values, lists and maps can be written as literals.
public enum LogValue: Sendable, Equatable, ExpressibleByStringLiteral, ExpressibleByStringInterpolation,
  ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral
{
  /// Text.
  case string(String)
  /// A whole number.
  case int(Int)
  /// A number; infinities and NaN are logged as text.
  case double(Double)
  /// A truth value.
  case bool(Bool)
  /// A list; nesting deeper than 8 is cut.
  case list([LogValue])
  /// A map; nesting deeper than 8 is cut.
  case map([String: LogValue])

  /// From a string literal.
  /// Text, from a literal.
  public init(stringLiteral value: String) { self = .string(value) }
  /// From an integer literal.
  /// A whole number, from a literal.
  public init(integerLiteral value: Int) { self = .int(value) }
  /// From a decimal literal.
  /// A number, from a literal.
  public init(floatLiteral value: Double) { self = .double(value) }
  /// From true or false.
  /// A truth value, from a literal.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// From a list literal.
  /// A list, from a literal.
  public init(arrayLiteral elements: LogValue...) { self = .list(elements) }
  /// From a dictionary literal.
  /// A map; of a repeated key the last value, from a literal.
  public init(dictionaryLiteral elements: (String, LogValue)...) {
    self = .map(Dictionary(elements, uniquingKeysWith: { _, last in last }))
  }

  func write(into out: inout [UInt8], depth: Int = 0) {
    switch self {
    case .string(let text): JSONText.quote(text, into: &out)
    case .int(let number): out += Array(String(number).utf8)
    case .double(let number) where number.isFinite: out += Array(String(number).utf8)
    case .double(let number): JSONText.quote(String(number), into: &out)
    case .bool(let truth): out += Array((truth ? "true" : "false").utf8)
    case .list, .map:
      guard depth < 8 else { return JSONText.quote("…", into: &out) }
      writeNested(into: &out, depth: depth + 1)
    }
  }

  private func writeNested(into out: inout [UInt8], depth: Int) {
    switch self {
    case .list(let values):
      out.append(0x5B)
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(0x2C) }
        value.write(into: &out, depth: depth)
      }
      out.append(0x5D)
    case .map(let values):
      out.append(0x7B)
      for (index, pair) in values.sorted(by: { $0.key < $1.key }).enumerated() {
        if index > 0 { out.append(0x2C) }
        JSONText.quote(pair.key, into: &out)
        out.append(0x3A)
        pair.value.write(into: &out, depth: depth)
      }
      out.append(0x7D)
    default: break
    }
  }
}
