internal import ClusterModel
internal import LogIndex

/// One aggregation of a request, with those inside it; pure.
struct ElasticAggregation {
  /// Aggregations inside each other, at most.
  static let depthMaximum = 4
  /// Aggregations of a request, at most.
  static let countMaximum = 32
  /// Buckets of an answer, at most.
  static let bucketsMaximum = 65_536

  enum Kind: Equatable {
    /// Spans of so many nanoseconds.
    case dateHistogram(interval: Int64, isSparse: Bool)
    /// The values of a field.
    case terms(field: String, size: Int, order: Order)
    /// One number: the statistics function and its field.
    case metric(function: String)
    /// Count, sum and so on of a field.
    case stats(field: String)
    /// Percentiles of a field.
    case percentiles(field: String, percents: [Double], isKeyed: Bool)
  }

  /// How the buckets of `terms` are ordered.
  enum Order: Equatable {
    case count(isAscending: Bool)
    case key(isAscending: Bool)
  }

  /// The name in the answer.
  let name: String
  let kind: Kind
  let inside: [ElasticAggregation]

  /// Whether it makes buckets.
  var isBucket: Bool {
    switch kind {
    case .dateHistogram, .terms: true
    case .metric, .stats, .percentiles: false
    }
  }

  /// The aggregations of a request's `aggs`.
  static func read(_ value: JSONValue) throws(ElasticError) -> [ElasticAggregation] {
    var count = 0
    return try read(value, depth: 0, hasHistogram: false, &count)
  }

  private static func read(
    _ value: JSONValue, depth: Int, hasHistogram: Bool, _ count: inout Int
  ) throws(ElasticError) -> [ElasticAggregation] {
    guard case .object(let members) = value else { throw .parsing("[aggs] is an object of named aggregations") }
    guard depth < depthMaximum else { throw .unsupported("aggregations are \(depthMaximum) deep at most") }
    var found: [ElasticAggregation] = []
    for (name, about) in members.sorted(by: { $0.key < $1.key }) {
      count += 1
      guard count <= countMaximum else { throw .unsupported("more than \(countMaximum) aggregations") }
      guard case .object(let parts) = about else { throw .parsing("aggregation [\(name)] is an object") }
      let kinds = parts.filter { !["aggs", "aggregations", "meta"].contains($0.key) }
      guard kinds.count == 1, let (kind, body) = kinds.first else {
        throw .parsing("aggregation [\(name)] has one type, such as terms")
      }
      let read = try self.kind(kind, body, name)
      var isHistogram = false
      if case .dateHistogram = read { isHistogram = true }
      guard !(isHistogram && hasHistogram) else {
        throw .unsupported("[\(name)]: one date_histogram inside another is not there")
      }
      var inside: [ElasticAggregation] = []
      if let below = parts["aggs"] ?? parts["aggregations"] {
        inside = try self.read(below, depth: depth + 1, hasHistogram: hasHistogram || isHistogram, &count)
      }
      let aggregation = ElasticAggregation(name: name, kind: read, inside: inside)
      guard inside.isEmpty || aggregation.isBucket else {
        throw .parsing("Aggregator [\(name)] of type [\(kind)] cannot accept sub-aggregations")
      }
      found.append(aggregation)
    }
    return found
  }

  private static func kind(_ kind: String, _ body: JSONValue, _ name: String) throws(ElasticError) -> Kind {
    func field() throws(ElasticError) -> String {
      guard let field = body["field"]?.stringValue else { throw .parsing("[\(name)] needs a [field]") }
      guard body["script"] == nil, body["missing"] == nil else {
        throw .unsupported("[\(name)]: [script] and [missing] are not there")
      }
      return QueryWords.quoted(ElasticField(field).column)
    }
    switch kind {
    case "date_histogram": return try histogram(body, name)
    case "terms":
      guard body["include"] == nil, body["exclude"] == nil else {
        throw .unsupported("[\(name)]: [include] and [exclude] are not there; narrow the query")
      }
      let size = body["size"]?.intValue ?? 10
      guard size > 0, size <= bucketsMaximum else { throw .unsupported("[\(name)]: [size] is 1 to \(bucketsMaximum)") }
      return .terms(field: try field(), size: Int(size), order: try order(body["order"], name))
    case "percentiles": return try percentiles(body, try field(), name)
    case "stats": return .stats(field: try field())
    case "avg", "min", "max", "sum": return .metric(function: "\(kind)(\(try field()))")
    case "value_count":
      // Every record has these.
      let column = try field()
      return .metric(function: ["\"time\"", "\"namespace\""].contains(column) ? "count()" : "count(\(column))")
    default:
      throw .parsing(
        "unknown aggregation type [\(kind)]; known are date_histogram, terms, percentiles, stats, avg, min, max, sum and "
          + "value_count")
    }
  }

  private static func histogram(_ body: JSONValue, _ name: String) throws(ElasticError) -> Kind {
    guard body["field"]?.stringValue == "@timestamp" else { throw .unsupported("[\(name)]: [field] is @timestamp") }
    for option in ["time_zone", "offset", "extended_bounds", "hard_bounds", "format", "order", "keyed"] {
      guard let value = body[option], value != .bool(false), !["UTC", "Z", "+00:00"].contains(value.stringValue ?? "")
      else { continue }
      throw .unsupported("[\(name)]: [\(option)] is not there; spans begin at their multiples in UTC, oldest first")
    }
    let text = body["fixed_interval"] ?? body["calendar_interval"] ?? body["interval"]
    guard let text = text?.stringValue else { throw .parsing("[\(name)] needs [fixed_interval], such as 5m") }
    let names = ["second": "1s", "minute": "1m", "hour": "1h", "day": "1d"]
    let interval = names[text] ?? text
    let digits = interval.prefix { $0.isASCII && $0.isNumber }
    let units: [String: Int64] = [
      "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000, "d": 86_400_000_000_000,
    ]
    guard let count = Int64(digits), count > 0, count <= 1_000_000_000,
      let unit = units[String(interval.dropFirst(digits.count))], count <= 366 * 86_400_000_000_000 / unit
    else {
      throw .unsupported(
        "[\(name)]: \(text) is no span of 1ms to 366d in ms, s, m, h or d; weeks and months are not there")
    }
    return .dateHistogram(interval: count * unit, isSparse: (body["min_doc_count"]?.intValue ?? 0) > 0)
  }

  private static func percentiles(_ body: JSONValue, _ field: String, _ name: String) throws(ElasticError) -> Kind {
    var percents: [Double] = [1, 5, 25, 50, 75, 95, 99]
    if let given = body["percents"] {
      guard case .array(let values) = given, !values.isEmpty, values.count <= 24 else {
        throw .parsing("[\(name)]: [percents] is a list of 1 to 24 numbers")
      }
      percents = []
      for value in values {
        let number: Double? =
          switch value {
          case .int(let number): Double(number)
          case .double(let number): number
          default: nil
          }
        guard let number, number >= 0, number <= 100, number == number.rounded() else {
          throw .unsupported("[\(name)]: percents are whole numbers from 0 to 100")
        }
        percents.append(number)
      }
    }
    return .percentiles(field: field, percents: percents, isKeyed: body["keyed"] != .bool(false))
  }

  private static func order(_ value: JSONValue?, _ name: String) throws(ElasticError) -> Order {
    guard let value else { return .count(isAscending: false) }
    let clause = value.arrayValue?.first ?? value
    guard case .object(let members) = clause, let (key, how) = members.first else {
      throw .parsing("[\(name)]: [order] is an object such as {\"_count\": \"desc\"}")
    }
    let isAscending = how.stringValue?.lowercased() == "asc"
    switch key {
    case "_count": return .count(isAscending: isAscending)
    case "_key", "_term": return .key(isAscending: isAscending)
    default: throw .unsupported("[\(name)]: [order] is by _count or _key")
    }
  }
}

/// The statistics that aggregations need, as pipes of the query language; pure.
struct ElasticPlan {
  /// One statistics query: the buckets of one aggregation below those around it, or (without keys) the metrics outside
  /// all buckets.
  struct Step {
    /// The text behind `| stats`.
    var stats: String
    /// What each column of a bucket's place means, in the order of the buckets around it; the last is its own.
    var path: [Part]
    /// The functions' columns: behind the count, by the names of metrics.
    var metrics: [(aggregation: ElasticAggregation, first: Int)]
  }

  /// One bucket around another.
  enum Part: Equatable {
    case time
    case key(Int)
  }

  /// The steps by the names of the aggregations from the outermost on.
  private(set) var steps: [[String]: Step] = [:]

  init(_ aggregations: [ElasticAggregation]) {
    if aggregations.contains(where: { !$0.isBucket }) {
      steps[[]] = Self.step(aggregations, around: [])
    }
    add(aggregations, names: [], around: [])
  }

  private mutating func add(_ aggregations: [ElasticAggregation], names: [String], around: [ElasticAggregation]) {
    for aggregation in aggregations where aggregation.isBucket {
      steps[names + [aggregation.name]] = Self.step(aggregation.inside, around: around + [aggregation])
      add(aggregation.inside, names: names + [aggregation.name], around: around + [aggregation])
    }
  }

  private static func step(_ inside: [ElasticAggregation], around: [ElasticAggregation]) -> Step {
    var functions = ["count() as c"]
    var metrics: [(aggregation: ElasticAggregation, first: Int)] = []
    for aggregation in inside where !aggregation.isBucket {
      metrics.append((aggregation, functions.count))
      functions += aggregation.functions
    }
    for index in functions.indices.dropFirst() { functions[index] += " as m\(index)" }
    var keys: [String] = []
    var path: [Part] = []
    var stats = functions.joined(separator: ", ")
    var span: Int64?
    for aggregation in around {
      switch aggregation.kind {
      case .terms(let field, _, _):
        path.append(.key(keys.count))
        keys.append(field)
      case .dateHistogram(let interval, _):
        path.append(.time)
        span = interval
      default: continue
      }
    }
    if !keys.isEmpty { stats += " by (\(keys.joined(separator: ", ")))" }
    if let span { stats += " per \(span)ns" }
    return Step(stats: stats, path: path, metrics: metrics)
  }
}

extension ElasticAggregation {
  /// The statistics functions of a metric, in the order `ElasticBuckets` reads them.
  fileprivate var functions: [String] {
    switch kind {
    case .metric(let function): [function]
    case .stats(let field): ["count", "sum", "min", "max", "avg"].map { "\($0)(\(field))" }
    case .percentiles(let field, let percents, _):
      percents.map { $0 == 0 ? "min(\(field))" : $0 == 100 ? "max(\(field))" : "p\(Int($0))(\(field))" }
    case .dateHistogram, .terms: []
    }
  }
}
