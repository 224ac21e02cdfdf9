internal import ClusterModel
internal import LogIndex

/// A `_search` request: what is done of Elasticsearch's; pure.
struct ElasticSearch {
  /// Hits of one answer, with those before them that `from` leaves out.
  static let windowMaximum = 10_000

  /// The filter in the query language.
  private(set) var filter = QueryWords.everything
  /// Hits shown.
  private(set) var size = 10
  /// Hits left out before them.
  private(set) var from = 0
  /// Oldest first.
  private(set) var isAscending = false
  /// What each hit's `sort` has; empty when no order was asked for.
  private(set) var sorts: [Sort] = []
  /// Hits come behind this one.
  private(set) var after: LogPosition?
  /// Whether hits are counted beyond those shown.
  private(set) var countsTotal = true
  /// What is shown of documents.
  private(set) var source = ElasticSource()
  /// Aggregations.
  private(set) var aggregations: [ElasticAggregation] = []

  /// A part of a hit's `sort`.
  enum Sort: Equatable {
    /// Milliseconds since 1970.
    case time
    /// What tells records of one moment apart.
    case tiebreak
  }

  private static let ignored: Set<String> = [
    "timeout", "track_scores", "version", "seq_no_primary_term", "explain", "highlight", "terminate_after",
    "stored_fields", "min_score", "stats", "profile", "preference", "indices_boost", "ext", "request_cache",
  ]

  /// Reads a body, and the parameters of the URL that stand for parts of it.
  init(
    _ body: JSONValue, parameters: (String) -> String? = { _ in nil }, now: Int64
  ) throws(ElasticError) {
    guard case .object(let members) = body else { throw .parsing("the body is a JSON object") }
    let query = ElasticQuery(now: now)
    if let text = parameters("q") {
      filter = try query.filter(
        .object([
          "query_string": .object([
            "query": .string(text), "default_operator": .string(parameters("default_operator") ?? "or"),
          ])
        ]))
    }
    for (name, value) in members.sorted(by: { $0.key < $1.key }) {
      switch name {
      case "query": filter = try query.filter(value)
      case "size": size = try Self.number(value, name)
      case "from": from = try Self.number(value, name)
      case "sort": try take(sort: value)
      case "search_after": break
      case "track_total_hits": countsTotal = value != .bool(false)
      case "_source": source = try ElasticSource(value)
      case "aggs", "aggregations": aggregations = try ElasticAggregation.read(value)
      case "post_filter": throw .unsupported("[post_filter] is not there; put it into the query")
      default:
        guard Self.ignored.contains(name) else {
          throw .parsing(
            "unknown key [\(name)] in the body; known are query, size, from, sort, search_after, track_total_hits, "
              + "_source and aggs")
        }
      }
    }
    if let text = parameters("size") { size = try Self.number(.string(text), "size") }
    if let text = parameters("from") { from = try Self.number(.string(text), "from") }
    if let text = parameters("sort") { try take(sort: .array(text.split(separator: ",").map { .string(String($0)) })) }
    if parameters("track_total_hits") == "false" { countsTotal = false }
    if let text = parameters("_source") {
      source = try ElasticSource(
        text == "true" || text == "false"
          ? .bool(text == "true") : .array(text.split(separator: ",").map { .string(String($0)) }))
    }
    if let value = members["search_after"] { try take(after: value) }
    guard size + from <= Self.windowMaximum else {
      throw ElasticError(
        400, "illegal_argument_exception",
        "Result window is too large, from + size must be less than or equal to: [\(Self.windowMaximum)] but was "
          + "[\(size + from)]; use search_after")
    }
  }

  private static func number(_ value: JSONValue, _ name: String) throws(ElasticError) -> Int {
    guard let number = value.intValue ?? value.stringValue.flatMap({ Int64($0) }), number >= 0, number < 1 << 31 else {
      throw .parsing("[\(name)] is a number from 0 on")
    }
    return Int(number)
  }

  // MARK: Order

  private mutating func take(sort value: JSONValue) throws(ElasticError) {
    sorts = []
    for (index, clause) in (value.arrayValue ?? [value]).enumerated() {
      var name = ""
      var order: String?
      switch clause {
      case .string(let text):
        let parts = text.split(separator: ":")
        name = String(parts.first ?? "")
        order = parts.count > 1 ? String(parts[1]) : nil
      case .object(let members):
        guard let (key, how) = members.first, members.count == 1 else {
          throw .parsing("[sort] names one field a clause")
        }
        name = key
        order = how.stringValue ?? how["order"]?.stringValue
      default: throw .parsing("[sort] has names or objects")
      }
      switch name {
      case "@timestamp":
        sorts.append(.time)
        if index == 0 { isAscending = order?.lowercased() != "desc" }
      case "_doc", "_shard_doc", "_id", "_seq_no": sorts.append(.tiebreak)
      case "_score": continue
      default:
        throw .unsupported("[sort] on [\(name)]: hits are in the order of @timestamp; sort groups with aggs")
      }
    }
    // Records of one moment are told apart whether asked for or not, so that search_after loses none.
    if !sorts.isEmpty, !sorts.contains(.tiebreak) { sorts.append(.tiebreak) }
  }

  private mutating func take(after value: JSONValue) throws(ElasticError) {
    guard case .array(let values) = value, !values.isEmpty, !sorts.isEmpty else {
      throw .parsing("[search_after] has the `sort` of the last hit, and needs the same [sort] with it")
    }
    guard from == 0 else { throw .unsupported("[from] must be 0 with [search_after]") }
    if let text = values.last?.stringValue, let position = Self.position(text) {
      after = position
    } else if let first = values.first, let time = ElasticTime.parse(first, now: 0) {
      // A time alone: everything of that millisecond was shown.
      after = LogPosition(time: isAscending ? time + 999_999 : time, id: isAscending ? .max : .min)
    } else {
      throw .parsing("[search_after] has the `sort` of the last hit, as it was answered")
    }
  }

  /// What tells a record from all others: its time and number.
  static func text(_ position: LogPosition) -> String { "\(position.time).\(position.id)" }

  private static func position(_ text: String) -> LogPosition? {
    let parts = text.split(separator: ".")
    guard parts.count == 2, let time = Int64(parts[0]), let id = Int64(parts[1]) else { return nil }
    return LogPosition(time: time, id: id)
  }

  /// A hit's `sort`.
  func sort(_ position: LogPosition) -> [UInt8] {
    var output: [UInt8] = [UInt8(ascii: "[")]
    for (index, sort) in sorts.enumerated() {
      if index > 0 { output.append(UInt8(ascii: ",")) }
      switch sort {
      case .time: output.append(contentsOf: String(ElasticTime.milliseconds(position.time)).utf8)
      case .tiebreak: output.append(contentsOf: "\"\(Self.text(position))\"".utf8)
      }
    }
    output.append(UInt8(ascii: "]"))
    return output
  }
}
