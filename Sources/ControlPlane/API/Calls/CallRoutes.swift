internal import ClusterAPI
internal import ClusterModel
internal import Foundation
internal import HTTPService
internal import Hummingbird

/// Asynchronous calls: what gateways hand in, and what people look at.
struct CallRoutes: Sendable {
  /// Bytes of a call handed in at most: its body, and a head that a gateway let pass.
  static let callBytesMax = Limits.asyncBody + (1 << 18)
  /// Calls of one list when the request does not say.
  static let listedByDefault = 100

  let services: APIServices

  private func service() throws -> any CallQueue & CallCatalog {
    guard let calls = services.calls else { throw APIStatus.unavailable("this server keeps no asynchronous calls") }
    return calls
  }

  /// `POST /internal/v1/calls?gateway=ID`: the bytes of `AsyncCall.encoded`; 202 once it is durable.
  func enqueue(_ request: Request, _ context: AdminContext) async throws -> Response {
    try InternalRoutes.gateway(request, context)
    let bytes = try await request.bytes(upTo: Self.callBytesMax)
    let call: AsyncCall
    do {
      call = try AsyncCall(encoded: Array(bytes.readableBytesView))
    } catch {
      throw APIStatus.badRequest("the call cannot be read: \(JSONFault.words(error))")
    }
    try await service().enqueue(call)
    return .json(.object([:]), status: .accepted)
  }

  private struct Wanted: Decodable {
    let call: String
    let owner: String
  }

  /// `POST /internal/v1/calls/result?gateway=ID`: what became of a call, for whoever holds the credential it was sent with.
  func result(_ request: Request, _ context: AdminContext) async throws -> Response {
    try InternalRoutes.gateway(request, context)
    let bytes = try await request.bytes(upTo: Limits.objectBytes)
    guard let wanted = try? JSONDecoder().decode(Wanted.self, from: Data(bytes.readableBytesView)) else {
      throw APIStatus.badRequest("call and owner are missing")
    }
    return .json(try JSONValue(encoding: try await service().result(wanted.call, owner: wanted.owner)))
  }

  /// `…/calls`: GET lists, DELETE with `function=` removes its dead letters.
  func collection(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ namespace: String
  ) async throws -> Response {
    switch request.method {
    case .get:
      try context.require(.administer("see calls"))
      var filter = CallFilter(namespace: namespace, function: query["function"], limit: Self.listedByDefault)
      if let text = query["state"] {
        guard let state = CallState(rawValue: text) else {
          let known = CallState.allCases.map(\.rawValue).joined(separator: ", ")
          throw APIStatus.badRequest("state \"\(text)\" is none; use one of \(known)")
        }
        filter.state = state
      }
      if let text = query["limit"] {
        guard let limit = Int(text), (1...Limits.callsListed).contains(limit) else {
          throw APIStatus.badRequest("limit is a number from 1 to \(Limits.callsListed)")
        }
        filter.limit = limit
      }
      let items = try await service().list(filter).map { try JSONValue(encoding: $0) }
      return .json(.object(["kind": .string("CallList"), "items": .array(items)]))
    case .delete:
      try context.require(.administer("purge calls"))
      guard let function = query["function"] else {
        throw APIStatus.badRequest("function= is missing: whose dead letters are purged")
      }
      let removed = try await service().purge(namespace: namespace, function: function)
      return .json(.object(["purged": .int(Int64(removed))]))
    default: throw APIStatus.methodNotAllowed("calls are listed (GET) and purged (DELETE)")
    }
  }

  /// `…/calls/ID`: GET shows; `…/calls/ID/retry`: POST runs once more.
  func object(
    _ request: Request, _ context: AdminContext, _ namespace: String, _ id: String, retry: Bool
  ) async throws -> Response {
    if retry {
      guard request.method == .post else { throw APIStatus.methodNotAllowed("a call is run again by POST") }
      try context.require(.administer("run calls again"))
      return .json(try JSONValue(encoding: try await service().retry(namespace: namespace, id: id)), status: .accepted)
    }
    guard request.method == .get else { throw APIStatus.methodNotAllowed("a call is shown (GET)") }
    try context.require(.administer("see calls"))
    return .json(try JSONValue(encoding: try await service().show(namespace: namespace, id: id)))
  }
}
