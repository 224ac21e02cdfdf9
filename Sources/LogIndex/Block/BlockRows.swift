internal import Synchronization

/// Which shape each record has, and which of a column's values is a record's.
final class BlockRows: Sendable {
  let shapes: Numbers
  /// By shape and column: whether records of the shape have a value there.
  private let members: [Bool]
  private let columns: Int
  /// By column: the number of the set of shapes that have it.
  private let kinds: [Int]
  /// By set of shapes: the records that are of one, once somebody asked.
  private let known: Mutex<[Presence?]>

  init(_ shapes: Numbers, shapes all: [Shape], counts: [Int]) throws(BlockFault) {
    self.shapes = shapes
    columns = counts.count
    var perShape = Array(repeating: 0, count: all.count)
    shapes.withReader { shapes in for row in 0..<shapes.count { perShape[Int(shapes[row])] += 1 } }
    var members = Array(repeating: false, count: all.count * counts.count)
    var owners: [[Int32]] = Array(repeating: [], count: counts.count)
    var totals = Array(repeating: 0, count: counts.count)
    for (number, shape) in all.enumerated() {
      for slot in shape.slots where !SlotKind.isTime(slot.kind) {
        let place = number * counts.count + slot.column
        guard !members[place] else { throw BlockFault("a shape has a column twice") }
        members[place] = true
        totals[slot.column] += perShape[number]
        if perShape[number] > 0 { owners[slot.column].append(Int32(truncatingIfNeeded: number)) }
      }
    }
    guard totals == counts else { throw BlockFault("a column's values do not match the records") }
    self.members = members
    var numbers: [[Int32]: Int] = [:]
    kinds = owners.map { owners in
      if let number = numbers[owners] { return number }
      numbers[owners] = numbers.count
      return numbers.count - 1
    }
    known = Mutex(Array(repeating: nil, count: numbers.count))
  }

  var heldBytes: Int {
    shapes.heldBytes + members.count + kinds.count * 8
      + known.withLock { $0.reduce(0) { $0 + ($1?.heldBytes ?? 0) + 24 } }
  }

  @inline(__always) func has(_ shape: UInt32, _ column: Int) -> Bool { members[Int(shape) * columns + column] }

  /// The records that have a value in a column.
  func presence(_ column: Int) -> Presence {
    let kind = kinds[column]
    if let presence = known.withLock({ $0[kind] }) { return presence }
    let owners = (0..<(members.count / max(1, columns))).map { members[$0 * columns + column] }
    let presence = Presence(shapes, owners)
    known.withLock { $0[kind] = presence }
    return presence
  }

  /// Which of a column's values belongs to a record that has one there.
  func ordinal(_ row: Int, _ column: Int) -> Int { presence(column).ordinal(row) }
}

/// The records that have a value in a column, and how many of them there are before any record.
struct Presence: Sendable {
  /// Whether all records have one.
  let isAll: Bool
  let rows: RowSet
  /// By word of the set.
  private let before: [UInt32]

  init(_ shapes: Numbers, _ owners: [Bool]) {
    var rows = RowSet(rows: shapes.count)
    var before: [UInt32] = []
    before.reserveCapacity(rows.words.count)
    var total = 0
    shapes.withReader { shapes in
      for word in rows.words.indices {
        before.append(UInt32(truncatingIfNeeded: total))
        var bits: UInt64 = 0
        for row in (word << 6)..<min(word << 6 + 64, rows.rows) where owners[Int(shapes[row])] {
          bits |= 1 << UInt64(row & 63)
        }
        rows.setWord(word, bits)
        total += bits.nonzeroBitCount
      }
    }
    self.rows = rows
    isAll = total == rows.rows
    self.before = isAll ? [] : before
  }

  var heldBytes: Int { rows.words.count * 8 + before.count * 4 }

  /// How many values stand before a record's.
  @inline(__always) func ordinal(_ row: Int) -> Int {
    if isAll { return row }
    let below = rows.words[row >> 6] & ((1 << UInt64(row & 63)) &- 1)
    return Int(before[row >> 6]) + below.nonzeroBitCount
  }
}
