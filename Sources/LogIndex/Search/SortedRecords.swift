/// What a record is ordered by.
struct SortKey: Sendable {
  enum Value: Sendable, Equatable {
    case number(Double)
    case text([UInt8])
    case absent

    init(_ text: [UInt8]?) {
      if let text {
        self = Decimal.parse(text).map { .number($0) } ?? .text(text)
      } else {
        self = .absent
      }
    }

    /// Nil when neither comes first.
    func isBefore(_ other: Value, descending: Bool) -> Bool? {
      switch (self, other) {
      case (.absent, .absent): return nil
      case (.absent, _): return false
      case (_, .absent): return true
      case (.number(let left), .number(let right)):
        return left == right ? nil : (left < right) != descending
      case (.number, .text): return !descending
      case (.text, .number): return descending
      case (.text(let left), .text(let right)):
        return left == right ? nil : left.lexicographicallyPrecedes(right) != descending
      }
    }
  }

  var values: [Value]
  var position: LogPosition

  /// Of records that are alike the newer comes first.
  func isBefore(_ other: SortKey, _ order: [LogQuery.Order]) -> Bool {
    for (index, step) in order.enumerated() {
      if let before = values[index].isBefore(other.values[index], descending: step.isDescending) { return before }
    }
    return position > other.position
  }
}

/// Keeps the first records of an order, wherever they lie.
struct SortedRecords: Sendable {
  struct Held: Sendable {
    var key: SortKey
    /// Of what is in a block only the place is kept: the block may be closed meanwhile.
    var source: QuerySource.Body
    var row: Int
  }

  let order: [LogQuery.Order]
  let limit: Int
  private var held: [Held] = []
  /// Set once there are enough: what comes behind it is not kept.
  private var last: SortKey?

  init(order: [LogQuery.Order], limit: Int) {
    self.order = order
    self.limit = limit
  }

  mutating func add(_ key: SortKey, _ source: QuerySource.Body, _ row: Int) {
    if let last, !key.isBefore(last, order) { return }
    held.append(Held(key: key, source: source, row: row))
    if held.count >= limit * 2 + 64 { shrink() }
  }

  /// The records in order.
  mutating func ordered() -> [Held] {
    shrink()
    return held
  }

  private mutating func shrink() {
    let order = order
    held.sort { $0.key.isBefore($1.key, order) }
    if held.count > limit { held.removeLast(held.count - limit) }
    if held.count == limit { last = held.last?.key }
  }

  /// Adds the records of a block that match.
  mutating func add(_ found: RowSet, of block: Block, _ entry: BlockEntry) throws(BlockFault) {
    if found.isEmpty { return }
    let stats = BlockStats(try BlockSearch(block), LogStats(functions: []))
    var columns: [BlockStats.Keys] = []
    var values: [[SortKey.Value]] = []
    for step in order {
      let keys = try stats.keys(step.field, found)
      columns.append(keys)
      values.append(keys.texts.map { SortKey.Value($0) })
    }
    let (times, arrivals) = (try block.times(), try block.arrivals())
    found.forEach { row in
      let key = SortKey(
        values: columns.indices.map { values[$0][Int(columns[$0].numbers[row])] },
        position: LogPosition(time: times[row], id: block.header.firstID + Int64(arrivals[row])))
      add(key, .block(entry), row)
    }
  }

  /// Adds a record of a memtable.
  mutating func add(_ record: IndexedRecord, _ position: LogPosition, _ table: Memtable, _ row: Int) {
    let values = order.map { SortKey.Value(StatsTable.key($0.field, record.value($0.field))) }
    add(SortKey(values: values, position: position), .memtable(table), row)
  }
}
