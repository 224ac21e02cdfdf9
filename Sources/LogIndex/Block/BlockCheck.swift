/// Proves that a block gives back every record of a memtable: reads its columns whole, and walks each record's bytes beside
/// what they say.
///
/// It reads the file in a way of its own, not by the readers of queries: they share the decoding of integers and of the
/// file's parts, and nothing else.
final class BlockCheck {
  private let block: Block
  private let plan: CheckPlan
  private let views: UnsafePointer<FlatList.View>
  private let gaps: UnsafePointer<CheckPlan.Gap>
  private let gapStarts: UnsafePointer<Int>
  private let bodies: UnsafePointer<Int>
  private let templates: UnsafePointer<CheckPlan.Templates>
  private let literals: UnsafePointer<UInt8>
  /// The values of each column before the record that is walked.
  private let next: UnsafeMutablePointer<Int>
  private var clock = TimeText()

  init(_ block: Block) throws(BlockFault) {
    self.block = block
    plan = try CheckPlan(block)
    views = plan.pin(plan.views)
    gaps = plan.pin(plan.gaps)
    gapStarts = plan.pin(plan.gapStarts)
    bodies = plan.pin(plan.bodies)
    templates = plan.pin(plan.templates)
    literals = plan.pin(plan.literals)
    next = .allocate(capacity: max(1, block.columnCounts.count))
    next.initialize(repeating: 0, count: max(1, block.columnCounts.count))
  }

  deinit { next.deallocate() }

  /// Throws unless the block holds exactly the memtable's records: each number once, each byte, each time.
  func run(_ table: Memtable) throws(BlockFault) {
    let count = block.rowCount
    guard count == table.readable.rows, block.header.firstID == table.firstID else {
      throw BlockFault("it has \(count) records instead of \(table.readable.rows)")
    }
    let (rows, times, arrivals) = (try block.rows(), try block.times(), try block.arrivals())
    var seen = RowSet(rows: count)
    for row in 0..<count {
      let arrival = Int(arrivals[row])
      let wanted = table.row(arrival)
      let shape = Int(rows.shapes[row])
      guard wanted.time == times[row], !seen.contains(arrival),
        try isSame(shape, wanted.time, table.base + Int(wanted.start), Int(wanted.length))
      else { throw BlockFault("record \(arrival) is another than it was") }
      seen.insert(arrival)
    }
  }

  /// Whether the record whose values come next is spelled so.
  private func isSame(
    _ shape: Int, _ time: Int64, _ line: UnsafePointer<UInt8>, _ length: Int
  ) throws(BlockFault) -> Bool {
    var place = 0
    for index in gapStarts[shape]..<gapStarts[shape + 1] {
      let gap = gaps[index]
      guard gap.count <= length - place, ByteSearch.isSame(literals + gap.start, line + place, gap.count) else {
        return false
      }
      place += gap.count
      if gap.kind == CheckPlan.last { break }
      let text: Int?
      if SlotKind.isTime(gap.kind) {
        text = clock.matches(time, digits: Int(gap.kind - SlotKind.time), line + place, length - place)
      } else {
        text = try matches(gap.column, shape, line + place, length - place)
      }
      guard let text else { return false }
      place += text
    }
    for index in gapStarts[shape]..<gapStarts[shape + 1] where gaps[index].kind <= SlotKind.raw {
      next[gaps[index].column] += 1
    }
    return place == length
  }

  /// The length of a column's next value when the text begins with it.
  @inline(__always) private func matches(
    _ column: Int, _ shape: Int, _ text: UnsafePointer<UInt8>, _ left: Int
  ) throws(BlockFault) -> Int? {
    let body = bodies[column]
    return body >= 0
      ? views[body].matches(next[column], text, left)
      : try matches(templates[-body - 1], next[column], shape, text, left)
  }

  private func matches(
    _ templates: CheckPlan.Templates, _ index: Int, _ shape: Int, _ text: UnsafePointer<UInt8>, _ left: Int
  ) throws(BlockFault) -> Int? {
    let number = Int(templates.numbers[index])
    let rank = Int(templates.ranks[index])
    var place = 0
    for index in templates.starts[number]..<templates.starts[number + 1] {
      let piece = templates.pieces[index]
      switch piece.kind {
      case .literal:
        guard piece.count <= left - place, ByteSearch.isSame(literals + piece.start, text + place, piece.count) else {
          return nil
        }
        place += piece.count
      case .variable:
        guard let length = views[piece.start].matches(rank, text + place, left - place) else { return nil }
        place += length
      case .reference:
        guard let length = try refers(piece.start, shape, text + place, left - place) else { return nil }
        place += length
      }
    }
    return place
  }

  /// The length of the value another column has in this record when the text begins with it.
  private func refers(
    _ column: Int, _ shape: Int, _ text: UnsafePointer<UInt8>, _ left: Int
  ) throws(BlockFault) -> Int? {
    let isThere =
      column < block.columnCounts.count
      && (gapStarts[shape]..<gapStarts[shape + 1]).contains {
        gaps[$0].kind <= SlotKind.raw && gaps[$0].column == column
      }
    guard isThere else { throw BlockFault("a template refers to nothing") }
    if bodies[column] < 0, templates[-bodies[column] - 1].refers {
      throw BlockFault("a template refers to another with references")
    }
    return try matches(column, shape, text, left)
  }
}

extension Block {
  /// Throws unless it holds exactly the memtable's records: each number once, each byte, each time.
  func check(holds table: Memtable) throws(BlockFault) { try BlockCheck(self).run(table) }
}

/// The shapes and columns of a block laid out flat.
private final class CheckPlan {
  /// What stands before a value of a shape.
  struct Gap {
    var start: Int
    var count: Int
    var column: Int
    var kind: UInt8
  }

  /// The kind of the last gap of a shape, without a value behind it.
  static let last: UInt8 = 0xFF

  struct Piece {
    enum Kind { case literal, variable, reference }

    var kind: Kind
    /// Of a literal where it begins, of a variable its list, of a reference its column.
    var start: Int
    var count = 0
  }

  /// A column of templates.
  struct Templates {
    var numbers: UnsafePointer<UInt32>
    /// How many values before each have the same template.
    var ranks: UnsafePointer<UInt32>
    var pieces: UnsafePointer<Piece>
    /// Where each template's pieces begin; one more than there are templates.
    var starts: UnsafePointer<Int>
    var refers: Bool
  }

  private(set) var gaps: [Gap] = []
  /// Where each shape's gaps begin; one more than there are shapes.
  private(set) var gapStarts: [Int] = [0]
  /// Each column's list; of one with templates, its place among those, negative.
  private(set) var bodies: [Int] = []
  private(set) var templates: [Templates] = []
  private(set) var views: [FlatList.View] = []
  /// The texts of shapes and templates.
  private(set) var literals: [UInt8] = []
  /// What the views point into.
  private var lists: [FlatList] = []
  private var pinned: [UnsafeMutableRawPointer] = []
  private let block: Block

  init(_ block: Block) throws(BlockFault) {
    self.block = block
    for shape in block.shapes {
      for (number, gap) in shape.gaps.enumerated() {
        let slot = number < shape.slots.count ? shape.slots[number] : nil
        gaps.append(
          Gap(start: literals.count, count: gap.count, column: slot?.column ?? 0, kind: slot?.kind ?? Self.last))
        literals += gap
      }
      gapStarts.append(gaps.count)
    }
    for (column, count) in zip(block.columns, block.columnCounts) {
      if case .template(let column) = column {
        templates.append(try templates(column))
        bodies.append(-templates.count)
      } else {
        bodies.append(keep(try FlatList(column, count: count, of: block)))
      }
    }
  }

  deinit { for place in pinned { place.deallocate() } }

  /// A copy that stays where it is as long as the plan.
  func pin<Element>(_ array: [Element]) -> UnsafePointer<Element> {
    let place = UnsafeMutablePointer<Element>.allocate(capacity: max(1, array.count))
    array.withUnsafeBufferPointer { if let base = $0.baseAddress { place.initialize(from: base, count: $0.count) } }
    pinned.append(UnsafeMutableRawPointer(place))
    return UnsafePointer(place)
  }

  private func keep(_ list: FlatList) -> Int {
    lists.append(list)
    views.append(list.view)
    return views.count - 1
  }

  private func templates(_ column: TemplateColumn) throws(BlockFault) -> Templates {
    var counts = Array(repeating: UInt32(0), count: column.templates.count + 1)
    var numbers: [UInt32] = []
    var ranks: [UInt32] = []
    for number in try block.values(column.numbers) {
      guard number < counts.count else { throw BlockFault("a number points nowhere") }
      numbers.append(UInt32(truncatingIfNeeded: number))
      ranks.append(counts[Int(number)])
      counts[Int(number)] += 1
    }
    // Values without a template are one that is all variable.
    let plain = keep(try FlatList(firstText: column.firstText, count: Int(counts[0]), of: block))
    var pieces = [Piece(kind: .variable, start: plain)]
    var starts = [0, 1]
    var refers = false
    for (number, template) in column.templates.enumerated() {
      guard template.count >= counts[number + 1] else { throw BlockFault("a template's variables are missing") }
      for piece in column.pieces.pieces[column.pieces.range(number)] {
        switch piece.kind {
        case .literal:
          let text = column.pieces.text(piece)
          pieces.append(Piece(kind: .literal, start: literals.count, count: text.count))
          literals += text
        case .variable:
          let variable = column.variables[template.firstVariable + piece.number]
          pieces.append(
            Piece(kind: .variable, start: keep(try FlatList(variable, count: template.count, of: block))))
        case .reference:
          refers = true
          pieces.append(Piece(kind: .reference, start: column.columns[piece.number]))
        }
      }
      starts.append(pieces.count)
    }
    return Templates(
      numbers: pin(numbers), ranks: pin(ranks), pieces: pin(pieces), starts: pin(starts), refers: refers)
  }
}

/// Spells times one after another; those of one second cost little more than their fractions.
private struct TimeText {
  private var second = Int64.min
  private var text: [UInt8] = []

  /// The length of a time in its spelling with so many digits when the text begins with it.
  mutating func matches(_ time: Int64, digits: Int, _ wanted: UnsafePointer<UInt8>, _ left: Int) -> Int? {
    let billion: Int64 = 1_000_000_000
    let fraction = ((time % billion) + billion) % billion
    if time - fraction != second || text.isEmpty {
      second = time - fraction
      text.removeAll(keepingCapacity: true)
      RecordTime.append(second, digits: 9, to: &text)
    }
    let length = digits == 0 ? 20 : 21 + digits
    guard length <= left, text.count == 30, wanted[length - 1] == 0x5A else { return nil }
    var rest = fraction
    for place in stride(from: 28, through: 20, by: -1) {
      text[place] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    return text.withUnsafeBufferPointer { text in
      text.baseAddress.map { ByteSearch.isSame($0, wanted, length - 1) } ?? false
    } ? length : nil
  }
}
