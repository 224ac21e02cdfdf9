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
  private var groups: [Key: Int] = [:]
  /// One for each function of each group.
  private var accumulators: [StatsAccumulator] = []
  private var exactValues = StatsTable.exactValuesMaximum
  /// Whether a record fell into a group beyond the most there may be.
  private(set) var isFull = false

  init(_ stats: LogStats, groupsMaximum: Int = StatsTable.groupsMaximum) {
    self.stats = stats
    self.groupsMaximum = groupsMaximum
  }

  mutating func add(_ record: IndexedRecord) {
    let texts = stats.keys.map { Self.key($0, record.value($0)) }
    guard let group = group(bucket: bucket(record.time), texts: texts) else { return }
    for (index, function) in stats.functions.enumerated() {
      let value = function.field.flatMap { record.value($0) }
      add(
        group, function: index, exists: function.field == nil || value?.isPresent ?? false,
        number: function.kind == .count ? nil : value?.number)
    }
  }

  /// The number of a group, made if need be; nil when there are too many.
  mutating func group(bucket: Int64, texts: [[UInt8]?]) -> Int? {
    let key = Key(bucket: bucket, texts: texts)
    if let group = groups[key] { return group }
    guard groups.count < groupsMaximum else {
      isFull = true
      return nil
    }
    groups[key] = groups.count
    accumulators += stats.functions.map { StatsAccumulator($0.kind) }
    return groups.count - 1
  }

  /// Adds one record's value to one function of a group.
  mutating func add(_ group: Int, function: Int, exists: Bool, number: Double?) {
    accumulators[group * stats.functions.count + function].add(
      exists: exists, number: number, exactValues: &exactValues)
  }

  /// Adds so many records to a function that counts.
  mutating func count(_ group: Int, function: Int, _ records: Int) {
    accumulators[group * stats.functions.count + function].count(records)
  }

  /// The rows, in order and cut to the limit.
  func rows(limit: Int?) -> [LogStatRow] {
    let width = stats.functions.count
    // Most of the order of many groups is that of their times, which are quickly compared.
    let known = stats.bucket == nil ? Array(groups) : groups.sorted { $0.key.bucket < $1.key.bucket }
    var rows = known.map { key, group in
      var values: [LogStatValue] = stats.bucket == nil ? [] : [.time(key.bucket)]
      values += key.texts.map { $0.map { .text(String(decoding: $0, as: UTF8.self)) } ?? .none }
      values += accumulators[(group * width)..<((group + 1) * width)].map { $0.value() }
      return LogStatRow(values: values)
    }
    if rows.isEmpty, stats.keys.isEmpty, stats.bucket == nil {
      rows = [LogStatRow(values: stats.functions.map { StatsAccumulator($0.kind).value() })]
    }
    if stats.bucket == nil || !stats.order.isEmpty {
      sort(&rows)
    } else {
      var start = 0
      while start < rows.count {
        var end = start + 1
        while end < rows.count, known[end].key.bucket == known[start].key.bucket { end += 1 }
        sort(&rows[start..<end])
        start = end
      }
    }
    return limit.map { Array(rows.prefix($0)) } ?? rows
  }

  private func sort(_ rows: inout some MutableCollection<LogStatRow> & RandomAccessCollection<LogStatRow>) {
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
  }

  func bucket(_ time: Int64) -> Int64 {
    guard let length = stats.bucket, length > 0 else { return 0 }
    let rest = time % length
    return rest >= 0 ? time - rest : time - rest - length
  }

  /// What a value is as a key: of the record's own fields the empty text counts as absent.
  static func key(_ field: LogField, _ value: FieldValue?) -> [UInt8]? {
    if field == .reserved(.level) {
      let level = FieldValue.canonicalLevel(value)
      return level.isEmpty ? nil : Array(level)
    }
    guard let value, value.kind != .null else { return nil }
    if case .reserved = field, value.text.isEmpty { return nil }
    return Array(value.text)
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

  mutating func count(_ records: Int) { count += records }

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
