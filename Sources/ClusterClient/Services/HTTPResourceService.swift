package import ClusterAPI
package import ClusterModel
internal import NIOHTTP1

/// The resource API of a server, over HTTP.
///
/// Reads are sent again when the connection breaks; writes only when the server certainly did not see them.
package struct HTTPResourceService: ResourceService {
  /// Bytes of one watch event at most.
  static let eventBytesMax = 4 << 20

  private let client: APIClient

  /// The resources behind a client.
  package init(client: APIClient) { self.client = client }

  /// The path of a kind's collection, or of one object or subresource in it.
  package static func path(
    _ kind: ResourceKind, namespace: String?, name: String? = nil, subresource: String? = nil
  ) -> String {
    var path = kind.group.isEmpty ? "/api/\(kind.version)" : "/apis/\(kind.group)/\(kind.version)"
    if let namespace, kind.namespaced { path += "/namespaces/\(APIRequest.escape(namespace))" }
    path += "/\(kind.plural)"
    if let name { path += "/\(APIRequest.escape(name))" }
    if let subresource { path += "/\(subresource)" }
    return path
  }

  /// One object.
  package func get(_ kind: ResourceKind, namespace: String?, name: String) async throws(APIStatus) -> JSONValue {
    try await client.json(.get(Self.path(kind, namespace: namespace, name: name)))
  }

  /// Objects of a kind.
  package func list(
    _ kind: ResourceKind, namespace: String?, options: ListOptions
  ) async throws(APIStatus) -> ResourceList {
    let query = Self.query(options)
    let answer = try await client.json(.get(Self.path(kind, namespace: namespace), query: query))
    return ResourceList(
      items: answer["items"]?.arrayValue ?? [],
      resourceVersion: answer.at(path: "metadata.resourceVersion")?.stringValue ?? "",
      continueToken: answer.at(path: "metadata.continue")?.stringValue)
  }

  /// The server's table of a kind: columns and cells as `get` prints them; `name` shows one object only.
  package func table(
    _ kind: ResourceKind, namespace: String?, name: String? = nil, options: ListOptions = ListOptions()
  ) async throws(APIStatus) -> JSONValue {
    var request = APIRequest.get(
      Self.path(kind, namespace: namespace, name: name), query: name == nil ? Self.query(options) : [])
    request.headers = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")]
    return try await client.json(request)
  }

  /// The server's table of a kind as it changes: each element is a watch event `{type, object}` whose object is a
  /// Table with the changed rows; only the first carries columns.
  package func watchTable(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) async throws(APIStatus) -> AsyncThrowingStream<JSONValue, any Error> {
    var request = Self.watchRequest(kind, namespace: namespace, options: options, after: resourceVersion)
    request.headers = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")]
    let (_, lines) = try await client.lines(request, bound: Self.eventBytesMax)
    return AsyncThrowingStream {
      guard let line = try await lines.next() else { return nil }
      let event = try JSONValue(bytes: line)
      if event["type"]?.stringValue == "ERROR" { throw Self.failure(event["object"]) }
      return event
    }
  }

  /// Stores a new object.
  package func create(
    _ kind: ResourceKind, namespace: String?, object: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    try await client.json(.json(.POST, Self.path(kind, namespace: namespace), object, idempotent: false))
  }

  /// Replaces an object.
  package func update(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, object: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    let path = Self.path(kind, namespace: namespace, name: name, subresource: subresource?.rawValue)
    return try await client.json(.json(.PUT, path, object, idempotent: false))
  }

  /// Applies a JSON merge patch.
  package func patch(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, patch: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    let path = Self.path(kind, namespace: namespace, name: name, subresource: subresource?.rawValue)
    var request = APIRequest.json(.PATCH, path, patch, idempotent: false)
    request.headers = [("content-type", "application/merge-patch+json")]
    return try await client.json(request)
  }

  /// Deletes an object; with `uid`, only the one that has it.
  package func delete(
    _ kind: ResourceKind, namespace: String?, name: String, uid: String?
  ) async throws(APIStatus) -> JSONValue {
    var options: [String: JSONValue] = ["apiVersion": .string("v1"), "kind": .string("DeleteOptions")]
    if let uid { options["preconditions"] = .object(["uid": .string(uid)]) }
    let path = Self.path(kind, namespace: namespace, name: name)
    return try await client.json(.json(.DELETE, path, .object(options), idempotent: false))
  }

  /// Changes after a version. The stream throws an `APIStatus`; when the server closes it in good order it ends.
  package func watch(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) async throws(APIStatus) -> AsyncThrowingStream<WatchEvent, any Error> {
    let request = Self.watchRequest(kind, namespace: namespace, options: options, after: resourceVersion)
    let (_, lines) = try await client.lines(request, bound: Self.eventBytesMax)
    return AsyncThrowingStream {
      while let line = try await lines.next() {
        if let event = try Self.event(line) { return event }
      }
      return nil
    }
  }

  private static func watchRequest(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) -> APIRequest {
    var query = Self.query(options) + [("watch", "true"), ("allowWatchBookmarks", "true")]
    if let resourceVersion { query.append(("resourceVersion", resourceVersion)) }
    return .get(path(kind, namespace: namespace), query: query)
  }

  private static func query(_ options: ListOptions) -> [(String, String)] {
    var query: [(String, String)] = []
    if !options.labels.terms.isEmpty { query.append(("labelSelector", SelectorText.text(options.labels))) }
    if !options.fields.terms.isEmpty { query.append(("fieldSelector", SelectorText.text(options.fields))) }
    if options.limit > 0 { query.append(("limit", String(options.limit))) }
    if let token = options.continueToken { query.append(("continue", token)) }
    return query
  }

  /// Reads one line of a watch; nil for a type from a newer server.
  static func event(_ line: [UInt8]) throws -> WatchEvent? {
    let value = try JSONValue(bytes: line)
    guard let type = value["type"]?.stringValue, let object = value["object"] else {
      throw APIStatus.internalError("a watch event without type or object")
    }
    switch type {
    case "ADDED": return .added(object)
    case "MODIFIED": return .modified(object)
    case "DELETED": return .deleted(object)
    case "BOOKMARK":
      return .bookmark(resourceVersion: object.at(path: "metadata.resourceVersion")?.stringValue ?? "")
    case "ERROR": throw failure(object)
    default: return nil
    }
  }

  private static func failure(_ object: JSONValue?) -> APIStatus {
    (try? object?.decoded(as: APIStatus.self)) ?? .internalError("the watch ended with an error of unknown form")
  }
}
