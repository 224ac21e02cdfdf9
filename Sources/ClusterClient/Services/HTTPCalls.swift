package import ClusterAPI
internal import ClusterModel
internal import Foundation
internal import NIOHTTP1

/// Takes calls that are run later, over HTTP.
package struct HTTPCallQueue: CallQueue {
  /// How long the server may take to make a call durable: a caller waits.
  static let patience = Duration.seconds(5)

  private let client: APIClient
  private let gateway: String

  /// The queue of the server behind a client, for a gateway of this name.
  package init(client: APIClient, gateway: String) {
    self.client = client
    self.gateway = gateway
  }

  /// Puts a call into its function's queue; returns once it is durable.
  package func enqueue(_ call: AsyncCall) async throws(APIStatus) {
    // Not sent again when the connection broke: the second time it would be known already.
    let request = APIRequest(
      method: .POST, path: "/internal/v1/calls", query: [("gateway", gateway)],
      headers: [("content-type", "application/octet-stream")], body: .bytes(call.encoded()), idempotent: false,
      patience: Self.patience)
    _ = try await client.bytes(request)
  }

  /// What became of a call, for the holder of the credential it was sent with.
  package func result(_ id: String, owner: String) async throws(APIStatus) -> CallDetail {
    var request = APIRequest.json(
      .POST, "/internal/v1/calls/result", .object(["call": .string(id), "owner": .string(owner)]), idempotent: true)
    request.query = [("gateway", gateway)]
    request.patience = Self.patience
    return try HTTPCallCatalog.read(try await client.json(request))
  }
}

/// Shows and changes the calls that are kept, over HTTP.
package struct HTTPCallCatalog: CallCatalog {
  private let client: APIClient

  /// The calls of the server behind a client.
  package init(client: APIClient) { self.client = client }

  private static func path(_ namespace: String) -> String {
    "/apis/apus.dev/v1/namespaces/\(APIRequest.escape(namespace))/calls"
  }

  /// Calls of a namespace, oldest first.
  package func list(_ filter: CallFilter) async throws(APIStatus) -> [CallSummary] {
    var query = [("limit", String(filter.limit))]
    if let function = filter.function { query.append(("function", function)) }
    if let state = filter.state { query.append(("state", state.rawValue)) }
    let answer = try await client.json(.get(Self.path(filter.namespace), query: query))
    return try Self.read(answer["items"] ?? .array([]))
  }

  /// One call with its result.
  package func show(namespace: String, id: String) async throws(APIStatus) -> CallDetail {
    try Self.read(try await client.json(.get(Self.path(namespace) + "/" + APIRequest.escape(id))))
  }

  /// Queues a dead letter, or a call that is done, once more.
  package func retry(namespace: String, id: String) async throws(APIStatus) -> CallSummary {
    let path = Self.path(namespace) + "/\(APIRequest.escape(id))/retry"
    return try Self.read(try await client.json(.json(.POST, path, .object([:]), idempotent: false)))
  }

  /// Removes the dead letters of a function.
  package func purge(namespace: String, function: String) async throws(APIStatus) -> Int {
    let request = APIRequest(
      method: .DELETE, path: Self.path(namespace), query: [("function", function)], idempotent: true)
    return Int(try await client.json(request)["purged"]?.intValue ?? 0)
  }

  static func read<T: Decodable>(_ value: JSONValue) throws(APIStatus) -> T {
    do {
      return try value.decoded(as: T.self)
    } catch {
      throw .internalError("the server's words about calls cannot be read: \(error)")
    }
  }
}
