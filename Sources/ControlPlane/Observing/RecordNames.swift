internal import Glibc

/// What a line says at its top about where it is from, read without decoding the rest: the log service reads the line
/// once more and refuses what is not JSON.
struct RecordNames {
  /// The members that say it.
  private static let keys: [[UInt8]] = ["namespace", "function", "revision", "pod", "node", "stream"].map {
    Array($0.utf8)
  }

  let namespace: String
  let function: String
  let revision: String
  let pod: String
  let node: String
  let stream: String
  /// Where the last of them ends: the quote behind it.
  let end: Int

  /// The names of a line; nil when one is missing, there twice, or spelled with escapes. What the log service makes of such
  /// lines is not for here to know.
  init?(_ line: [UInt8]) {
    var found: [Range<Int>?] = Array(repeating: nil, count: Self.keys.count)
    let isPlain = line.withUnsafeBufferPointer { bytes in
      var members = TopMembers(bytes, at: 0)
      while let member = members.next() {
        guard !bytes[member.key].contains(0x5C) else { return false }
        guard let place = Self.keys.firstIndex(where: { bytes[member.key].elementsEqual($0) }) else { continue }
        let isText = bytes[member.value.lowerBound] == 0x22 && !bytes[member.value].contains(0x5C)
        guard found[place] == nil, isText else { return false }
        found[place] = (member.value.lowerBound + 1)..<(member.value.upperBound - 1)
      }
      return members.isWhole
    }
    let ranges = found.compactMap(\.self)
    guard isPlain, ranges.count == Self.keys.count else { return nil }
    let texts = ranges.map { String(decoding: line[$0], as: UTF8.self) }
    (namespace, function, revision) = (texts[0], texts[1], texts[2])
    (pod, node, stream) = (texts[3], texts[4], texts[5])
    end = ranges.map(\.upperBound).max() ?? 0
  }

  /// Whether none of the members behind a text, whose last quote this is, says it once more; looks at every byte once and
  /// keeps none.
  static func areAbsent(in line: [UInt8], behind quote: Int) -> Bool {
    line.withUnsafeBufferPointer { bytes in
      var members = TopMembers(bytes, at: quote + 1)
      while let member = members.next() {
        if bytes[member.key].contains(0x5C) { return false }
        guard (3...9).contains(member.key.count) else { continue }
        if keys.contains(where: { $0.count == member.key.count && bytes[member.key].elementsEqual($0) }) {
          return false
        }
      }
      return members.isWhole
    }
  }
}

/// Walks the members at the top of a JSON object without blanks between them. Of what is no JSON it may see anything, but
/// nothing that is not there.
private struct TopMembers {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var at: Int
  /// The object ended with the last byte.
  private(set) var isWhole = false

  /// Begins at the object's brace, or behind one of its values.
  init(_ bytes: UnsafeBufferPointer<UInt8>, at start: Int) {
    self.bytes = bytes
    at = start
  }

  /// The next member: its key without the quotes, its value with them; nil at the end, or where this is no object.
  mutating func next() -> (key: Range<Int>, value: Range<Int>)? {
    guard at < bytes.count else { return nil }
    if bytes[at] == 0x7D {
      isWhole = at == bytes.count - 1
      return nil
    }
    // A brace begins the object, a comma each further member.
    guard bytes[at] == (at == 0 ? 0x7B : 0x2C), at + 1 < bytes.count, bytes[at + 1] == 0x22,
      let keyEnd = Self.end(ofText: at + 1, bytes), keyEnd < bytes.count, bytes[keyEnd] == 0x3A,
      let valueEnd = Self.end(ofValue: keyEnd + 1, bytes)
    else { return nil }
    let key = (at + 2)..<(keyEnd - 1)
    at = valueEnd
    return (key, (keyEnd + 1)..<valueEnd)
  }

  /// Behind the last quote of a text that begins with this one.
  private static func end(ofText start: Int, _ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
    guard let base = bytes.baseAddress else { return nil }
    var from = start + 1
    while from < bytes.count, let found = memchr(base + from, 0x22, bytes.count - from) {
      let quote = UnsafeRawPointer(base).distance(to: found)
      var slashes = 0
      while bytes[quote - 1 - slashes] == 0x5C { slashes += 1 }
      if slashes % 2 == 0 { return quote + 1 }
      from = quote + 1
    }
    return nil
  }

  /// Behind a value.
  private static func end(ofValue start: Int, _ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
    var at = start
    var depth = 0
    while at < bytes.count {
      switch bytes[at] {
      case 0x22:
        guard let end = end(ofText: at, bytes) else { return nil }
        at = end
        if depth == 0 { return at }
        continue
      case 0x7B, 0x5B: depth += 1
      case 0x7D, 0x5D:
        if depth == 0 { return at > start ? at : nil }
        depth -= 1
        if depth == 0 { return at + 1 }
      case 0x2C: if depth == 0 { return at > start ? at : nil }
      default: break
      }
      at += 1
    }
    return nil
  }
}
