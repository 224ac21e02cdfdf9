/// Adds the records of one block to statistics, column by column.
struct BlockStats {
  private let search: BlockSearch
  private let stats: LogStats
  private var block: Block { search.block }

  /// A column of keys: a small number for each record, and what the numbers stand for.
  struct Keys {
    var numbers: [UInt32]
    var texts: [[UInt8]?]
  }

  init(_ search: BlockSearch, _ stats: LogStats) {
    self.search = search
    self.stats = stats
  }

  func add(_ found: RowSet, to table: inout StatsTable) throws(BlockFault) {
    if found.isEmpty { return }
    let groups = try groups(found, &table)
    for (index, function) in stats.functions.enumerated() {
      guard let field = function.field else {
        count(found, groups, index, &table)
        continue
      }
      if function.kind == .count {
        let there = try search.present(field, found)
        count(there, groups, index, &table)
      } else {
        try addNumbers(field, found, groups, index, &table)
      }
    }
  }

  private func count(_ found: RowSet, _ groups: [Int32], _ function: Int, _ table: inout StatsTable) {
    if groups.count == 1 {
      if groups[0] >= 0 { table.count(Int(groups[0]), function: function, found.count) }
      return
    }
    var counts = Array(repeating: 0, count: Int(groups.max() ?? -1) + 1)
    found.forEach { row in if groups[row] >= 0 { counts[Int(groups[row])] += 1 } }
    for (group, records) in counts.enumerated() where records > 0 { table.count(group, function: function, records) }
  }

  /// The group of each record, -1 for none; of one group for all, only that.
  private func groups(_ found: RowSet, _ table: inout StatsTable) throws(BlockFault) -> [Int32] {
    if stats.keys.isEmpty, stats.bucket == nil {
      return [Int32(table.group(bucket: 0, keys: table.combination([[UInt8]?]())) ?? -1)]
    }
    let columns = try stats.keys.map { field throws(BlockFault) in try keys(field, found) }
    var groups = Array(repeating: Int32(-1), count: block.rowCount)
    let codes = codes(columns)
    let times = stats.bucket == nil ? [] : try block.times()
    var known: [UInt64: Int32] = [:]
    var combinations: [UInt32: Int] = [:]
    var last: (key: UInt64, group: Int32)?
    var bucket: Int64 = 0
    var bucketEnd = Int64.min
    var bucketNumber: UInt64 = 0
    var buckets: [Int64: UInt64] = [:]
    found.forEach { row in
      if !times.isEmpty, times[row] < bucket || times[row] >= bucketEnd {
        bucket = table.bucket(times[row])
        bucketEnd = table.end(ofBucket: bucket)
        bucketNumber = buckets[bucket] ?? UInt64(buckets.count)
        buckets[bucket] = bucketNumber
      }
      let key = UInt64(codes?[row] ?? 0) | bucketNumber << 32
      if codes != nil {
        if let last, last.key == key {
          groups[row] = last.group
          return
        }
        if let group = known[key] {
          groups[row] = group
          last = (key, group)
          return
        }
      }
      var combination = codes.flatMap { combinations[$0[row]] }
      if combination == nil {
        combination = table.combination(columns.map { $0.texts[Int($0.numbers[row])] })
        if let codes { combinations[codes[row]] = combination }
      }
      let group = Int32(table.group(bucket: times.isEmpty ? 0 : bucket, keys: combination) ?? -1)
      groups[row] = group
      known[key] = group
      last = (key, group)
    }
    return groups
  }

  /// One number for all keys of each record; nil when they are too many for that.
  private func codes(_ columns: [Keys]) -> [UInt32]? {
    if columns.count == 1 { return columns[0].numbers }
    var codes = Array(repeating: UInt32(0), count: block.rowCount)
    var most: UInt64 = 1
    for column in columns {
      most *= UInt64(column.texts.count)
      guard most < 1 << 32 else { return nil }
      let count = UInt32(column.texts.count)
      for row in codes.indices { codes[row] = codes[row] &* count &+ column.numbers[row] }
    }
    return codes
  }

  /// What a field is as a key, for each record.
  func keys(_ field: LogField, _ found: RowSet) throws(BlockFault) -> Keys {
    var keys = Keys(numbers: Array(repeating: 0, count: block.rowCount), texts: [nil])
    var known: [[UInt8]: UInt32] = [:]
    func number(_ value: FieldValue?) -> UInt32 {
      guard let text = StatsTable.key(field, value) else { return 0 }
      if let number = known[text] { return number }
      known[text] = UInt32(keys.texts.count)
      keys.texts.append(text)
      return UInt32(keys.texts.count - 1)
    }
    let plan = search.plan(field)
    if plan.places.contains(.unknown) {
      try found.forEach { row throws(BlockFault) in
        guard plan.places[Int(search.rows.shapes[row])] == .unknown else { return }
        let bytes = try block.record(row)
        keys.numbers[row] = number((try? IndexedRecord(bytes))?.value(field))
      }
    }
    for (column, kind) in plan.columns {
      let reader = try block.column(column)
      let holders = search.holders(column, plan, found)
      let presence = search.rows.presence(column)
      switch reader.body {
      case .constant(let text):
        let made = number(FieldValue(slot: kind, raw: text))
        holders.forEach { keys.numbers[$0] = made }
      case .dictionary(let distinct, let count, let numbers):
        // Each distinct text is read once, and only when a record has it.
        var translated = Array(repeating: UInt32.max, count: count)
        try numbers.withReader { (numbers: Numbers.Reader) throws(BlockFault) in
          try holders.forEach { row throws(BlockFault) in
            let value = Int(numbers[presence.ordinal(row)])
            if translated[value] == .max {
              translated[value] = number(FieldValue(slot: kind, raw: try distinct.text(value, row: row, of: block)))
            }
            keys.numbers[row] = translated[value]
          }
        }
      default:
        try holders.forEach { row throws(BlockFault) in
          let text = try reader.text(presence.ordinal(row), row: row, of: block)
          keys.numbers[row] = number(FieldValue(slot: kind, raw: text))
        }
      }
    }
    return keys
  }

  private func addNumbers(
    _ field: LogField, _ found: RowSet, _ groups: [Int32], _ function: Int, _ table: inout StatsTable
  ) throws(BlockFault) {
    var run = NumberRun(function: function)
    let only = groups.count == 1 ? groups[0] : nil
    let plan = search.plan(field)
    if plan.places.contains(.unknown) {
      try found.forEach { row throws(BlockFault) in
        guard plan.places[Int(search.rows.shapes[row])] == .unknown else { return }
        let bytes = try block.record(row)
        if let number = (try? IndexedRecord(bytes))?.value(field)?.number {
          run.add(number, only ?? groups[row], to: &table)
        }
      }
    }
    for (column, kind) in plan.columns {
      let reader = try block.column(column)
      let holders = search.holders(column, plan, found)
      let presence = search.rows.presence(column)
      if case .decimal(let digits, let scales) = reader.body {
        guard kind == SlotKind.number || kind == SlotKind.string else { continue }
        try BlockNumbers.each(digits, scales, of: holders, presence, block) { row, number in
          run.add(number, only ?? groups[row], to: &table)
        }
        continue
      }
      try holders.forEach { row throws(BlockFault) in
        let text = try reader.text(presence.ordinal(row), row: row, of: block)
        if let number = FieldValue(slot: kind, raw: text).number { run.add(number, only ?? groups[row], to: &table) }
      }
    }
    run.flush(to: &table)
  }
}

/// Numbers of one group that came one after another; blocks are ordered by function, so that these are often many.
private struct NumberRun {
  private static let countMaximum = 4_096

  private let function: Int
  private var group: Int32 = -1
  private var numbers: [Double] = []

  init(function: Int) {
    self.function = function
    numbers.reserveCapacity(Self.countMaximum)
  }

  @inline(__always) mutating func add(_ number: Double, _ group: Int32, to table: inout StatsTable) {
    if group != self.group || numbers.count == Self.countMaximum {
      flush(to: &table)
      self.group = group
    }
    if group >= 0 { numbers.append(number) }
  }

  mutating func flush(to table: inout StatsTable) {
    if !numbers.isEmpty { table.add(Int(group), function: function, numbers) }
    numbers.removeAll(keepingCapacity: true)
  }
}
