internal import ClusterModel

/// Writes JSON whose members come in the order they are given, without Codable.
struct LineWriter {
  private(set) var bytes: [UInt8] = []

  init() { bytes.reserveCapacity(1024) }

  /// Begins an object.
  mutating func open() { bytes.append(UInt8(ascii: "{")) }

  /// Ends an object.
  mutating func close() { bytes.append(UInt8(ascii: "}")) }

  /// Begins a member of the object that is open.
  mutating func key(_ key: StaticString) {
    if let last = bytes.last, last != UInt8(ascii: "{") { bytes.append(UInt8(ascii: ",")) }
    bytes.append(UInt8(ascii: "\""))
    key.withUTF8Buffer { bytes.append(contentsOf: $0) }
    bytes.append(UInt8(ascii: "\""))
    bytes.append(UInt8(ascii: ":"))
  }

  /// A member that is a text.
  mutating func member(_ name: StaticString, _ text: String) {
    key(name)
    JSONOutput.append(text, to: &bytes)
  }

  /// A member that is a text, if there is one.
  mutating func member(_ name: StaticString, _ text: String?) { if let text { member(name, text) } }

  /// A member that is a whole number.
  mutating func member(_ name: StaticString, _ number: some FixedWidthInteger) {
    key(name)
    bytes.append(contentsOf: String(number).utf8)
  }

  /// A member that is a number, if there is one that JSON can write.
  mutating func member(_ name: StaticString, _ number: Double?) {
    guard let number, number.isFinite else { return }
    key(name)
    bytes.append(contentsOf: number.description.utf8)
  }

  /// A member that is true or false, if it is known.
  mutating func member(_ name: StaticString, _ flag: Bool?) {
    guard let flag else { return }
    key(name)
    bytes.append(contentsOf: (flag ? "true" : "false").utf8)
  }

  /// A member that is JSON already.
  mutating func member(_ name: StaticString, json: [UInt8]) {
    key(name)
    bytes.append(contentsOf: json)
  }

  /// A member that is a list of objects.
  mutating func list<Item>(_ name: StaticString, _ items: [Item], _ write: (inout LineWriter, Item) -> Void) {
    key(name)
    bytes.append(UInt8(ascii: "["))
    for (index, item) in items.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      open()
      write(&self, item)
      close()
    }
    bytes.append(UInt8(ascii: "]"))
  }
}

/// Reads the JSON that `LineWriter` writes, and no other: no spaces, no escapes but in what is skipped, no null.
struct LineReader {
  /// The text is not of this kind, which says nothing about whether it is JSON.
  struct Foreign: Error {}

  private let bytes: [UInt8]
  private var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Whether all was read.
  var isAtEnd: Bool { position == bytes.count }

  /// Reads an object; `member` reads the value of each key.
  mutating func object(_ member: (inout LineReader, String) throws(Foreign) -> Void) throws(Foreign) {
    try expect(UInt8(ascii: "{"))
    if take(UInt8(ascii: "}")) { return }
    repeat {
      let key = try string()
      try expect(UInt8(ascii: ":"))
      try member(&self, key)
    } while take(UInt8(ascii: ","))
    try expect(UInt8(ascii: "}"))
  }

  /// Reads a list; `item` reads each of its values.
  mutating func list(_ item: (inout LineReader) throws(Foreign) -> Void) throws(Foreign) {
    try expect(UInt8(ascii: "["))
    if take(UInt8(ascii: "]")) { return }
    repeat { try item(&self) } while take(UInt8(ascii: ","))
    try expect(UInt8(ascii: "]"))
  }

  mutating func string() throws(Foreign) -> String {
    let range = try stringRange()
    guard !bytes[range].contains(UInt8(ascii: "\\")), let text = String(validating: bytes[range], as: UTF8.self) else {
      throw Foreign()
    }
    return text
  }

  mutating func integer<Number: FixedWidthInteger>() throws(Foreign) -> Number {
    guard let number = Number(String(decoding: numberText(), as: UTF8.self)) else { throw Foreign() }
    return number
  }

  mutating func number() throws(Foreign) -> Double {
    guard let number = Double(String(decoding: numberText(), as: UTF8.self)), number.isFinite else { throw Foreign() }
    return number
  }

  mutating func bool() throws(Foreign) -> Bool {
    for (word, value) in [("true", true), ("false", false)] where bytes[position...].starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    throw Foreign()
  }

  /// The bytes of the value that comes next, whatever it is; only strings and brackets are looked at.
  mutating func value() throws(Foreign) -> [UInt8] {
    let start = position
    var depth = 0
    repeat {
      guard position < bytes.count else { throw Foreign() }
      switch bytes[position] {
      case UInt8(ascii: "\""): _ = try stringRange()
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        position += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        position += 1
      default: position += 1
      }
    } while depth > 0
    guard depth == 0, bytes[start] == UInt8(ascii: "{") || bytes[start] == UInt8(ascii: "[") else { throw Foreign() }
    return Array(bytes[start..<position])
  }

  private mutating func numberText() -> ArraySlice<UInt8> {
    let start = position
    while position < bytes.count, bytes[position] != UInt8(ascii: ","), bytes[position] != UInt8(ascii: "}"),
      bytes[position] != UInt8(ascii: "]")
    {
      position += 1
    }
    return bytes[start..<position]
  }

  private mutating func stringRange() throws(Foreign) -> Range<Int> {
    try expect(UInt8(ascii: "\""))
    let start = position
    while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
      position += bytes[position] == UInt8(ascii: "\\") ? 2 : 1
    }
    guard position < bytes.count else { throw Foreign() }
    defer { position += 1 }
    return start..<position
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ byte: UInt8) throws(Foreign) { guard take(byte) else { throw Foreign() } }
}
