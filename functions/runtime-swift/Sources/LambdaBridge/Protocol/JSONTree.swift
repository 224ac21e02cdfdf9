/// Reads JSON strictly (RFC 8259) into a tree; what a runtime says of an error, and the head of an HTTP answer, are read so.
package indirect enum JSONTree: Equatable, Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case list([JSONTree])
  case map([String: JSONTree])

  /// Deeper nesting is refused.
  static let depth = 32

  /// The tree of a text; nil when it is not JSON.
  package init?(_ bytes: some Collection<UInt8>) {
    var reader = Reader(bytes: Array(bytes))
    guard let found = reader.value(0) else { return nil }
    reader.skip()
    guard reader.isAtEnd else { return nil }
    self = found
  }

  /// A member of a map.
  package subscript(name: String) -> JSONTree? {
    if case .map(let members) = self { members[name] } else { nil }
  }

  /// The text of a string.
  package var text: String? { if case .string(let text) = self { text } else { nil } }

  private struct Reader {
    let bytes: [UInt8]
    var index = 0

    var isAtEnd: Bool { index == bytes.count }
    private var next: UInt8? { index < bytes.count ? bytes[index] : nil }

    mutating func skip() {
      while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { index += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
      skip()
      guard next == byte else { return false }
      index += 1
      return true
    }

    private mutating func word(_ text: StaticString, _ value: JSONTree) -> JSONTree? {
      let length = text.utf8CodeUnitCount
      guard index + length <= bytes.count,
        text.withUTF8Buffer({ $0.elementsEqual(bytes[index..<(index + length)]) })
      else { return nil }
      index += length
      return value
    }

    mutating func value(_ depth: Int) -> JSONTree? {
      guard depth < JSONTree.depth else { return nil }
      skip()
      switch next {
      case UInt8(ascii: "{"): return map(depth)
      case UInt8(ascii: "["): return list(depth)
      case UInt8(ascii: "\""): return string().map(JSONTree.string)
      case UInt8(ascii: "t"): return word("true", .bool(true))
      case UInt8(ascii: "f"): return word("false", .bool(false))
      case UInt8(ascii: "n"): return word("null", .null)
      default: return number()
      }
    }

    private mutating func map(_ depth: Int) -> JSONTree? {
      guard take(UInt8(ascii: "{")) else { return nil }
      var members: [String: JSONTree] = [:]
      if take(UInt8(ascii: "}")) { return .map(members) }
      repeat {
        skip()
        guard let name = string(), take(UInt8(ascii: ":")), let value = value(depth + 1) else { return nil }
        members[name] = value
      } while take(UInt8(ascii: ","))
      return take(UInt8(ascii: "}")) ? .map(members) : nil
    }

    private mutating func list(_ depth: Int) -> JSONTree? {
      guard take(UInt8(ascii: "[")) else { return nil }
      var values: [JSONTree] = []
      if take(UInt8(ascii: "]")) { return .list(values) }
      repeat {
        guard let value = value(depth + 1) else { return nil }
        values.append(value)
      } while take(UInt8(ascii: ","))
      return take(UInt8(ascii: "]")) ? .list(values) : nil
    }

    private mutating func number() -> JSONTree? {
      let start = index
      while let byte = next, (0x30...0x39).contains(byte) || "+-.eE".utf8.contains(byte) { index += 1 }
      let text = bytes[start..<index]
      let digits = text.first == UInt8(ascii: "-") ? text.dropFirst() : text
      guard let first = digits.first, (0x30...0x39).contains(first), let last = text.last, last != UInt8(ascii: "."),
        first != 0x30 || digits.count == 1 || !(0x30...0x39).contains(digits[digits.startIndex + 1])
      else { return nil }
      return Double(String(decoding: text, as: UTF8.self)).map(JSONTree.number)
    }

    private mutating func string() -> String? {
      guard next == UInt8(ascii: "\"") else { return nil }
      index += 1
      var text: [UInt8] = []
      while let byte = next {
        index += 1
        switch byte {
        case UInt8(ascii: "\""): return String(validating: text, as: UTF8.self)
        case UInt8(ascii: "\\"): guard escape(into: &text) else { return nil }
        case 0..<0x20: return nil
        default: text.append(byte)
        }
      }
      return nil
    }

    private mutating func escape(into text: inout [UInt8]) -> Bool {
      guard let byte = next else { return false }
      index += 1
      switch byte {
      case UInt8(ascii: "n"): text.append(0x0A)
      case UInt8(ascii: "t"): text.append(0x09)
      case UInt8(ascii: "r"): text.append(0x0D)
      case UInt8(ascii: "b"): text.append(0x08)
      case UInt8(ascii: "f"): text.append(0x0C)
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
      case UInt8(ascii: "u"):
        guard let unit = unit() else { return false }
        var units = [unit]
        if unit & 0xFC00 == 0xD800, next == UInt8(ascii: "\\"), index + 1 < bytes.count,
          bytes[index + 1] == UInt8(ascii: "u")
        {
          index += 2
          guard let low = self.unit() else { return false }
          units.append(low)
        }
        text += Array(String(decoding: units, as: UTF16.self).utf8)
      default: return false
      }
      return true
    }

    private mutating func unit() -> UInt16? {
      guard index + 4 <= bytes.count else { return nil }
      let digits = bytes[index..<(index + 4)]
      guard digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }) else { return nil }
      index += 4
      return UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
    }
  }
}
