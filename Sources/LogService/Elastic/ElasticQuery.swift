internal import ClusterModel
internal import LogIndex

/// Elasticsearch's queries as texts of the query language; pure. There is one engine: what it cannot do is refused with
/// what can be written instead.
struct ElasticQuery {
  /// Queries inside each other, at most.
  static let depthMaximum = 32

  /// Nanoseconds since 1970 that `now` stands for.
  let now: Int64

  /// The filter a query means.
  func filter(_ query: JSONValue, depth: Int = 0) throws(ElasticError) -> String {
    guard depth < Self.depthMaximum else {
      throw .parsing("queries are more than \(Self.depthMaximum) deep inside each other; make the query flatter")
    }
    guard case .object(let members) = query, let (name, body) = members.first, members.count == 1 else {
      throw .parsing("a query is an object with one key, such as {\"term\": {\"level\": \"error\"}}")
    }
    switch name {
    case "match_all": return QueryWords.everything
    case "match_none": return QueryWords.nothing
    case "bool": return try bool(body, depth)
    case "constant_score": return try nested(body["filter"], name, depth)
    case "query_string", "simple_query_string": return try text(body, name)
    case "term": return try term(body)
    case "terms": return try terms(body)
    case "match": return try match(body, isPhrase: false)
    case "match_phrase": return try match(body, isPhrase: true)
    case "match_phrase_prefix", "match_bool_prefix", "prefix": return try pattern(body, name)
    case "wildcard": return try pattern(body, name)
    case "range": return try range(body)
    case "exists": return try exists(body)
    default:
      throw .parsing(
        "unknown query [\(name)]; known are bool, match_all, match_none, query_string, match, match_phrase, term, "
          + "terms, prefix, wildcard, range, exists and constant_score")
    }
  }

  // MARK: Combinations

  private func nested(_ body: JSONValue?, _ name: String, _ depth: Int) throws(ElasticError) -> String {
    guard let body else { throw .parsing("[\(name)] needs a query") }
    return try filter(body, depth: depth + 1)
  }

  private func bool(_ body: JSONValue, _ depth: Int) throws(ElasticError) -> String {
    guard case .object(let members) = body else { throw .parsing("[bool] is an object") }
    var clauses: [String: [String]] = [:]
    var least: Int?
    for (name, value) in members.sorted(by: { $0.key < $1.key }) {
      switch name {
      case "must", "filter", "should", "must_not":
        var filters: [String] = []
        for query in value.arrayValue ?? [value] { filters.append(try filter(query, depth: depth + 1)) }
        clauses[name] = filters
      case "minimum_should_match":
        guard let number = value.intValue ?? value.stringValue.flatMap({ Int64($0) }) else {
          throw .unsupported("[minimum_should_match] is a number here")
        }
        least = Int(clamping: number)
      case "boost", "_name": continue
      default: throw .parsing("[bool] does not support [\(name)]")
      }
    }
    let required = (clauses["must"] ?? []) + (clauses["filter"] ?? [])
    var parts = required
    if let should = clauses["should"], !should.isEmpty {
      switch least ?? (required.isEmpty ? 1 : 0) {
      case ...0: break
      case 1: parts.append(QueryWords.any(should))
      case should.count: parts.append(QueryWords.all(should))
      default: throw .unsupported("[minimum_should_match] can be 0, 1 or the number of clauses")
      }
    }
    parts += (clauses["must_not"] ?? []).map(QueryWords.not)
    return QueryWords.all(parts)
  }

  private func text(_ body: JSONValue, _ name: String) throws(ElasticError) -> String {
    let given = body.stringValue ?? body["query"]?.stringValue
    guard let given else { throw .parsing("[\(name)] needs a text [query]") }
    guard given.utf8.count <= LuceneText.bytesMaximum else {
      throw .parsing("the text of [\(name)] has \(given.utf8.count) bytes; \(LuceneText.bytesMaximum) are the most")
    }
    let isAnd = body["default_operator"]?.stringValue?.lowercased() == "and"
    var fields = (body["fields"]?.arrayValue ?? []).compactMap(\.stringValue)
    if let field = body["default_field"]?.stringValue { fields = [field] }
    fields = fields.map { String($0.split(separator: "^").first ?? "message") }.filter { $0 != "*" }
    var parser = LuceneText(given, fields: fields, isAnd: isAnd, query: self)
    return try parser.filter()
  }

  // MARK: One field

  /// The one field of a query and what is said about it.
  private func one(_ body: JSONValue, _ name: String) throws(ElasticError) -> (field: String, value: JSONValue) {
    guard case .object(let members) = body else { throw .parsing("[\(name)] names a field") }
    let fields = members.filter { $0.key != "boost" && $0.key != "_name" }
    guard fields.count == 1, let (field, value) = fields.first else {
      throw .parsing("[\(name)] names one field; combine several with bool")
    }
    return (field, value)
  }

  private func term(_ body: JSONValue) throws(ElasticError) -> String {
    let (field, given) = try one(body, "term")
    return try equals(field, given["value"] ?? given)
  }

  private func terms(_ body: JSONValue) throws(ElasticError) -> String {
    let (field, given) = try one(body, "terms")
    guard case .array(let values) = given else { throw .parsing("[terms] needs a list of values for [\(field)]") }
    var choices: [String] = []
    for value in values { choices.append(try equals(field, value)) }
    return QueryWords.any(choices)
  }

  /// A field that is a value.
  func equals(_ field: String, _ value: JSONValue) throws(ElasticError) -> String {
    let text: String
    switch value {
    case .string(let given): text = given
    case .int(let number): text = String(number)
    case .double(let number):
      text = number == number.rounded() && abs(number) < 1e15 ? String(Int64(number)) : "\(number)"
    case .bool(let flag): text = String(flag)
    case .null, .array, .object: throw .unsupported("field [\(field)]: a value is a text, a number or true or false")
    }
    let meant = ElasticField(field)
    switch meant {
    case .time:
      guard let time = ElasticTime.parse(value, now: now) else { throw Self.noTime(text, field) }
      return meant.filter("\"\(RecordTime.text(time))\"")
    case .level:
      guard let level = LogLevel(word: text) else { return "fields.level:\(QueryWords.quoted(text))" }
      return meant.filter(level.rawValue)
    default: return meant.filter(QueryWords.quoted(text))
    }
  }

  /// Words of the message, any or all; another field's whole value.
  func match(_ field: String, _ value: JSONValue, all: Bool, isPhrase: Bool) throws(ElasticError) -> String {
    guard ElasticField(field) == .message, case .string(let text) = value else { return try equals(field, value) }
    if isPhrase { return text.isEmpty ? QueryWords.nothing : "msg:\(QueryWords.quoted(text))" }
    let words = QueryWords.words(text).map { "msg:\(QueryWords.quoted($0))" }
    return all && !words.isEmpty ? QueryWords.all(words) : QueryWords.any(words)
  }

  private func match(_ body: JSONValue, isPhrase: Bool) throws(ElasticError) -> String {
    let (field, given) = try one(body, isPhrase ? "match_phrase" : "match")
    let value = given["query"] ?? given
    let isAnd = given["operator"]?.stringValue?.lowercased() == "and"
    return try match(field, value, all: isAnd, isPhrase: isPhrase)
  }

  private func pattern(_ body: JSONValue, _ name: String) throws(ElasticError) -> String {
    let (field, given) = try one(body, name)
    guard let text = given.stringValue ?? (given["value"] ?? given["wildcard"] ?? given["query"])?.stringValue else {
      throw .parsing("[\(name)] needs a text for [\(field)]")
    }
    if name == "wildcard" { return try wildcard(field, text) }
    if text.isEmpty { return QueryWords.everything }
    if name != "prefix", ElasticField(field) == .message {
      var words = QueryWords.words(text)
      guard let last = words.popLast() else { return QueryWords.nothing }
      return QueryWords.all(words.map { "msg:\(QueryWords.quoted($0))" } + ["msg:\(QueryWords.pattern(last))*"])
    }
    return ElasticField(field).filter(QueryWords.pattern(text).replacing("*", with: "\\*") + "*")
  }

  /// A field that matches a pattern with `*`.
  func wildcard(_ field: String, _ text: String) throws(ElasticError) -> String {
    guard !text.contains("?") else {
      throw .unsupported("field [\(field)]: `?` in a pattern is not there; `*` is")
    }
    if text.allSatisfy({ $0 == "*" }) { return try exists(field) }
    guard text.contains("*") else { return try equals(field, .string(text)) }
    return ElasticField(field).filter(QueryWords.pattern(text))
  }

  /// A field that is there.
  func exists(_ field: String) throws(ElasticError) -> String {
    switch ElasticField(field) {
    case .time, .index: QueryWords.everything
    case let meant: meant.filter("*")
    }
  }

  private func exists(_ body: JSONValue) throws(ElasticError) -> String {
    guard let field = body["field"]?.stringValue else { throw .parsing("[exists] needs [field]") }
    return try exists(field)
  }

  // MARK: Ranges

  private func range(_ body: JSONValue) throws(ElasticError) -> String {
    let (field, given) = try one(body, "range")
    guard case .object(let members) = given else { throw .parsing("[range] needs gte, gt, lte or lt for [\(field)]") }
    let format = given["format"]?.stringValue
    if let zone = given["time_zone"]?.stringValue, !["UTC", "Z", "+00:00"].contains(zone) {
      throw .unsupported("[time_zone] can only be UTC; write times with their offset")
    }
    var parts: [String] = []
    for (name, value) in members.sorted(by: { $0.key < $1.key }) {
      switch name {
      case "gte", "from": parts.append(try bound(field, ">=", value, format))
      case "gt": parts.append(try bound(field, ">", value, format))
      case "lte", "to": parts.append(try bound(field, "<=", value, format))
      case "lt": parts.append(try bound(field, "<", value, format))
      case "format", "time_zone", "boost", "relation", "include_lower", "include_upper": continue
      default: throw .parsing("[range] query does not support [\(name)]")
      }
    }
    return QueryWords.all(parts.filter { $0 != QueryWords.everything })
  }

  /// One bound of a range; an open one is every record.
  func bound(
    _ field: String, _ comparison: String, _ value: JSONValue, _ format: String? = nil
  ) throws(ElasticError) -> String {
    if value == .null || value == .string("*") { return QueryWords.everything }
    let meant = ElasticField(field)
    let text = value.stringValue ?? String(decoding: value.encoded(), as: UTF8.self)
    switch meant {
    case .time:
      let up = comparison == ">" || comparison == "<="
      guard let time = ElasticTime.parse(value, format: format, now: now, roundsUp: up) else {
        throw Self.noTime(text, field)
      }
      return meant.filter("\(comparison)\"\(RecordTime.text(time))\"")
    case .level:
      guard let level = LogLevel(word: text) else {
        throw .unsupported("field [\(field)]: '\(text)' is no level; trace, debug, info, warn, error, fatal are")
      }
      return meant.filter(comparison + level.rawValue)
    case .message, .index: throw .unsupported("field [\(field)] is text and has no order")
    case .names(let names):
      guard Double(text) != nil else {
        throw .unsupported("field [\(field)]: '\(text)' is no number; only numbers and @timestamp have an order")
      }
      // The record's own fields are texts; those of a document may be numbers.
      return "\(QueryWords.quoted(names[names.count - 1])):\(comparison)\(text)"
    }
  }

  private static func noTime(_ text: String, _ field: String) -> ElasticError {
    ElasticError(
      400, "parse_exception",
      "failed to parse date field [\(text)] of [\(field)]; write 2026-11-22T08:00:00Z, milliseconds since 1970 or now-15m"
    )
  }
}
