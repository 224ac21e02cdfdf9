internal import Foundation

/// One JSON value as it is spelled: checked once, cut out of its text, never built into a tree.
///
/// What others send keeps the spelling of its numbers and the order of its keys this way.
struct JSONSlice: Sendable, Equatable {
  /// Objects and lists inside each other, at most.
  static let depthMaximum = 64

  enum Kind: Sendable {
    case object, array, string, number, bool, null
  }

  /// The value without white space around it.
  let bytes: ArraySlice<UInt8>

  /// The one value of a text, or nil for what is not JSON.
  init?(_ text: ArraySlice<UInt8>) {
    var walker = JSONWalker(text)
    walker.skipSpace()
    guard let value = walker.value(depth: 0) else { return nil }
    walker.skipSpace()
    guard walker.isAtEnd else { return nil }
    self = value
  }

  /// The value of an array of bytes.
  init?(_ text: [UInt8]) { self.init(text[...]) }

  /// A value that a walker has checked.
  fileprivate init(checked bytes: ArraySlice<UInt8>) { self.bytes = bytes }

  /// What it is.
  var kind: Kind {
    switch bytes.first {
    case UInt8(ascii: "{"): .object
    case UInt8(ascii: "["): .array
    case UInt8(ascii: "\""): .string
    case UInt8(ascii: "t"), UInt8(ascii: "f"): .bool
    case UInt8(ascii: "n"): .null
    default: .number
    }
  }

  /// An object's members in their order; none for anything else.
  var members: [(key: String, value: JSONSlice)] {
    guard kind == .object else { return [] }
    var walker = JSONWalker(bytes.dropFirst())
    var members: [(key: String, value: JSONSlice)] = []
    walker.skipSpace()
    while !walker.take(UInt8(ascii: "}")) {
      _ = walker.take(UInt8(ascii: ","))
      walker.skipSpace()
      guard let key = walker.value(depth: 0)?.string else { return members }
      walker.skipSpace()
      _ = walker.take(UInt8(ascii: ":"))
      walker.skipSpace()
      guard let value = walker.value(depth: 0) else { return members }
      members.append((key, value))
      walker.skipSpace()
    }
    return members
  }

  /// A list's items; none for anything else.
  var items: [JSONSlice] {
    guard kind == .array else { return [] }
    var walker = JSONWalker(bytes.dropFirst())
    var items: [JSONSlice] = []
    walker.skipSpace()
    while !walker.take(UInt8(ascii: "]")) {
      _ = walker.take(UInt8(ascii: ","))
      walker.skipSpace()
      guard let value = walker.value(depth: 0) else { return items }
      items.append(value)
      walker.skipSpace()
    }
    return items
  }

  /// The last member of a name.
  subscript(_ name: String) -> JSONSlice? { members.last { $0.key == name }?.value }

  /// A string's text; nil for anything else, and for one whose escapes stand for no text.
  var string: String? {
    guard kind == .string else { return nil }
    if bytes.contains(UInt8(ascii: "\\")) {
      return try? JSONDecoder().decode(String.self, from: Data(bytes))
    }
    return String(decoding: bytes.dropFirst().dropLast(), as: UTF8.self)
  }

  /// A number as it is spelled, or a string's text.
  var text: String? {
    switch kind {
    case .string: string
    case .number, .bool: String(decoding: bytes, as: UTF8.self)
    default: nil
    }
  }

  /// Appends the value on one line: a raw control character can only be white space between values.
  func append(to output: inout [UInt8]) {
    if bytes.contains(where: { $0 < 0x20 }) {
      output.append(contentsOf: bytes.lazy.filter { $0 >= 0x20 })
    } else {
      output.append(contentsOf: bytes)
    }
  }
}

/// Reads JSON strictly (RFC 8259), value by value.
private struct JSONWalker {
  private let bytes: ArraySlice<UInt8>
  private var index: Int

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    index = bytes.startIndex
  }

  var isAtEnd: Bool { index >= bytes.endIndex }
  private var current: UInt8? { index < bytes.endIndex ? bytes[index] : nil }

  mutating func skipSpace() {
    while let byte = current, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { index += 1 }
  }

  mutating func take(_ byte: UInt8) -> Bool {
    guard current == byte else { return false }
    index += 1
    return true
  }

  /// The value that begins here.
  mutating func value(depth: Int) -> JSONSlice? {
    let start = index
    return skip(depth: depth) ? JSONSlice(checked: bytes[start..<index]) : nil
  }

  private mutating func skip(depth: Int) -> Bool {
    guard depth < JSONSlice.depthMaximum, let byte = current else { return false }
    switch byte {
    case UInt8(ascii: "{"): return skipList(depth: depth, end: UInt8(ascii: "}"), keyed: true)
    case UInt8(ascii: "["): return skipList(depth: depth, end: UInt8(ascii: "]"), keyed: false)
    case UInt8(ascii: "\""): return skipString()
    case UInt8(ascii: "t"): return skipWord("true")
    case UInt8(ascii: "f"): return skipWord("false")
    case UInt8(ascii: "n"): return skipWord("null")
    default: return skipNumber()
    }
  }

  private mutating func skipList(depth: Int, end: UInt8, keyed: Bool) -> Bool {
    index += 1
    skipSpace()
    if take(end) { return true }
    while true {
      skipSpace()
      if keyed {
        guard current == UInt8(ascii: "\""), skipString() else { return false }
        skipSpace()
        guard take(UInt8(ascii: ":")) else { return false }
        skipSpace()
      }
      guard skip(depth: depth + 1) else { return false }
      skipSpace()
      if take(end) { return true }
      guard take(UInt8(ascii: ",")) else { return false }
    }
  }

  private mutating func skipString() -> Bool {
    index += 1
    while let byte = current {
      index += 1
      if byte == UInt8(ascii: "\"") { return true }
      if byte < 0x20 { return false }
      guard byte == UInt8(ascii: "\\") else { continue }
      guard let escape = current else { return false }
      index += 1
      switch escape {
      case UInt8(ascii: "u"):
        guard index + 4 <= bytes.endIndex, bytes[index..<(index + 4)].allSatisfy(Self.isHex) else { return false }
        index += 4
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
        UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
        continue
      default: return false
      }
    }
    return false
  }

  private mutating func skipWord(_ word: String) -> Bool {
    let end = index + word.utf8.count
    guard end <= bytes.endIndex, bytes[index..<end].elementsEqual(word.utf8) else { return false }
    index = end
    return true
  }

  private mutating func skipNumber() -> Bool {
    _ = take(UInt8(ascii: "-"))
    if !take(UInt8(ascii: "0")), !skipDigits() { return false }
    if take(UInt8(ascii: ".")), !skipDigits() { return false }
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      index += 1
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      return skipDigits()
    }
    return true
  }

  private mutating func skipDigits() -> Bool {
    let start = index
    while let byte = current, byte >= 0x30, byte <= 0x39 { index += 1 }
    return index > start
  }

  private static func isHex(_ byte: UInt8) -> Bool {
    (byte >= 0x30 && byte <= 0x39) || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x66)
  }
}
