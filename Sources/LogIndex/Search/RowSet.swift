/// A set of a block's records.
struct RowSet: Sendable, Equatable {
  private(set) var words: [UInt64]
  let rows: Int

  init(rows: Int) {
    self.rows = rows
    words = Array(repeating: 0, count: (rows + 63) / 64)
  }

  static func all(_ rows: Int) -> RowSet {
    var set = RowSet(rows: rows)
    for index in set.words.indices { set.words[index] = .max }
    if rows % 64 != 0, !set.words.isEmpty { set.words[set.words.count - 1] = (1 << UInt64(rows % 64)) - 1 }
    return set
  }

  var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }
  var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

  @inline(__always) func contains(_ row: Int) -> Bool { words[row >> 6] >> UInt64(row & 63) & 1 != 0 }
  @inline(__always) mutating func insert(_ row: Int) { words[row >> 6] |= 1 << UInt64(row & 63) }
  @inline(__always) mutating func remove(_ row: Int) { words[row >> 6] &= ~(1 << UInt64(row & 63)) }

  mutating func setWord(_ place: Int, _ word: UInt64) { words[place] = word }

  mutating func formUnion(_ other: RowSet) { for index in words.indices { words[index] |= other.words[index] } }
  mutating func formIntersection(_ other: RowSet) { for index in words.indices { words[index] &= other.words[index] } }
  mutating func subtract(_ other: RowSet) { for index in words.indices { words[index] &= ~other.words[index] } }

  /// Calls `body` with each record, in order.
  @inline(__always) func forEach<E: Error>(_ body: (Int) throws(E) -> Void) throws(E) {
    for (index, word) in words.enumerated() {
      var rest = word
      while rest != 0 {
        try body(index << 6 + rest.trailingZeroBitCount)
        rest &= rest - 1
      }
    }
  }
}
