internal import ClusterAPI
internal import ClusterModel
internal import HTTPService
internal import Hummingbird
internal import Synchronization

/// `?watch=true`: one event a line until the time is over, the client goes away, or the version is too old.
struct WatchRoute: Sendable {
  /// How long a watch lasts when the client does not say, seconds; spread, so that clients do not come back together.
  static let defaultSeconds: ClosedRange<Int64> = 1800...3600
  /// The longest watch, seconds.
  static let longestSeconds: Int64 = 86_400

  let services: APIServices

  /// Answers a watch; 410 when the version is too old from the start.
  func respond(
    _ request: Request, _ query: QueryParameters, _ kind: ResourceKind, _ namespace: String?, _ options: ListOptions
  ) async throws -> Response {
    let seconds = try Self.seconds(query)
    var options = options
    options.limit = 0
    options.continueToken = nil
    let initial = query["sendInitialEvents"].map { _ in query.flag("sendInitialEvents") }
    let version = try await start(query["resourceVersion"], initial, kind, namespace)
    let source = try await services.resources.watch(kind, namespace: namespace, options: options, after: version)
    let events = TimedStream.limit(source, to: .seconds(seconds))
    let bookmarks = query.flag("allowWatchBookmarks") && query["allowWatchBookmarks"] != nil
    let table = ResourceRoutes.wantsTable(request) ? try ResourceRoutes.include(query) : nil
    let lines = WatchLines(
      kind: kind, table: table, bookmarks: bookmarks, marksInitial: initial == true, now: services.now)
    return StreamResponse.live(
      events, to: request, contentType: "application/json", encode: { lines.line($0) },
      failure: { WatchLines.errorLine($0) })
  }

  /// The version after which a watch tells changes; nil for one that begins with everything that is there.
  ///
  /// `sendInitialEvents` is Kubernetes' streaming list (KEP-3157), which client-go asks for by default since 1.35: with it
  /// everything comes first, whatever version is given, and then a bookmark that says so; without, changes alone.
  private func start(
    _ asked: String?, _ initial: Bool?, _ kind: ResourceKind, _ namespace: String?
  ) async throws(APIStatus) -> String? {
    let version = asked.flatMap { $0.isEmpty || $0 == "0" ? nil : $0 }
    switch initial {
    case true: return nil
    case false where version == nil:
      var one = ListOptions()
      one.limit = 1
      return try await services.resources.list(kind, namespace: namespace, options: one).resourceVersion
    default: return version
    }
  }

  private static func seconds(_ query: QueryParameters) throws(APIStatus) -> Int64 {
    guard let text = query["timeoutSeconds"] else { return Int64.random(in: defaultSeconds) }
    guard let seconds = Int64(text), seconds >= 0 else {
      throw .badRequest("timeoutSeconds=\(text) is not a number of seconds")
    }
    return seconds == 0 ? Int64.random(in: defaultSeconds) : min(seconds, longestSeconds)
  }
}

/// Writes the events of one watch.
final class WatchLines: Sendable {
  private let kind: ResourceKind
  private let table: Table.Include?
  private let bookmarks: Bool
  private let marksInitial: Bool
  private let now: @Sendable () -> Timestamp
  private let first = Mutex(true)

  /// Lines of a watch; with `table`, objects become tables of one row; with `marksInitial` (and `bookmarks`) a bookmark
  /// ends what was there at the beginning.
  init(
    kind: ResourceKind, table: Table.Include?, bookmarks: Bool, marksInitial: Bool = false,
    now: @escaping @Sendable () -> Timestamp
  ) {
    self.kind = kind
    self.table = table
    self.bookmarks = bookmarks
    self.marksInitial = marksInitial
    self.now = now
  }

  /// The line of an event, its newline included; nil for a bookmark that nobody asked for.
  func line(_ event: WatchEvent) -> [UInt8]? {
    switch event {
    case .added(let object), .modified(let object), .deleted(let object):
      return Self.line(event.type, shown([object], object.at(path: "metadata.resourceVersion")))
    case .bookmark(let version, let endsInitial):
      guard bookmarks, marksInitial || !endsInitial else { return nil }
      if table != nil { return Self.line(event.type, shown([], .string(version))) }
      return Self.line(
        event.type,
        .object([
          "kind": .string(kind.rawValue), "apiVersion": .string(kind.apiVersion),
          "metadata": .object(
            ["resourceVersion": .string(version), "creationTimestamp": .null]
              .merging(endsInitial ? ["annotations": Self.initialEnd] : [:]) { one, _ in one }),
        ]))
    }
  }

  private static let initialEnd = JSONValue.object(["k8s.io/initial-events-end": .string("true")])

  private func shown(_ objects: [JSONValue], _ version: JSONValue?) -> JSONValue {
    guard let table else { return objects.first ?? .null }
    let columns = first.withLock { first in
      defer { first = false }
      return first
    }
    return Table.of(
      kind, objects, metadata: ["resourceVersion": version ?? .string("")], include: table, columns: columns, at: now())
  }

  /// The last line of a watch that failed.
  static func errorLine(_ error: any Error) -> [UInt8]? {
    let status = (error as? APIStatus) ?? .internalError("the watch failed; list again and watch from there")
    return (try? JSONValue(encoding: status)).map { line("ERROR", $0) }
  }

  private static func line(_ type: String, _ object: JSONValue) -> [UInt8] {
    Array(JSONValue.object(["type": .string(type), "object": object]).encoded()) + [10]
  }
}
