internal import ClusterAPI
internal import ClusterModel
internal import HTTPService
internal import Hummingbird

/// Logs: records as NDJSON, and a pod's log as text.
struct LogRoutes: Sendable {
  /// Records of one answer at most.
  static let limitMax = 100_000
  /// Records when the request does not say.
  static let limitDefault = 100
  /// Lines of a pod's log when the request does not say.
  static let podLinesDefault = 10_000

  let services: APIServices

  // MARK: Records

  /// `GET …/logs?query=&since=&until=&limit=&follow=&stats=`; newest first. Followed with `Accept: text/event-stream` it
  /// is a stream of server-sent events.
  func logs(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ namespace: String?
  ) async throws -> Response {
    let search = try search(request, context, query, namespace)
    if query.flag("follow"), query["follow"] != nil {
      let lines = try await services.logQueries.follow(search)
      if request.headers[.accept]?.contains("text/event-stream") == true {
        return StreamResponse.live(
          lines, to: request, contentType: "text/event-stream", headers: [.cacheControl: "no-store"],
          encode: { LogEvents.event($0) })
      }
      return StreamResponse.live(lines, to: request, contentType: "application/x-ndjson", encode: { $0 + [10] })
    }
    let pieces = try await services.logQueries.answer(search)
    return StreamResponse.finite(pieces, contentType: "application/x-ndjson") { $0.bytes }
  }

  /// What a request asks for.
  func search(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ namespace: String?
  ) throws -> LogRequest {
    guard request.method == .get else { throw APIStatus.methodNotAllowed("logs can only be read (GET)") }
    try context.require(.administer("read logs"))
    let now = services.now()
    let named = query["namespaces"].map { $0.split(separator: ",").map(String.init) }
    return LogRequest(
      namespaces: namespace.map { [$0] } ?? named, query: query["query"] ?? "",
      since: try Self.moment(query["since"], "since", now), until: try Self.moment(query["until"], "until", now),
      limit: try Self.number(query["limit"], "limit", Self.limitDefault, Self.limitMax), stats: query["stats"],
      explain: query["explain"] != nil && query.flag("explain"))
  }

  /// A moment as RFC 3339, or as a time span before now.
  private static func moment(_ text: String?, _ name: String, _ now: Timestamp) throws(APIStatus) -> Timestamp? {
    guard let text else { return nil }
    if let moment = Timestamp(text) { return moment }
    guard let span = TimeSpan(text) else {
      throw .badRequest("\(name)=\(text) is neither a time (2026-11-21T02:10:04Z) nor a time span (1h)")
    }
    return now.advanced(milliseconds: -span.milliseconds)
  }

  static func number(
    _ text: String?, _ name: String, _ value: Int, _ most: Int
  ) throws(APIStatus) -> Int {
    guard let text else { return value }
    guard let number = Int(text), number >= 0 else { throw .badRequest("\(name)=\(text) is not a number") }
    return min(number, most)
  }

  // MARK: A pod's log

  /// `GET …/pods/NAME/log` (follow, tailLines, sinceSeconds, sinceTime, timestamps, limitBytes): oldest first.
  func pod(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ namespace: String, _ name: String
  ) async throws -> Response {
    guard request.method == .get else { throw APIStatus.methodNotAllowed("a log can only be read (GET)") }
    try context.require(.administer("read logs"))
    if let fault = Schema.Rule.dnsLabel.check(name) { throw APIStatus.badRequest("the pod's name \(fault)") }
    var search = LogRequest(
      namespaces: [namespace], query: "pod:\"\(name)\" AND (stream:stdout OR stream:stderr)",
      limit: try Self.number(query["tailLines"], "tailLines", Self.podLinesDefault, Self.limitMax))
    if query["sinceSeconds"] != nil {
      let seconds = try Self.number(query["sinceSeconds"], "sinceSeconds", 0, Int(Int32.max))
      search.since = services.now().advanced(milliseconds: -Int64(seconds) * 1000)
    } else {
      search.since = try Self.moment(query["sinceTime"], "sinceTime", services.now())
    }
    let form = PodLogForm(
      timestamps: query.flag("timestamps") && query["timestamps"] != nil,
      bytesMax: try Self.number(query["limitBytes"], "limitBytes", .max, .max))
    let follows = query.flag("follow") && query["follow"] != nil
    // Following starts before the past is read, so that no line falls between; lines of both are written once.
    let live = follows ? try await services.logQueries.follow(search) : nil
    let past = try await Self.past(try await services.logQueries.query(search))
    if past.isEmpty { _ = try await services.resources.get(.pod, namespace: namespace, name: name) }
    guard let live else {
      var budget = form.bytesMax
      return .text(past.compactMap { form.text(of: $0, budget: &budget) }.joined())
    }
    return StreamResponse.live(
      PodLogTail(past: past, live: live, form: form).stream, to: request, contentType: "text/plain; charset=utf-8",
      encode: { Array($0.utf8) })
  }

  private static func past(_ lines: AsyncThrowingStream<[UInt8], any Error>) async throws -> [[UInt8]] {
    var past: [[UInt8]] = []
    for try await line in lines { past.append(line) }
    return past.reversed()
  }
}
