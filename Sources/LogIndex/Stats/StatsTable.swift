/// Gathers statistics record by record, within bounds on groups and memory.
struct StatsTable {
  static let groupsMaximum = 100_000
  static let exactValuesMaximum = 1_000_000

  private struct Group {
    var bucket: Int64
    /// The number of its combination of keys.
    var keys: Int
  }

  private let stats: LogStats
  private let groupsMaximum: Int
  /// The texts of keys that were seen together, each combination once.
  private var combinations: [[[UInt8]?]] = []
  private var combinationNumbers: [[[UInt8]?]: Int] = [:]
  private var groups: [Group] = []
  /// By the number of the combination: by bucket.
  private var groupNumbers: [[Int64: Int]] = []
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
    guard let group = group(bucket: bucket(record.time), keys: combination(texts)) else { return }
    for (index, function) in stats.functions.enumerated() {
      let value = function.field.flatMap { record.value($0) }
      add(
        group, function: index, exists: function.field == nil || value?.isPresent ?? false,
        number: function.kind == .count ? nil : value?.number)
    }
  }

  /// The number of a combination of keys; nil when there are too many.
  mutating func combination(_ texts: [[UInt8]?]) -> Int? {
    if let number = combinationNumbers[texts] { return number }
    guard combinations.count < groupsMaximum else {
      isFull = true
      return nil
    }
    combinationNumbers[texts] = combinations.count
    combinations.append(texts)
    groupNumbers.append([:])
    return combinations.count - 1
  }

  /// The number of a group, made if need be; nil when there are too many.
  mutating func group(bucket: Int64, keys: Int?) -> Int? {
    guard let keys else { return nil }
    if let group = groupNumbers[keys][bucket] { return group }
    guard groups.count < groupsMaximum else {
      isFull = true
      return nil
    }
    groupNumbers[keys][bucket] = groups.count
    groups.append(Group(bucket: bucket, keys: keys))
    for function in stats.functions { accumulators.append(StatsAccumulator(function.kind)) }
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
    let keys = combinations.map { texts -> [LogStatValue] in
      texts.map { $0.map { .text(String(decoding: $0, as: UTF8.self)) } ?? .none }
    }
    // Combinations are put in order once; then most of the order of many groups is that of two numbers.
    let ranks = Self.ranks(keys)
    let known = groups.enumerated().sorted {
      ($0.element.bucket, ranks[$0.element.keys]) < ($1.element.bucket, ranks[$1.element.keys])
    }
    var rows = known.map { number, group in
      var values: [LogStatValue] = []
      values.reserveCapacity(1 + stats.keys.count + width)
      if stats.bucket != nil { values.append(.time(group.bucket)) }
      values += keys[group.keys]
      for accumulator in accumulators[(number * width)..<((number + 1) * width)] { values.append(accumulator.value()) }
      return LogStatRow(values: values)
    }
    if rows.isEmpty, stats.keys.isEmpty, stats.bucket == nil {
      rows = [LogStatRow(values: stats.functions.map { StatsAccumulator($0.kind).value() })]
    }
    if !stats.order.isEmpty {
      rows.sort { isBefore($0, $1) }
    } else {
      // Texts that are alike but not the same byte for byte leave the order to the values.
      var start = 0
      while start < rows.count {
        var end = start + 1
        while end < rows.count, known[end].element.bucket == known[start].element.bucket,
          ranks[known[end].element.keys] == ranks[known[start].element.keys]
        {
          end += 1
        }
        if end > start + 1 { rows[start..<end].sort { isBefore($0, $1) } }
        start = end
      }
    }
    return limit.map { Array(rows.prefix($0)) } ?? rows
  }

  /// The place of each combination in their order; the same for those that no order tells apart.
  private static func ranks(_ keys: [[LogStatValue]]) -> [Int] {
    func isBefore(_ left: Int, _ right: Int) -> Bool {
      for (mine, others) in zip(keys[left], keys[right]) {
        if let before = mine.isBefore(others) { return before }
      }
      return false
    }
    var ranks = Array(repeating: 0, count: keys.count)
    var rank = 0
    var previous: Int?
    for number in keys.indices.sorted(by: isBefore) {
      if let previous, isBefore(previous, number) { rank += 1 }
      ranks[number] = rank
      previous = number
    }
    return ranks
  }

  private func isBefore(_ left: LogStatRow, _ right: LogStatRow) -> Bool {
    for step in stats.order {
      if let before = left.values[step.column].isBefore(right.values[step.column]) {
        return before != step.isDescending
      }
    }
    for (mine, others) in zip(left.values, right.values) {
      if let before = mine.isBefore(others) { return before }
    }
    return false
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
