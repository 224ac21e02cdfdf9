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

  /// What its texts take, in bytes; those that keys share are counted in each.
  var textBytes: Int {
    values.reduce(0) { sum, value in
      if case .text(let text) = value { sum + text.count } else { sum }
    }
  }

  /// Of records that are alike the newer comes first.
  func isBefore(_ other: SortKey, _ order: [LogQuery.Order]) -> Bool {
    for (index, step) in order.enumerated() {
      if let before = values[index].isBefore(other.values[index], descending: step.isDescending) { return before }
    }
    return position > other.position
  }
}

/// Keeps the first records of an order, wherever they lie: as many as asked for, and as their keys have room.
struct SortedRecords: Sendable {
  /// Bytes of the texts of the keys that are kept; twice as many may be held until they are put in order.
  static let keyBytesMaximum = 64 << 20

  struct Held: Sendable {
    var key: SortKey
    /// Of what is in a block only the place is kept: the block may be closed meanwhile.
    var source: QuerySource.Body
    var row: Int
  }

  let order: [LogQuery.Order]
  let limit: Int
  private let bytesMaximum: Int
  private var held: [Held] = []
  private var heldBytes = 0
  /// Set once there are enough: neither it, unless it is held, nor what comes behind it is kept.
  private var last: SortKey?
  private var hasDropped = false

  init(order: [LogQuery.Order], limit: Int, bytesMaximum: Int = SortedRecords.keyBytesMaximum) {
    self.order = order
    self.limit = limit
    self.bytesMaximum = bytesMaximum
  }

  mutating func add(_ key: SortKey, _ source: QuerySource.Body, _ row: Int) {
    if let last, !key.isBefore(last, order) { return }
    held.append(Held(key: key, source: source, row: row))
    heldBytes += key.textBytes
    if held.count >= limit * 2 + 64 || heldBytes > bytesMaximum * 2 { shrink() }
  }

  /// The records in order, and whether there were more within the limit, whose keys had no room: all of them come after
  /// these.
  mutating func ordered() -> (records: [Held], isCut: Bool) {
    shrink()
    return (held, hasDropped && held.count < limit)
  }

  private mutating func shrink() {
    let order = order
    held.sort { $0.key.isBefore($1.key, order) }
    if held.count > limit { held.removeLast(held.count - limit) }
    if held.count == limit { last = held.last?.key }
    heldBytes = 0
    for (place, record) in held.enumerated() {
      let bytes = record.key.textBytes
      if place > 0, heldBytes + bytes > bytesMaximum {
        last = record.key
        held.removeLast(held.count - place)
        hasDropped = true
        break
      }
      heldBytes += bytes
    }
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
