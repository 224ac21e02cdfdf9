/// Gathers statistics record by record, within bounds on groups and memory.
struct StatsTable: Sendable {
  static let groupsMaximum = 100_000
  /// Bytes of the keys of all groups; each is held some four times until the answer is sent.
  static let keyBytesMaximum = 64 << 20
  static let exactValuesMaximum = 1_000_000

  let stats: LogStats
  private let groupsMaximum: Int
  private let keyBytesMaximum: Int
  /// The texts of keys that were seen together.
  private var combinations = KeyTable()
  private var groups = GroupTable()
  /// Of each function that only counts: its count in each group.
  private var counts: [[Int]]
  /// Of each other function: what it has of each group.
  private var accumulators: [[StatsAccumulator]]
  private var exactValues = StatsTable.exactValuesMaximum
  /// Whether a record fell into a group beyond the most there may be, or whose keys are beyond their bytes.
  private(set) var isFull = false

  init(
    _ stats: LogStats, groupsMaximum: Int = StatsTable.groupsMaximum,
    keyBytesMaximum: Int = StatsTable.keyBytesMaximum
  ) {
    self.stats = stats
    self.groupsMaximum = max(1, groupsMaximum)
    self.keyBytesMaximum = keyBytesMaximum
    counts = Array(repeating: [], count: stats.functions.count)
    accumulators = Array(repeating: [], count: stats.functions.count)
  }

  mutating func add(_ record: IndexedRecord) {
    let texts = stats.keys.map { Self.key($0, record.value($0)) }
    guard let group = group(bucket: bucket(record.time), keys: combination(texts)) else { return }
    for (index, function) in stats.functions.enumerated() {
      let value = function.field.flatMap { record.value($0) }
      if function.kind == .count {
        if function.field == nil || value?.isPresent ?? false { count(group, function: index, 1) }
      } else if let number = value?.number {
        add(group, function: index, [number])
      }
    }
  }

  /// The number of a combination of keys; nil when there are too many.
  mutating func combination(_ texts: some Sequence<[UInt8]?>) -> Int? {
    let number = combinations.number(texts, most: groupsMaximum, bytes: keyBytesMaximum)
    if number == nil { isFull = true }
    return number
  }

  /// The number of a group, made if need be; nil when there are too many.
  @inline(__always) mutating func group(bucket: Int64, keys: Int?) -> Int? {
    guard let keys else { return nil }
    guard let group = groups.number(bucket, keys, most: groupsMaximum) else {
      isFull = true
      return nil
    }
    return group
  }

  /// Adds numbers to one function of a group.
  mutating func add(_ group: Int, function: Int, _ numbers: [Double]) {
    makeRoom(function)
    accumulators[function][group].add(numbers, exactValues: &exactValues)
  }

  /// Adds so many records to a function that counts.
  @inline(__always) mutating func count(_ group: Int, function: Int, _ records: Int) {
    if counts[function].count <= group { makeRoom(function) }
    counts[function][group] += records
  }

  /// Has a function know all groups there are.
  private mutating func makeRoom(_ function: Int) {
    let kind = stats.functions[function].kind
    if kind == .count {
      counts[function].append(contentsOf: repeatElement(0, count: groups.count - counts[function].count))
    } else if accumulators[function].count < groups.count {
      let more = groups.count - accumulators[function].count
      accumulators[function].append(contentsOf: repeatElement(StatsAccumulator(kind), count: more))
    }
  }

  /// What a function has come to in each group.
  private func figures(_ function: Int) -> [StatFigure] {
    if stats.functions[function].kind == .count {
      let known = counts[function].map { StatFigure.count($0) }
      return known + repeatElement(.count(0), count: groups.count - known.count)
    }
    let known = accumulators[function].map { $0.figure() }
    return known + repeatElement(.none, count: groups.count - known.count)
  }

  /// The rows, in order and cut to the limit.
  func rows(limit: Int?) -> [LogStatRow] {
    let lines = lines(limit: limit)
    return (0..<lines.count).map { lines.row($0) }
  }

  /// The same, ready to be put into words.
  func lines(limit: Int?) -> LogStatLines {
    let keys = combinations.combinations.map { texts -> [LogStatValue] in
      texts.map { $0.map { .text(String(decoding: $0, as: UTF8.self)) } ?? .none }
    }
    if groups.count == 0, stats.keys.isEmpty, stats.bucket == nil {
      // Of no record at all there is one row.
      var empty = self
      _ = empty.group(bucket: 0, keys: empty.combination([[UInt8]?]()))
      return empty.lines(limit: limit)
    }
    let figures = stats.functions.indices.map { self.figures($0) }
    let order = StatsOrder(stats, groups, keys: combinations.combinations, figures: figures).numbers(limit: limit)
    return LogStatLines(stats, groups, keys: keys, figures: figures, order: order)
  }

  /// Where the span of time begins that a time falls into.
  func bucket(_ time: Int64) -> Int64 {
    guard let length = stats.bucket, length > 0 else { return 0 }
    let rest = time % length
    if rest >= 0 { return time - rest }
    let (start, isOut) = (time - rest).subtractingReportingOverflow(length)
    return isOut ? RecordTime.range.lowerBound : start
  }

  /// Where the next one begins.
  func end(ofBucket start: Int64) -> Int64 {
    guard let length = stats.bucket, length > 0 else { return start &+ 1 }
    let rest = start % length
    return rest < 0 ? start - rest : start &+ length
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

/// One function of one group, but a count.
struct StatsAccumulator {
  private let kind: LogStats.Kind
  private var count = 0
  private var total: Double = 0
  private var smallest = Double.infinity
  private var largest = -Double.infinity
  private var quantiles = QuantileSketch()

  init(_ kind: LogStats.Kind) { self.kind = kind }

  mutating func add(_ numbers: [Double], exactValues: inout Int) {
    count += numbers.count
    for number in numbers {
      total += number
      smallest = min(smallest, number)
      largest = max(largest, number)
    }
    if case .percentile = kind { quantiles.add(numbers, budget: &exactValues) }
  }

  func figure() -> StatFigure {
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

/// What a function has come to.
enum StatFigure: Sendable {
  case none
  case count(Int)
  case number(Double)

  var value: LogStatValue {
    switch self {
    case .none: .none
    case .count(let count): .count(count)
    case .number(let number): .number(number)
    }
  }

  /// Nil when neither comes first.
  func isBefore(_ other: StatFigure) -> Bool? {
    switch (self, other) {
    case (.none, .none): nil
    case (.none, _): true
    case (_, .none): false
    default: number == other.number ? nil : number < other.number
    }
  }

  private var number: Double {
    switch self {
    case .none: 0
    case .count(let count): Double(count)
    case .number(let number): number
    }
  }
}
