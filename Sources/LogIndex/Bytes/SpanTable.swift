/// Numbers the distinct texts among spans of one buffer, in the order of their first occurrence.
///
/// Open addressing over the spans themselves: a text is never copied.
struct SpanTable {
  private let seed = ByteHash.seed
  private var slots: [Int32]
  /// The high and the low half of each distinct text's hash.
  private var hashes: [UInt32] = []
  private var lows: [UInt32] = []
  /// The first span of each distinct text.
  private(set) var spans: [Span] = []

  init(capacity: Int = 64) {
    var size = 64
    while size < capacity * 2 { size *= 2 }
    slots = Array(repeating: -1, count: size)
  }

  var count: Int { spans.count }

  mutating func number(_ span: Span, _ base: UnsafePointer<UInt8>) -> Int {
    let hash = ByteHash.hash(base + Int(span.start), Int(span.length), seed: seed)
    let short = UInt32(truncatingIfNeeded: hash >> 32)
    var place = Int(truncatingIfNeeded: hash) & (slots.count - 1)
    while true {
      let found = slots[place]
      if found < 0 { break }
      let other = spans[Int(found)]
      if hashes[Int(found)] == short, other.isSame(span, base) { return Int(found) }
      place = (place + 1) & (slots.count - 1)
    }
    slots[place] = Int32(truncatingIfNeeded: spans.count)
    spans.append(span)
    hashes.append(short)
    lows.append(UInt32(truncatingIfNeeded: hash))
    if spans.count * 2 > slots.count { grow() }
    return spans.count - 1
  }

  private mutating func grow() {
    slots = Array(repeating: -1, count: slots.count * 2)
    for (number, low) in lows.enumerated() {
      var place = Int(low) & (slots.count - 1)
      while slots[place] >= 0 { place = (place + 1) & (slots.count - 1) }
      slots[place] = Int32(truncatingIfNeeded: number)
    }
  }
}
