/// Finds the records of a memtable that match, newest first.
struct MemtableSearch {
  struct Found {
    var rows: [(LogPosition, Int)] = []
    /// Records looked at.
    var scanned = 0
    /// Why and at which time the search ended before the records did.
    var cut: SearchCut?
  }

  private static let rowsMaximum = 256

  let table: Memtable
  let query: LogQuery
  let scope: LogScope
  /// Texts that the bytes of every match hold, unless they hold an escape.
  private let needles: [[UInt8]]
  private let levels: UInt8

  init(_ table: Memtable, _ query: LogQuery, scope: LogScope) {
    self.table = table
    self.query = query
    self.scope = scope
    needles = Self.needles(query.filter)
    levels = Pruning(query, scope: scope).levels.map { $0 } ?? .max
  }

  /// At most `matches` records of at most `budget` that are looked at.
  func run(after: LogPosition?, matches: Int, budget: Int, deadline: SearchDeadline = .none) -> Found {
    var found = Found()
    for (position, row) in order(after) {
      if found.scanned == budget {
        found.cut = SearchCut(reason: .records, time: position.time)
        break
      }
      if found.scanned % Self.rowsMaximum == Self.rowsMaximum - 1, deadline.isOver {
        found.cut = SearchCut(reason: .time, time: position.time)
        break
      }
      found.scanned += 1
      guard mayMatch(row), let record = try? IndexedRecord(table.bytes(row)), query.matches(record, scope: scope)
      else { continue }
      found.rows.append((position, row))
      if found.rows.count == matches { break }
    }
    return found
  }

  /// The records of the time range, newest first.
  private func order(_ after: LogPosition?) -> [(LogPosition, Int)] {
    let range = Pruning(query, scope: scope).range
    let count = table.readable.rows
    var rows: [(LogPosition, Int)] = []
    rows.reserveCapacity(count)
    var isSorted = true
    for row in (0..<count).reversed() {
      let position = LogPosition(time: table.row(row).time, id: table.id(row))
      guard range.contains(position.time) else { continue }
      if let after, !(position < after) { continue }
      if let last = rows.last, last.0 < position { isSorted = false }
      rows.append((position, row))
    }
    if !isSorted { rows.sort { $0.0 > $1.0 } }
    return rows
  }

  private func mayMatch(_ index: Int) -> Bool {
    let row = table.row(index)
    if levels & (1 << row.level) == 0 { return false }
    if row.hasEscape { return true }
    for needle in needles {
      let found = needle.withUnsafeBufferPointer { needle in
        needle.baseAddress.map {
          ByteSearch.find($0, needle.count, in: table.base + Int(row.start), Int(row.length)) != nil
        } ?? true
      }
      if !found { return false }
    }
    return true
  }

  private static func needles(_ filter: LogFilter) -> [[UInt8]] {
    switch filter {
    case .all(let filters): return filters.flatMap { needles($0) }
    case .equals(let filter):
      // The level is spelled as its sender likes it.
      guard filter.isText, filter.field != .reserved(.level) else { return [] }
      return filter.text.isEmpty || filter.text.contains { $0 < 0x20 || $0 == 0x22 || $0 == 0x5C } ? [] : [filter.text]
    default: return []
    }
  }
}
