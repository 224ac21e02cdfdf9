/// Finds the records of one block that match: each filter on the columns it needs, and only on the records the filters
/// before it left.
struct BlockSearch {
  /// Bytes of values read between two looks at the clock.
  private static let bytesMaximum = 1 << 16
  /// So many distinct values are looked at however few records are asked about.
  private static let distinctMaximum = 64

  let block: Block
  let rows: BlockRows
  let deadline: SearchDeadline

  init(_ block: Block, deadline: SearchDeadline = .none) throws(BlockFault) {
    self.block = block
    self.deadline = deadline
    rows = try block.rows()
  }

  /// The records within a span of time that a reader may see, and that come after `after` in the answer.
  func candidates(_ range: TimeRange, scope: LogScope, after: LogPosition?) throws(BlockFault) -> RowSet {
    var set = RowSet.all(block.rowCount)
    let header = block.header
    if range.since ?? .min > header.oldest || range.until ?? .max <= header.newest {
      try narrow(&set, to: range)
    }
    if let after, after.time <= header.newest {
      let times = try block.times()
      for row in times.indices where times[row] >= after.time {
        if times[row] > after.time { set.remove(row) } else if try block.id(row) >= after.id { set.remove(row) }
      }
    }
    guard let namespaces = scope.namespaces else { return set }
    let wanted = namespaces.map { Array($0.utf8)[...] }
    return try leaf(.reserved(.namespace), set) { value in
      guard let value, value.kind != .null else { return wanted.contains([]) }
      return wanted.contains(value.text)
    }
  }

  private func narrow(_ set: inout RowSet, to range: TimeRange) throws(BlockFault) {
    let times = try block.times()
    for (row, time) in times.enumerated() where !range.contains(time) { set.remove(row) }
  }

  /// The candidates that match.
  func matches(_ filter: LogFilter, _ candidates: RowSet) throws(BlockFault) -> RowSet {
    if candidates.isEmpty { return candidates }
    switch filter {
    case .everything: return candidates
    case .all(let filters):
      var left = candidates
      for filter in filters.sorted(by: { Self.cost($0) < Self.cost($1) }) { left = try matches(filter, left) }
      return left
    case .any(let filters):
      var found = RowSet(rows: block.rowCount)
      var left = candidates
      for filter in filters {
        let more = try matches(filter, left)
        found.formUnion(more)
        left.subtract(more)
      }
      return found
    case .not(let filter):
      var left = candidates
      left.subtract(try matches(filter, candidates))
      return left
    case .time(let range):
      var left = candidates
      try narrow(&left, to: range)
      return left
    case .text(let filter):
      if let program = filter.program {
        return try ProgramSearch(program, of: .reserved(.msg), self).matches(candidates)
      }
      return try leaf(.reserved(.msg), candidates) { filter.matches($0) }
    case .equals(let filter):
      return try leaf(filter.field, candidates, equals: filter.isText ? filter.text : nil) { filter.matches($0) }
    case .pattern(let filter): return try leaf(filter.field, candidates) { filter.matches($0) }
    case .regex(let filter): return try ProgramSearch(filter.program, of: filter.field, self).matches(candidates)
    case .exists(let filter): return try present(filter.field, candidates)
    case .range(let filter):
      return try leaf(filter.field, candidates, number: { filter.matches(number: $0) }) { filter.matches($0) }
    case .level(let filter): return try leaf(.reserved(.level), candidates) { filter.matches($0) }
    }
  }

  /// The candidates that have a field, neither null nor empty.
  func present(_ field: LogField, _ candidates: RowSet) throws(BlockFault) -> RowSet {
    try leaf(field, candidates, any: true) { $0?.isPresent ?? false }
  }

  private static func cost(_ filter: LogFilter) -> Int {
    switch filter {
    case .everything: 0
    case .equals, .level, .exists: 1
    case .time: 2
    case .range, .pattern: 3
    case .text: 4
    case .regex(let filter): filter.field == .reserved(.msg) ? 6 : 4
    case .any(let filters), .all(let filters): (filters.map(cost).max() ?? 0) + 1
    case .not(let filter): cost(filter)
    }
  }

  /// The columns that hold a field, the shapes where it is absent or null, and those where only the record tells.
  struct FieldPlan {
    var columns: [Int: UInt8] = [:]
    var places: [ShapeFields.Place]

    /// By shape: whether the field's value is in this column; of a key that is there twice only the last is.
    func owners(_ column: Int, _ shapes: [Shape]) -> [Bool] {
      places.enumerated().map { shape, place in
        if case .slot(let slot) = place { return shapes[shape].slots[slot].column == column }
        return false
      }
    }
  }

  func plan(_ field: LogField) -> FieldPlan {
    var plan = FieldPlan(places: block.shapeFields.map { $0.place(field) })
    for (shape, place) in plan.places.enumerated() {
      guard case .slot(let slot) = place else { continue }
      let made = block.shapes[shape].slots[slot]
      // The record's time is no column.
      if SlotKind.isTime(made.kind) { plan.places[shape] = .unknown } else { plan.columns[made.column] = made.kind }
    }
    return plan
  }

  /// The candidates whose value of a field fulfils a condition; `any` value that is not empty may be one that does.
  func leaf(
    _ field: LogField, _ candidates: RowSet, equals text: [UInt8]? = nil, any: Bool = false,
    number: ((Double) -> Bool)? = nil, _ condition: (FieldValue?) -> Bool
  ) throws(BlockFault) -> RowSet {
    let plan = plan(field)
    var found = RowSet(rows: block.rowCount)
    let absent = condition(nil)
    let null = condition(.null)
    var isOdd = false
    for place in plan.places {
      switch place {
      case .absent: isOdd = isOdd || absent
      case .null: isOdd = isOdd || null
      case .unknown: isOdd = true
      case .slot: break
      }
    }
    if isOdd {
      let shapes = rows.shapes
      var left = Self.bytesMaximum
      try candidates.forEach { row throws(BlockFault) in
        switch plan.places[Int(shapes[row])] {
        case .absent: if absent { found.insert(row) }
        case .null: if null { found.insert(row) }
        case .unknown:
          let bytes = try block.record(row)
          let record = try? IndexedRecord(bytes)
          if condition(record?.value(field)) { found.insert(row) }
          left -= bytes.count
          if left < 0 {
            left = Self.bytesMaximum
            try deadline.check()
          }
        case .slot: break
        }
      }
    }
    for (column, kind) in plan.columns {
      let reader = try block.column(column)
      if any, kind != SlotKind.string || reader.isNeverEmpty {
        found.formUnion(holders(column, plan, candidates))
        continue
      }
      if any, case .template(let reader) = reader.body {
        found.formUnion(try notEmpty(reader, column, holders(column, plan, candidates)))
        continue
      }
      if let text, kind == SlotKind.string, !text.contains(0x5C),
        try equal(text, reader, column, plan, candidates, &found)
      {
        continue
      }
      try eachValue(column, reader, kind, plan, candidates, number, condition, &found)
    }
    return found
  }

  /// The candidates whose value of the field is in a column.
  func holders(_ column: Int, _ plan: FieldPlan, _ candidates: RowSet) -> RowSet {
    var holders = candidates
    let presence = rows.presence(column)
    if !presence.isAll { holders.formIntersection(presence.rows) }
    let owners = plan.owners(column, block.shapes)
    let isShared = owners.indices.contains { !owners[$0] && rows.has(UInt32($0), column) }
    if isShared { candidates.forEach { if !owners[Int(rows.shapes[$0])] { holders.remove($0) } } }
    return holders
  }

  /// Calls `body` with the candidates whose value of the field is in a column, and its number there.
  @inline(__always) func values<E: Error>(
    _ column: Int, _ plan: FieldPlan, _ candidates: RowSet, _ body: (Int, Int) throws(E) -> Void
  ) throws(E) {
    let presence = rows.presence(column)
    try holders(column, plan, candidates).forEach { row throws(E) in try body(row, presence.ordinal(row)) }
  }

  /// The records, all of which have a value in a column, whose number there is wanted.
  func select(_ column: Int, _ holders: RowSet, _ numbers: Numbers, _ isWanted: [Bool]) -> RowSet {
    var found = RowSet(rows: block.rowCount)
    let presence = rows.presence(column)
    numbers.withReader { numbers in
      isWanted.withUnsafeBufferPointer { isWanted in
        for place in holders.words.indices {
          var rest = holders.words[place]
          if rest == 0 { continue }
          var bits: UInt64 = 0
          let first = presence.ordinal(place << 6)
          if rest == .max {
            for bit in 0..<64 where isWanted[Int(numbers[first + bit])] { bits |= 1 << UInt64(bit) }
          } else {
            let all = presence.isAll ? .max : presence.rows.words[place]
            while rest != 0 {
              let bit = UInt64(rest.trailingZeroBitCount)
              let ordinal = first + (all & ((1 << bit) &- 1)).nonzeroBitCount
              if isWanted[Int(numbers[ordinal])] { bits |= 1 << bit }
              rest &= rest - 1
            }
          }
          found.setWord(place, bits)
        }
      }
    }
    return found
  }

  private func eachValue(
    _ column: Int, _ reader: ListReader, _ kind: UInt8, _ plan: FieldPlan, _ candidates: RowSet,
    _ number: ((Double) -> Bool)?, _ condition: (FieldValue?) -> Bool, _ found: inout RowSet
  ) throws(BlockFault) {
    let holders = holders(column, plan, candidates)
    if case .dictionary(let distinct, let count, let numbers) = reader.body,
      count <= max(Self.distinctMaximum, holders.count)
    {
      // Each distinct value is looked at once.
      var isWanted = Array(repeating: false, count: count)
      for value in 0..<count {
        isWanted[value] = condition(FieldValue(slot: kind, raw: try distinct.text(value, row: 0, of: block)))
      }
      if isWanted.contains(true) { found.formUnion(select(column, holders, numbers, isWanted)) }
      return
    }
    let presence = rows.presence(column)
    switch reader.body {
    case .constant(let text):
      if condition(FieldValue(slot: kind, raw: text)) { found.formUnion(holders) }
    case .decimal(let digits, let scales) where number != nil && kind == SlotKind.number:
      guard let number else { return }
      try BlockNumbers.each(digits, scales, of: holders, presence, block) { if number($1) { found.insert($0) } }
    default:
      var text: [UInt8] = []
      var left = Self.bytesMaximum
      try holders.forEach { row throws(BlockFault) in
        text.removeAll(keepingCapacity: true)
        try reader.append(presence.ordinal(row), row: row, of: block, to: &text)
        left -= text.count + 16
        if left < 0 {
          left = Self.bytesMaximum
          try deadline.check()
        }
        if condition(FieldValue(slot: kind, raw: text)) { found.insert(row) }
      }
    }
  }

  /// The records, all of which have a value of some templates, whose value is not empty.
  private func notEmpty(
    _ reader: TemplateReader, _ column: Int, _ holders: RowSet
  ) throws(BlockFault) -> RowSet {
    let pieces = reader.column.pieces
    let isSure =
      [false]
      + reader.column.templates.indices.map { pieces.pieces[pieces.range($0)].contains { $0.kind != .reference } }
    var found = select(column, holders, reader.numbers, isSure)
    guard reader.hasPlain || isSure.dropFirst().contains(false) else { return found }
    let presence = rows.presence(column)
    var text: [UInt8] = []
    try select(column, holders, reader.numbers, isSure.map { !$0 }).forEach { row throws(BlockFault) in
      text.removeAll(keepingCapacity: true)
      try reader.append(presence.ordinal(row), row: row, of: block, to: &text)
      if !text.isEmpty { found.insert(row) }
    }
    return found
  }

  /// Finds a text among identifiers by their packed bytes; false when the column is of another form.
  private func equal(
    _ text: [UInt8], _ reader: ListReader, _ column: Int, _ plan: FieldPlan, _ candidates: RowSet,
    _ found: inout RowSet
  ) throws(BlockFault) -> Bool {
    var list = reader
    var numbers: Numbers?
    var count = block.columnCounts[column]
    if case .dictionary(let distinct, let distinctCount, let all) = reader.body {
      (list, numbers, count) = (distinct, all, distinctCount)
    }
    guard case .uuid(let start) = list.body else { return false }
    var packed: [UInt8] = []
    let isUUID = text.withUnsafeBufferPointer { text in
      if HexText.isUUID(text) { HexText.pack(text, into: &packed) }
      return !packed.isEmpty
    }
    guard isUUID else { return true }
    let hits = block.withData { data in
      (0..<count).filter { index in (0..<16).allSatisfy { data[start + index * 16 + $0] == packed[$0] } }
    }
    guard !hits.isEmpty else { return true }
    var matched = RowSet(rows: block.rowCount)
    values(column, plan, candidates) { row, ordinal in
      if hits.contains(numbers.map { Int($0[ordinal]) } ?? ordinal) { matched.insert(row) }
    }
    found.formUnion(matched)
    return true
  }
}

/// The numbers of columns that hold numbers.
enum BlockNumbers {
  private static let powers: [Double] = [
    1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
  ]

  /// Calls `body` with each of the records, all of which have a number in a column, and the same number that reading its
  /// spelling gives.
  @inline(__always) static func each(
    _ digits: IntReader, _ scales: IntReader, of holders: RowSet, _ presence: Presence, _ block: Block,
    _ body: (Int, Double) -> Void
  ) throws(BlockFault) {
    let isSound = block.withData { data in
      var isSound = true
      holders.forEach { row in
        let ordinal = presence.ordinal(row)
        let (value, scale) = (ZigZag.decode(digits.value(ordinal, data)), scales.value(ordinal, data))
        if scale > 18 {
          isSound = false
        } else if value.magnitude <= 1 << 53 {
          body(row, Double(value) / powers[Int(scale)])
        } else {
          body(row, number(PlainDecimal(digits: value, scale: UInt8(scale))))
        }
      }
      return isSound
    }
    guard isSound else { throw BlockFault("a number is too long") }
  }

  /// What is not exact as a whole number of small parts is read as it would be spelled.
  @inline(never) private static func number(_ decimal: PlainDecimal) -> Double {
    var text: [UInt8] = []
    decimal.append(to: &text)
    return Decimal.parse(text) ?? .nan
  }
}
