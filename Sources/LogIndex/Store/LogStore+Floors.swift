internal import Foundation
internal import Synchronization

/// How long and how much to keep of one namespace, or of one function in it.
package struct LogRetentionRule: Sendable, Equatable {
  /// The namespace it is for.
  package var namespace: String
  /// The function it is for; nil for all of the namespace together.
  package var function: String?
  /// Records older than this, to the minute, go; nil for no limit of its own.
  package var maxAge: Duration?
  /// The oldest minutes go while the records, as they were sent, have more bytes than this; nil for no limit of its own.
  package var maxBytes: Int64?

  /// A rule; nil leaves it to the whole store's limits.
  package init(namespace: String, function: String? = nil, maxAge: Duration? = nil, maxBytes: Int64? = nil) {
    self.namespace = namespace
    self.function = function
    self.maxAge = maxAge
    self.maxBytes = maxBytes
  }

  func holds(_ key: Rollup.Key) -> Bool {
    guard namespace.utf8.elementsEqual(key.texts[0] ?? []) else { return false }
    return function.map { $0.utf8.elementsEqual(key.texts[1] ?? []) } ?? true
  }
}

/// The moment before which records of a rule are gone.
struct LogFloor: Sendable, Equatable {
  var rule: LogRetentionRule
  /// The start of a minute, nanoseconds since 1970.
  var time: Int64
  /// What the bytes alone say; it never falls, as what was deleted for them counts no more.
  var bytesTime = Int64.min

  /// What it leaves to see.
  var filter: LogFilter {
    var all: [LogFilter] = [.time(TimeRange(until: time))]
    all.append(Self.equals(.reserved(.namespace), rule.namespace))
    if let function = rule.function { all.append(Self.equals(.reserved(.function), function)) }
    return .not(.all(all))
  }

  private static func equals(_ field: LogField, _ text: String) -> LogFilter {
    text.isEmpty
      ? .not(.exists(ExistsFilter(field: field))) : .equals(EqualsFilter(field: field, text: Array(text.utf8)))
  }

  /// Where a rule's floor is for the age of records.
  static func ageTime(of rule: LogRetentionRule, now: Int64) -> Int64 {
    rule.maxAge.map { Rollup.minute(of: now &- LogStore.nanoseconds($0)) &* Rollup.minute } ?? .min
  }

}

/// The bytes that a rule holds in each minute, added up block by block.
struct MinuteBytes {
  private let rule: LogRetentionRule
  private var bytes: [Int64: Double] = [:]

  init(_ rule: LogRetentionRule) { self.rule = rule }

  /// Adds a block's; nothing for a rule without a bound on bytes.
  mutating func add(_ rollup: Rollup) {
    if rule.maxBytes == nil { return }
    var totals = Array(repeating: 0, count: rollup.keys.count)
    for cell in rollup.cells { totals[cell.key] += cell.count }
    for cell in rollup.cells where rule.holds(rollup.keys[cell.key]) {
      // A record of a minute is taken to be as long as those of its function in the block.
      bytes[cell.minute, default: 0] +=
        Double(rollup.keys[cell.key].bytes) * Double(cell.count) / Double(totals[cell.key])
    }
  }

  /// Where the rule's floor is for the bytes of its records.
  var floor: Int64 {
    guard let most = rule.maxBytes else { return .min }
    var total: Double = 0
    for (minute, size) in bytes.sorted(by: { $0.key > $1.key }) {
      total += size
      if total > Double(most) { return (minute + 1) &* Rollup.minute }
    }
    return .min
  }
}

extension LogStore {
  private static let rewritesMaximum = 4

  /// Sets the floors of rules, deletes blocks of which nothing is left, and writes those anew of which half is gone.
  /// Blocks without counts stay as long as the whole store's limits say. Answers how many records were deleted.
  func apply(_ rules: [LogRetentionRule], now: Int64) async throws -> Int {
    if rules.isEmpty {
      state.withLock { $0.floors = [] }
      return 0
    }
    let blocks = view().blocks
    let bytes = minuteBytes(rules, blocks)
    let before = state.withLock { $0.floors }
    let floors = zip(rules, bytes).map { rule, bytes in
      let last = before.first { $0.rule == rule }?.bytesTime ?? .min
      let bytesTime = max(last, bytes.floor)
      let time = max(bytesTime, LogFloor.ageTime(of: rule, now: now))
      return LogFloor(rule: rule, time: time, bytesTime: bytesTime)
    }.filter { $0.time > .min }
    state.withLock { $0.floors = floors }
    guard let highest = floors.map(\.time).max() else { return 0 }
    var gone: [BlockEntry] = []
    var worn: [BlockEntry] = []
    // Nothing is dead in a block that begins behind all floors, each the start of a minute.
    for entry in blocks where entry.oldest < highest {
      guard let rollup = rollup(of: entry) else { continue }
      let dead = Self.dead(rollup, floors)
      if dead == entry.rows { gone.append(entry) } else if dead * 2 >= entry.rows { worn.append(entry) }
    }
    var deleted = try await delete(gone)
    for entry in worn.prefix(Self.rewritesMaximum) {
      try Task.checkCancellation()
      deleted += await withCheckedContinuation { continuation in
        sealing.async { [self] in continuation.resume(returning: rewrite(entry, floors)) }
      }
    }
    return deleted
  }

  /// What each rule holds in each minute. One block's counts are in memory at a time, but for what the cache keeps.
  private func minuteBytes(_ rules: [LogRetentionRule], _ blocks: [BlockEntry]) -> [MinuteBytes] {
    var bytes = rules.map { MinuteBytes($0) }
    if rules.allSatisfy({ $0.maxBytes == nil }) { return bytes }
    for entry in blocks {
      guard let rollup = rollup(of: entry) else { continue }
      for index in bytes.indices { bytes[index].add(rollup) }
    }
    return bytes
  }

  private static func dead(_ rollup: Rollup, _ floors: [LogFloor]) -> Int {
    let edges = rollup.keys.map { key in floors.filter { $0.rule.holds(key) }.map(\.time).max() ?? .min }
    return rollup.cells.reduce(0) { $0 + ($1.minute &* Rollup.minute < edges[$1.key] ? $1.count : 0) }
  }

  /// Puts a block in a block's place that has only what the floors leave; answers how many records that cost. Runs on the
  /// sealer's queue; a failure leaves all as it was.
  private func rewrite(_ entry: BlockEntry, _ floors: [LogFloor]) -> Int {
    let isThere = state.withLock { state in !state.isClosed && state.blocks.contains { $0.name == entry.name } }
    guard isThere, let old = block(entry) else { return 0 }
    let left = LogQuery(filter: .all(floors.map(\.filter)))
    let table = Memtable(firstID: entry.firstID, rows: entry.rows, bytes: Int(entry.rawBytes) + 16)
    var scanner = LineScanner()
    do {
      let arrivals = try old.arrivals()
      let kept = try BlockSearch(old).matches(left.filter, .all(old.rowCount))
      for row in arrivals.indices.sorted(by: { arrivals[$0] < arrivals[$1] }) where kept.contains(row) {
        let bytes = try old.record(row)
        if !bytes.withUnsafeBufferPointer({ table.take($0, &scanner) }) { return 0 }
      }
      table.publish()
      guard table.readable.rows > 0, table.readable.rows < entry.rows else { return 0 }
      var (made, rollup) = try BlockMaker.store(table, workers: old.workers, in: file, options)
      made.seen = entry.seen
      try catalogue.replace([entry], with: made, rollup)
      keep(rollup, of: made)
      state.withLock { [made] state in
        state.blocks.removeAll { $0.name == entry.name }
        state.blocks.append(made)
        state.graves.append((entry.name, .now))
      }
      return entry.rows - made.rows
    } catch {
      options.notice("a block of logs could not be written without what is too old: \(error)")
      return 0
    }
  }
}
