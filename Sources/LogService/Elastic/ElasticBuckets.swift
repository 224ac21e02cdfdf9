internal import ClusterModel
internal import LogIndex

/// Puts the rows of statistics together as Elasticsearch answers aggregations; pure.
struct ElasticBuckets {
  /// A bucket's place below one of its parents.
  enum Key: Hashable {
    case time(Int64)
    case text(String)
  }

  private struct Row {
    var key: Key
    var count: Int
    var values: [LogStatValue]
  }

  private let plan: ElasticPlan
  /// The rows of each step, by the place of their parents.
  private var rows: [[String]: [[Key]: [Row]]] = [:]
  /// The row without a place of each step: metrics outside all buckets.
  private var root: [LogStatValue] = []
  private var bucketsLeft = ElasticAggregation.bucketsMaximum

  init(_ plan: ElasticPlan) { self.plan = plan }

  /// Takes the rows of a step.
  mutating func take(_ name: [String], _ result: [LogStatRow]) {
    guard let step = plan.steps[name] else { return }
    guard !step.path.isEmpty else {
      root = result.first?.values ?? []
      return
    }
    let hasTime = step.path.contains(.time)
    let keys = step.path.count - (hasTime ? 1 : 0)
    let first = (hasTime ? 1 : 0)
    var found: [[Key]: [Row]] = [:]
    for row in result {
      var place: [Key] = []
      for part in step.path {
        switch part {
        case .time: if case .time(let time) = row.values[0] { place.append(.time(time)) }
        case .key(let number): if case .text(let text) = row.values[first + number] { place.append(.text(text)) }
        }
      }
      // A record without the field is in no bucket.
      guard place.count == step.path.count, let key = place.popLast() else { continue }
      let values = Array(row.values[(first + keys)...])
      guard case .count(let count)? = values.first else { continue }
      found[place, default: []].append(Row(key: key, count: count, values: values))
    }
    rows[name] = found
  }

  /// The `aggregations` of the answer.
  mutating func answer(_ aggregations: [ElasticAggregation]) throws(ElasticError) -> JSONValue {
    try answer(aggregations, names: [], place: [], values: root)
  }

  private mutating func answer(
    _ aggregations: [ElasticAggregation], names: [String], place: [Key], values: [LogStatValue]
  ) throws(ElasticError) -> JSONValue {
    var object: [String: JSONValue] = [:]
    let metrics = plan.steps[names]?.metrics ?? []
    for aggregation in aggregations {
      if aggregation.isBucket {
        object[aggregation.name] = try buckets(aggregation, names + [aggregation.name], place)
      } else if let metric = metrics.first(where: { $0.aggregation.name == aggregation.name }) {
        object[aggregation.name] = Self.metric(aggregation, Array(values.dropFirst(metric.first)))
      }
    }
    return .object(object)
  }

  private mutating func buckets(
    _ aggregation: ElasticAggregation, _ names: [String], _ place: [Key]
  ) throws(ElasticError) -> JSONValue {
    var found = rows[names]?[place] ?? []
    var object: [String: JSONValue] = [:]
    switch aggregation.kind {
    case .terms(_, let size, let order):
      found.sort { Self.isBefore($0, $1, order) }
      let others = found.dropFirst(size).reduce(0) { $0 + $1.count }
      found = Array(found.prefix(size))
      object["doc_count_error_upper_bound"] = .int(0)
      object["sum_other_doc_count"] = .int(Int64(others))
    case .dateHistogram(let interval, let isSparse):
      found.sort { Self.time($0.key) < Self.time($1.key) }
      if !isSparse { found = try filled(found, interval) }
    default: break
    }
    bucketsLeft -= found.count
    guard bucketsLeft >= 0 else { throw Self.tooMany }
    var buckets: [JSONValue] = []
    for row in found {
      let inside = try answer(aggregation.inside, names: names, place: place + [row.key], values: row.values)
      var bucket = inside.objectValue ?? [:]
      bucket["doc_count"] = .int(Int64(row.count))
      switch row.key {
      case .time(let time):
        bucket["key"] = .int(ElasticTime.milliseconds(time))
        bucket["key_as_string"] = .string(ElasticTime.text(time))
      case .text(let text): bucket["key"] = Self.key(text)
      }
      buckets.append(.object(bucket))
    }
    object["buckets"] = .array(buckets)
    return .object(object)
  }

  private static let tooMany = ElasticError(
    400, "too_many_buckets_exception",
    "Trying to create too many buckets. Must be less than or equal to: [\(ElasticAggregation.bucketsMaximum)]; take a "
      + "longer interval or narrow the query")

  /// The spans between the first and the last that have no record, too.
  private func filled(_ rows: [Row], _ interval: Int64) throws(ElasticError) -> [Row] {
    guard let first = rows.first, let last = rows.last else { return rows }
    // The first span there can be begins with the times, not at a multiple.
    if Self.time(first.key) % interval != 0 { return [first] + (try filled(Array(rows.dropFirst()), interval)) }
    let (width, isFar) = Self.time(last.key).subtractingReportingOverflow(Self.time(first.key))
    let spans = width / interval + 1
    guard !isFar, spans <= bucketsLeft else { throw Self.tooMany }
    var filled: [Row] = []
    var next = rows[...]
    for number in 0..<spans {
      let key = Key.time(Self.time(first.key) + number * interval)
      if let row = next.first, row.key == key {
        filled.append(row)
        next.removeFirst()
      } else {
        filled.append(Row(key: key, count: 0, values: []))
      }
    }
    return filled
  }

  private static func isBefore(_ left: Row, _ right: Row, _ order: ElasticAggregation.Order) -> Bool {
    switch order {
    case .count(let isAscending):
      if left.count != right.count { return (left.count < right.count) == isAscending }
      return text(left.key) < text(right.key)
    case .key(let isAscending):
      let (left, right) = (text(left.key), text(right.key))
      if let one = Double(left), let other = Double(right), one != other { return (one < other) == isAscending }
      return left != right && (left < right) == isAscending
    }
  }

  private static func time(_ key: Key) -> Int64 { if case .time(let time) = key { time } else { 0 } }
  private static func text(_ key: Key) -> String { if case .text(let text) = key { text } else { "" } }

  /// A key that is spelled as a number is one.
  private static func key(_ text: String) -> JSONValue {
    if let number = Int64(text), String(number) == text { return .int(number) }
    if let number = Double(text), number.isFinite, "\(number)" == text { return .double(number) }
    return .string(text)
  }

  // MARK: Metrics

  private static func metric(_ aggregation: ElasticAggregation, _ values: [LogStatValue]) -> JSONValue {
    func value(_ index: Int) -> JSONValue { index < values.count ? number(values[index]) : .null }
    switch aggregation.kind {
    case .metric(let function):
      let isCount = function.hasPrefix("count(")
      return .object(["value": values.isEmpty && isCount ? .int(0) : value(0)])
    case .stats:
      let names = ["count", "sum", "min", "max", "avg"]
      var object = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, value($0)) })
      for name in ["count", "sum"] where object[name] == .null { object[name] = .int(0) }
      return .object(object)
    case .percentiles(_, let percents, let isKeyed):
      if isKeyed {
        let pairs = percents.enumerated().map { ("\($1)", value($0)) }
        return .object(["values": .object(Dictionary(pairs) { _, last in last })])
      }
      return .object([
        "values": .array(percents.enumerated().map { .object(["key": .double($1), "value": value($0)]) })
      ])
    case .dateHistogram, .terms: return .null
    }
  }

  private static func number(_ value: LogStatValue) -> JSONValue {
    switch value {
    case .count(let count): .int(Int64(count))
    case .number(let number): .double(number)
    case .none, .text, .time: .null
    }
  }
}
