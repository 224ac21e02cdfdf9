/// Numbers the shapes of lines and gives their values columns.
struct ShapeTable {
  static let shapesMaximum = 2_048
  static let columnsMaximum = 4_096

  /// What a column is made of and what it is called.
  struct Column {
    var kind: UInt8
    var role: LineRole
  }

  private struct ColumnKey: Hashable {
    var path: [UInt8]
    var kind: UInt8
    var occurrence: Int
  }

  /// Values of all shapes together: each costs a reader some 150 bytes while the block is open.
  static let slotsMaximum = 65_536
  private var slotsTotal = 0

  private(set) var shapes: [Shape] = [.whole(column: 0)]
  private(set) var columns: [Column] = [Column(kind: SlotKind.raw, role: .none)]
  private var keys: [ColumnKey: Int] = [:]
  private let seed = ByteHash.seed
  private var table = HashIndex()
  /// Of each shape: the next with the same hash, 0 for none.
  private var others: [Int] = [0]
  /// What stands between values, of all shapes one after another, and where each shape's begins.
  private var gaps: [Gap] = []
  private var gapStarts: [Int] = [0, 0]
  private var gapBytes: [UInt8] = []

  /// A text of a shape and the kind of the value behind it.
  private struct Gap {
    var start: UInt32
    var count: UInt32
    var kind: UInt8
  }

  /// Shapes of one hash that are compared; the lines of more are kept whole.
  private static let othersMaximum = 8

  /// The shape of a line the scanner has just read; 0 for one that is kept whole.
  mutating func number(_ slots: [LineSlot], _ line: UnsafePointer<UInt8>, _ count: Int) -> Int {
    let hash = hash(slots, line, count)
    let first = table[hash] ?? 0
    var candidate = first
    for _ in 0..<Self.othersMaximum where candidate > 0 {
      if isSame(candidate, slots, line, count) { return candidate }
      candidate = others[candidate]
    }
    guard candidate == 0, shapes.count < Self.shapesMaximum, columns.count + slots.count < Self.columnsMaximum,
      slotsTotal + slots.count <= Self.slotsMaximum
    else { return 0 }
    slotsTotal += slots.count
    let number = shapes.count
    if first > 0 {
      others.append(others[first])
      others[first] = number
    } else {
      others.append(0)
      table.insert(hash, number)
    }
    let made = shape(slots, line, count)
    shapes.append(made)
    for (place, gap) in made.gaps.enumerated() {
      let kind = place < made.slots.count ? made.slots[place].kind : 0
      gaps.append(Gap(start: UInt32(gapBytes.count), count: UInt32(gap.count), kind: kind))
      gapBytes += gap
    }
    gapStarts.append(gaps.count)
    return number
  }

  /// A hash of the kinds of values and of how much stands between them, and what right before each.
  private func hash(_ slots: [LineSlot], _ line: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    var hash = seed ^ UInt64(truncatingIfNeeded: slots.count)
    var start: Int32 = 0
    for slot in slots {
      var word = UInt64(truncatingIfNeeded: slot.start - start) << 8 | UInt64(slot.kind)
      if slot.start >= 12 {
        word ^= UnsafeRawPointer(line).loadUnaligned(fromByteOffset: Int(slot.start) - 12, as: UInt64.self) << 1
      }
      // A value that is next to another value is not part of the shape.
      if slot.start - start < 12 { word = UInt64(truncatingIfNeeded: slot.start - start) << 8 | UInt64(slot.kind) }
      hash = ByteHash.mix(hash ^ word)
      start = slot.end
    }
    return ByteHash.mix(hash ^ UInt64(truncatingIfNeeded: count - Int(start)))
  }

  /// Whether the line is the shape with other values.
  private func isSame(_ shape: Int, _ slots: [LineSlot], _ line: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    let first = gapStarts[shape]
    guard gapStarts[shape + 1] - first == slots.count + 1 else { return false }
    return gaps.withUnsafeBufferPointer { gaps in
      gapBytes.withUnsafeBufferPointer { bytes in
        guard let base = bytes.baseAddress else { return false }
        var start = 0
        for (place, slot) in slots.enumerated() {
          let gap = gaps[first + place]
          guard gap.kind == slot.kind, Int(gap.count) == Int(slot.start) - start,
            ByteSearch.isSame(base + Int(gap.start), line + start, Int(gap.count))
          else { return false }
          start = Int(slot.end)
        }
        let last = gaps[first + slots.count]
        return Int(last.count) == count - start
          && ByteSearch.isSame(base + Int(last.start), line + start, count - start)
      }
    }
  }

  private mutating func shape(_ slots: [LineSlot], _ line: UnsafePointer<UInt8>, _ count: Int) -> Shape {
    var gaps: [[UInt8]] = []
    var made: [Shape.Slot] = []
    var start = 0
    var path = KeyPath()
    var wasString = false
    var seen: [[UInt8]: Int] = [:]
    for slot in slots {
      let gap = Array(UnsafeBufferPointer(start: line + start, count: Int(slot.start) - start))
      gaps.append(gap)
      path.read(gap, afterString: wasString)
      wasString = slot.kind == SlotKind.string || SlotKind.isTime(slot.kind)
      start = Int(slot.end)
      if SlotKind.isTime(slot.kind) {
        made.append(Shape.Slot(column: 0, kind: slot.kind))
        continue
      }
      let name = path.text
      seen[name, default: 0] += 1
      let key = ColumnKey(path: name, kind: slot.kind, occurrence: seen[name] ?? 1)
      made.append(Shape.Slot(column: column(key, slot.role), kind: slot.kind))
    }
    gaps.append(Array(UnsafeBufferPointer(start: line + start, count: count - start)))
    return Shape(gaps: gaps, slots: made)
  }

  private mutating func column(_ key: ColumnKey, _ role: LineRole) -> Int {
    if let number = keys[key] { return number }
    keys[key] = columns.count
    columns.append(Column(kind: key.kind, role: role))
    return columns.count - 1
  }
}

/// The keys above a value, read off the texts between a line's values.
private struct KeyPath {
  private var keys: [[UInt8]] = []
  private var last: [UInt8] = []

  var text: [UInt8] { keys.reduce(into: []) { $0 += $1 + [0] } + last }

  /// Reads on; after a string the text begins with the quote that ends it.
  mutating func read(_ gap: [UInt8], afterString: Bool) {
    var index = afterString ? 1 : 0
    var isString = false
    var start = 0
    while index < gap.count {
      let byte = gap[index]
      if isString {
        if byte == 0x5C {
          index += 1
        } else if byte == 0x22 {
          isString = false
          last = Array(gap[start..<index])
        }
      } else if byte == 0x22 {
        // The last quote begins the next value.
        isString = index + 1 < gap.count
        start = index + 1
      } else if byte == 0x7B {
        keys.append(last)
      } else if byte == 0x7D {
        if !keys.isEmpty { keys.removeLast() }
      }
      index += 1
    }
  }
}
