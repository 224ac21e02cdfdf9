/// Ids of requests that brought none.
enum RequestID {
  /// A random UUID of version 4.
  static func make() -> String {
    var high = UInt64.random(in: 0 ... .max)
    var low = UInt64.random(in: 0 ... .max)
    high = high & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
    low = low & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    let digits = Array(pad(high) + pad(low))
    return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(digits[$0]) }.joined(separator: "-")
  }

  private static func pad(_ word: UInt64) -> String {
    let text = String(word, radix: 16)
    return String(repeating: "0", count: 16 - text.utf8.count) + text
  }

  /// The id that a line names, of those given: one that stands there whole (`order-1` is not in `order-12`), and of several
  /// the longest, because callers choose ids, and short ones are everywhere.
  static func named(in line: ArraySlice<UInt8>, of ids: some Sequence<String>) -> String? {
    ids.filter { isNamed(Array($0.utf8), in: line) }.max { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
  }

  private static func isNamed(_ id: [UInt8], in line: ArraySlice<UInt8>) -> Bool {
    guard let first = id.first else { return false }
    var from = line.startIndex
    while let found = line[from...].firstIndex(of: first), found + id.count <= line.endIndex {
      let end = found + id.count
      let standsAlone =
        (found == line.startIndex || !isPart(line[found - 1])) && (end == line.endIndex || !isPart(line[end]))
      if standsAlone, line[found..<end].elementsEqual(id) { return true }
      from = found + 1
    }
    return false
  }

  /// Whether a byte beside an id makes it part of a longer word. A full stop and a colon, which ids may have, do not: they
  /// follow ids in sentences.
  private static func isPart(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"),
      UInt8(ascii: "-"), UInt8(ascii: "_"):
      true
    default: false
    }
  }
}
