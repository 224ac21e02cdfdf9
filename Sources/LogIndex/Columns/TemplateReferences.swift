/// Finds, in the messages of a block, the values of other columns of the same record.
struct TemplateReferences {
  static let lengthMinimum = 5
  static let lengthMaximum = 512
  static let columnsMaximum = 32
  /// So many values of a column that were not in their records' messages make it looked for only in one record of eight,
  /// until it is found again.
  static let missesMaximum = 64

  let shapes: ShapeTable
  let order: [UInt32]
  let rowShapes: [UInt32]
  let rowSpans: [UInt32]

  /// The references in the values of a column, and the columns they point to.
  func find(
    column: Int, _ spans: [Span], _ base: UnsafePointer<UInt8>
  ) -> ([Tokenizer.Reference], [Int]) {
    var columns: [Int] = []
    var numbers: [Int: UInt8] = [:]
    for (number, other) in shapes.columns.enumerated()
    where number != column && other.kind == SlotKind.string && columns.count < Self.columnsMaximum
      && (other.role == .call || other.role == .none)
    {
      numbers[number] = UInt8(columns.count)
      columns.append(number)
    }
    // Of each shape: where the message stands, and the values that may be in it.
    let plans = shapes.shapes.map { shape -> (Int, [(Int, UInt8)])? in
      guard let message = shape.slots.firstIndex(where: { $0.column == column && !SlotKind.isTime($0.kind) }) else {
        return nil
      }
      let others = shape.slots.enumerated().compactMap { offset, slot in
        SlotKind.isTime(slot.kind) ? nil : numbers[slot.column].map { (offset, $0) }
      }
      return (message, others)
    }
    var found: [Tokenizer.Reference] = []
    var misses = Array(repeating: 0, count: columns.count)
    var value = 0
    for row in order {
      guard let (message, others) = plans[Int(rowShapes[Int(row)])] else { continue }
      defer { value += 1 }
      let start = Int(rowSpans[Int(row)])
      let text = spans[start + message]
      // A longer one becomes no template, and would only cost the search.
      guard text.length <= Tokenizer.bytesMaximum else { continue }
      var here: [Tokenizer.Reference] = []
      for (offset, number) in others {
        if misses[Int(number)] > Self.missesMaximum, value & 7 != 0 { continue }
        let wanted = spans[start + offset]
        guard wanted.length >= Self.lengthMinimum, wanted.length <= Self.lengthMaximum, wanted.length <= text.length
        else { continue }
        guard let span = Self.place(wanted, text, base) else {
          misses[Int(number)] += 1
          continue
        }
        misses[Int(number)] = 0
        if here.allSatisfy({ $0.span.end <= Int(span.start) || span.end <= Int($0.span.start) }) {
          here.append(Tokenizer.Reference(value: value, span: span, number: number))
        }
      }
      if here.count > 1 { here.sort { $0.span.start < $1.span.start } }
      found += here
    }
    return (found, columns)
  }

  /// The first place of a text in another where both its sides are edges of words.
  private static func place(_ wanted: Span, _ text: Span, _ base: UnsafePointer<UInt8>) -> Span? {
    guard
      let found = ByteSearch.find(
        base + Int(wanted.start), Int(wanted.length), in: base + Int(text.start), Int(text.length))
    else { return nil }
    let start = Int(text.start) + found
    let end = start + Int(wanted.length)
    if start > Int(text.start), ASCII.isWord(base[start - 1]) || base[start - 1] == 0x5C { return nil }
    if end < text.end, ASCII.isWord(base[end]) { return nil }
    return Span(start, end)
  }
}
