/// Gathers statistics record by record, within bounds on groups and memory.
struct StatsTable {
  static let groupsMaximum = 100_000
  static let exactValuesMaximum = 1_000_000

  private struct Key: Hashable {
    var bucket: Int64
    var texts: [[UInt8]?]
  }

  private let stats: LogStats
  private let groupsMaximum: Int
  private var groups: [Key: [StatsAccumulator]] = [:]
  private var exactValues = StatsTable.exactValuesMaximum
  /// Whether a record fell into a group beyond the most there may be.
  private(set) var isFull = false

  init(_ stats: LogStats, groupsMaximum: Int = StatsTable.groupsMaximum) {
    self.stats = stats
    self.groupsMaximum = groupsMaximum
  }

  mutating func add(_ record: IndexedRecord) {
    let key = Key(bucket: bucket(record.time), texts: stats.keys.map { Self.text($0, record) })
    if groups[key] == nil {
      guard groups.count < groupsMaximum else {
        isFull = true
        return
      }
      groups[key] = stats.functions.map { StatsAccumulator($0.kind) }
    }
    for (index, function) in stats.functions.enumerated() {
      let exists = function.field.map { ExistsFilter(field: $0).matches(record) } ?? true
      let number = function.kind == .count ? nil : function.field.flatMap { Self.number($0, record) }
      groups[key]?[index].add(exists: exists, number: number, exactValues: &exactValues)
    }
  }

  /// The rows, in order and cut to the limit.
  func rows(limit: Int?) -> [LogStatRow] {
    var rows = groups.map { key, accumulators in
      var values: [LogStatValue] = stats.bucket == nil ? [] : [.time(key.bucket)]
      values += key.texts.map { $0.map { .text(String(decoding: $0, as: UTF8.self)) } ?? .none }
      values += accumulators.map { $0.value() }
      return LogStatRow(values: values)
    }
    if rows.isEmpty, stats.keys.isEmpty, stats.bucket == nil {
      rows = [LogStatRow(values: stats.functions.map { StatsAccumulator($0.kind).value() })]
    }
    let order = stats.order
    rows.sort { left, right in
      for step in order {
        if let before = left.values[step.column].isBefore(right.values[step.column]) {
          return before != step.isDescending
        }
      }
      for (mine, others) in zip(left.values, right.values) {
        if let before = mine.isBefore(others) { return before }
      }
      return false
    }
    return limit.map { Array(rows.prefix($0)) } ?? rows
  }

  private func bucket(_ time: Int64) -> Int64 {
    guard let length = stats.bucket, length > 0 else { return 0 }
    let rest = time % length
    return rest >= 0 ? time - rest : time - rest - length
  }

  private static func text(_ field: LogField, _ record: IndexedRecord) -> [UInt8]? {
    if case .reserved(let reserved) = field {
      let bytes = record.reservedBytes(reserved)
      return bytes.isEmpty ? nil : bytes
    }
    guard let span = record.span(field), span.kind != .null else { return nil }
    return Array(record.text(span))
  }

  private static func number(_ field: LogField, _ record: IndexedRecord) -> Double? {
    guard let span = record.span(field), span.kind == .number || span.isString else { return nil }
    return Decimal.parse(record.text(span))
  }
}

/// One function of one group.
struct StatsAccumulator {
  private let kind: LogStats.Kind
  private var count = 0
  private var total: Double = 0
  private var smallest = Double.infinity
  private var largest = -Double.infinity
  private var quantiles = QuantileSketch()

  init(_ kind: LogStats.Kind) { self.kind = kind }

  mutating func add(exists: Bool, number: Double?, exactValues: inout Int) {
    guard kind != .count else {
      if exists { count += 1 }
      return
    }
    guard let number else { return }
    count += 1
    total += number
    smallest = min(smallest, number)
    largest = max(largest, number)
    if case .percentile = kind { quantiles.add(number, budget: &exactValues) }
  }

  func value() -> LogStatValue {
    if kind == .count { return .count(count) }
    if count == 0 { return .none }
    switch kind {
    case .count: return .count(count)
    case .sum: return .number(total)
    case .min: return .number(smallest)
    case .max: return .number(largest)
    case .avg: return .number(total / Double(count))
    case .percentile(let rank): return .number(min(max(quantiles.percentile(rank), smallest), largest))
    }
  }
}
