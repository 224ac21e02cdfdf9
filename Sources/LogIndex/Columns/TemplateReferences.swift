/// Says which values of other columns may be in the messages of a block: those of the same record.
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
  let spans: [Span]

  /// What to look for in the values of a column, one after another.
  func source(column: Int) -> Source { Source(self, column) }

  struct Source {
    /// The columns references point to.
    private(set) var columns: [Int] = []
    /// What may be in the next value.
    private(set) var wanted: [Tokenizer.Wanted] = []
    private let order: [UInt32]
    private let rowShapes: [UInt32]
    private let rowSpans: [UInt32]
    private let spans: [Span]
    /// Of each shape that has the column: the values that may be in it.
    private var plans: [[(offset: Int, number: UInt8)]?] = []
    private var misses: [Int]
    private var place = 0
    private var value = 0

    /// Nothing to look for.
    static let none = Source()

    private init() {
      (order, rowShapes, rowSpans, spans, misses) = ([], [], [], [], [])
    }

    fileprivate init(_ all: TemplateReferences, _ column: Int) {
      (order, rowShapes, rowSpans, spans) = (all.order, all.rowShapes, all.rowSpans, all.spans)
      var numbers: [Int: UInt8] = [:]
      for (number, other) in all.shapes.columns.enumerated()
      where number != column && other.kind == SlotKind.string && columns.count < TemplateReferences.columnsMaximum
        && (other.role == .call || other.role == .none)
      {
        numbers[number] = UInt8(columns.count)
        columns.append(number)
      }
      misses = Array(repeating: 0, count: columns.count)
      plans = all.shapes.shapes.map { shape in
        guard shape.slots.contains(where: { $0.column == column && !SlotKind.isTime($0.kind) }) else { return nil }
        return shape.slots.enumerated().compactMap { offset, slot in
          SlotKind.isTime(slot.kind) ? nil : numbers[slot.column].map { (offset, $0) }
        }
      }
    }

    /// Goes on to the column's next value.
    mutating func advance() {
      wanted.removeAll(keepingCapacity: true)
      while place < order.count {
        let row = Int(order[place])
        place += 1
        guard let others = plans[Int(rowShapes[row])] else { continue }
        let start = Int(rowSpans[row])
        for (offset, number) in others {
          if misses[Int(number)] > TemplateReferences.missesMaximum, value & 7 != 0 { continue }
          let span = spans[start + offset]
          if span.length >= TemplateReferences.lengthMinimum, span.length <= TemplateReferences.lengthMaximum {
            wanted.append(Tokenizer.Wanted(span: span, number: number))
          }
        }
        value += 1
        return
      }
    }

    /// Notes which of what was wanted the value has, a bit for each number.
    mutating func note(found: UInt32) {
      for item in wanted {
        misses[Int(item.number)] = found >> UInt32(item.number) & 1 != 0 ? 0 : misses[Int(item.number)] + 1
      }
    }
  }
}
