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
    let version = query["resourceVersion"].flatMap { $0 == "0" ? nil : $0 }
    let seconds = try Self.seconds(query)
    var options = options
    options.limit = 0
    options.continueToken = nil
    let source = try await services.resources.watch(kind, namespace: namespace, options: options, after: version)
    let events = TimedStream.limit(source, to: .seconds(seconds))
    let bookmarks = query.flag("allowWatchBookmarks") && query["allowWatchBookmarks"] != nil
    let lines: WatchLines
    if ResourceRoutes.wantsTable(request) {
      lines = WatchLines(kind: kind, table: try ResourceRoutes.include(query), bookmarks: bookmarks, now: services.now)
    } else {
      lines = WatchLines(kind: kind, table: nil, bookmarks: bookmarks, now: services.now)
    }
    return StreamResponse.live(
      events, to: request, contentType: "application/json", encode: { lines.line($0) },
      failure: { WatchLines.errorLine($0) })
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
  private let now: @Sendable () -> Timestamp
  private let first = Mutex(true)

  /// Lines of a watch; with `table`, objects become tables of one row.
  init(kind: ResourceKind, table: Table.Include?, bookmarks: Bool, now: @escaping @Sendable () -> Timestamp) {
    self.kind = kind
    self.table = table
    self.bookmarks = bookmarks
    self.now = now
  }

  /// The line of an event, its newline included; nil for a bookmark that nobody asked for.
  func line(_ event: WatchEvent) -> [UInt8]? {
    switch event {
    case .added(let object), .modified(let object), .deleted(let object):
      return Self.line(event.type, shown([object], object.at(path: "metadata.resourceVersion")))
    case .bookmark(let version):
      guard bookmarks else { return nil }
      if table != nil { return Self.line(event.type, shown([], .string(version))) }
      return Self.line(
        event.type,
        .object([
          "kind": .string(kind.rawValue), "apiVersion": .string(kind.apiVersion),
          "metadata": .object(["resourceVersion": .string(version), "creationTimestamp": .null]),
        ]))
    }
  }

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
