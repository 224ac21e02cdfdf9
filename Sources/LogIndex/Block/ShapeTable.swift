internal import Glibc

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
  private var table: [UInt64: Int] = [:]
  private var flats: [[UInt8]] = [[]]
  private var scratch: [UInt8] = []

  /// The shape of a line the scanner has just read; 0 for one that is kept whole.
  mutating func number(_ slots: [LineSlot], _ line: UnsafePointer<UInt8>, _ count: Int) -> Int {
    flatten(slots, line, count)
    let hash = scratch.withUnsafeBufferPointer { text in
      text.baseAddress.map { ByteHash.hash($0, text.count) } ?? 0
    }
    if let number = table[hash] { return flats[number] == scratch ? number : 0 }
    guard shapes.count < Self.shapesMaximum, columns.count + slots.count < Self.columnsMaximum,
      slotsTotal + slots.count <= Self.slotsMaximum
    else { return 0 }
    slotsTotal += slots.count
    table[hash] = shapes.count
    flats.append(scratch)
    shapes.append(shape(slots, line, count))
    return shapes.count - 1
  }

  /// The line with each value replaced by a byte that no line has and the value's kind.
  private mutating func flatten(_ slots: [LineSlot], _ line: UnsafePointer<UInt8>, _ count: Int) {
    scratch.removeAll(keepingCapacity: true)
    var start = 0
    for slot in slots {
      scratch.append(contentsOf: UnsafeBufferPointer(start: line + start, count: Int(slot.start) - start))
      scratch.append(0)
      scratch.append(slot.kind)
      start = Int(slot.end)
    }
    scratch.append(contentsOf: UnsafeBufferPointer(start: line + start, count: count - start))
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
