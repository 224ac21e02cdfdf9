internal import ClusterAPI
internal import ClusterModel
internal import HTTPService
internal import Hummingbird

/// What a console shows beside the records: how many there were when, and the values of fields. Statistics of the query
/// language, in one answer.
extension LogRoutes {
  /// Fields of one answer of `facets`, at most.
  static let facetsMaximum = 8
  /// Values of one field, at most.
  static let facetValuesMaximum = 100

  /// `GET …/logs/histogram?query=&since=1h&until=&spans=60&by=level`.
  func histogram(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ namespace: String?
  ) async throws -> Response {
    var search = try search(request, context, query, namespace)
    let (from, to) = Self.period(&search, services.now())
    let spans = try Self.number(query["spans"], "spans", LogHistogram.spansDefault, LogHistogram.spansMaximum)
    let plan = LogHistogram(from: from, to: to, spans: spans, field: query["by"] ?? "level")
    search.since = plan.from
    search.stats = plan.stats
    let (found, truncated) = plan.spans(of: try await rows(search))
    var answer: [String: JSONValue] = [
      "from": .string(plan.from.description), "to": .string(to.description), "seconds": .int(plan.seconds),
      "spans": .array(
        found.map { span in
          .object([
            "time": .string(span.time.description), "count": .int(Int64(span.count)),
            "by": .object(span.values.mapValues { .int(Int64($0)) }),
          ])
        }),
    ]
    if let truncated { answer["truncated"] = .string(truncated) }
    return .json(.object(answer))
  }

  /// `GET …/logs/facets?query=&since=1h&until=&fields=level,function&values=10`: the values most records have.
  func facets(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ namespace: String?
  ) async throws -> Response {
    var search = try search(request, context, query, namespace)
    let (from, to) = Self.period(&search, services.now())
    let names = (query["fields"] ?? "level,function,stream").split(separator: ",").map(String.init)
    guard (1...Self.facetsMaximum).contains(names.count) else {
      throw APIStatus.badRequest("fields= has 1 to \(Self.facetsMaximum) names")
    }
    let values = max(1, try Self.number(query["values"], "values", 10, Self.facetValuesMaximum))
    var facets: [String: JSONValue] = [:]
    var truncated: String?
    for name in names {
      let quoted = "\"" + name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
      search.stats = "count() as n by (\(quoted)) | sort by (n desc) | limit \(values)"
      var list: [JSONValue] = []
      for row in try await rows(search) {
        if let reason = row["truncated"]?.stringValue { truncated = reason }
        guard let members = row.objectValue, let count = members["n"] else { continue }
        let value = members.first { $0.key != "n" }?.value ?? .null
        list.append(.object(["value": value, "count": count]))
      }
      facets[name] = .array(list)
    }
    var answer: [String: JSONValue] = [
      "from": .string(from.description), "to": .string(to.description), "facets": .object(facets),
    ]
    if let truncated { answer["truncated"] = .string(truncated) }
    return .json(.object(answer))
  }

  /// The time looked at: the last hour when the request does not say.
  private static func period(_ search: inout LogRequest, _ now: Timestamp) -> (from: Timestamp, to: Timestamp) {
    let to = search.until ?? now
    let from = min(search.since ?? to.advanced(milliseconds: -3_600_000), to)
    search.since = from
    search.until = to
    return (from, to)
  }

  private func rows(_ search: LogRequest) async throws -> [JSONValue] {
    var rows: [JSONValue] = []
    for try await line in try await services.logQueries.query(search) { rows.append(try JSONValue(bytes: line)) }
    return rows
  }
}
