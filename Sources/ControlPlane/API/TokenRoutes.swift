internal import ClusterAPI
internal import ClusterModel
internal import Foundation
internal import HTTPService
internal import Hummingbird

/// Tokens: with which members join, and with which functions are called.
struct TokenRoutes: Sendable {
  /// How long a join token is good when the request does not say.
  static let defaultJoinLife = TimeSpan.seconds(3600)
  /// The role of a token for calls, beside those of members.
  static let invokeRole = "invoke"

  let services: APIServices

  /// `…/tokens`: GET lists all, POST makes one.
  func collection(_ request: Request, _ context: AdminContext) async throws -> Response {
    switch request.method {
    case .get:
      try context.require(.administer("see tokens"))
      let items = try await services.tokens.all().map { try JSONValue(encoding: $0) }
      return .json(.object(["kind": .string("TokenList"), "items": .array(items)]))
    case .post: return try await create(request, context)
    default: throw APIStatus.methodNotAllowed("tokens are listed (GET), made (POST) and, one by one, revoked (DELETE)")
    }
  }

  /// `…/tokens/ID`: DELETE revokes it.
  func object(_ request: Request, _ context: AdminContext, _ id: String) async throws -> Response {
    guard request.method == .delete else { throw APIStatus.methodNotAllowed("a token can only be revoked (DELETE)") }
    try context.require(.administer("revoke tokens"))
    try await services.tokens.revokeMade(id: id)
    return .json(.object(["kind": .string("Status"), "status": .string("Success")]))
  }

  /// `{"ttl": "1h", "role": "node"}`, or `gateway`; `{"role": "invoke", "namespace": …, "function": …, "ttl": …}`.
  private func create(_ request: Request, _ context: AdminContext) async throws -> Response {
    try context.require(.administer("make tokens"))
    let bytes = try await request.bytes(upTo: Limits.objectBytes)
    var body = JSONValue.object([:])
    if bytes.readableBytes > 0 {
      guard let read = try? JSONValue(bytes: bytes.readableBytesView), case .object = read else {
        throw APIStatus.badRequest("the body is not a JSON object")
      }
      body = read
    }
    var life: TimeSpan?
    if let ttl = body["ttl"] {
      guard let span = ttl.stringValue.flatMap(TimeSpan.init(_:)) else {
        throw APIStatus.badRequest("ttl is not a duration; use 1h")
      }
      life = span
    }
    if body["role"]?.stringValue == Self.invokeRole {
      let token = try await services.tokens.invoke(try Self.scope(body), life: life)
      return answer(token, life)
    }
    var role = MemberRole.node
    if let given = body["role"] {
      guard let known = given.stringValue.flatMap(MemberRole.init(rawValue:)) else {
        throw APIStatus.badRequest("role is none; use node, gateway or invoke")
      }
      role = known
    }
    return answer(
      try await services.tokens.join(role, life: life ?? Self.defaultJoinLife), life ?? Self.defaultJoinLife)
  }

  private static func scope(_ body: JSONValue) throws -> InvokeScope {
    let namespace = body["namespace"]?.stringValue ?? "default"
    let function = body["function"]?.stringValue
    if let problem = Schema.Rule.dnsLabel.check(namespace) { throw APIStatus.badRequest("namespace: \(problem)") }
    if let function, let problem = Schema.Rule.functionName.check(function) {
      throw APIStatus.badRequest("function: \(problem)")
    }
    if function == nil, let other = body["function"], other != .null {
      throw APIStatus.badRequest("function is not a text")
    }
    return InvokeScope(namespace: namespace, function: function)
  }

  private func answer(_ token: String, _ life: TimeSpan?) -> Response {
    var body: [String: JSONValue] = ["token": .string(token)]
    if let id = token.split(separator: ".").dropLast().last { body["id"] = .string(String(id)) }
    if let life {
      body["expires"] = .string(services.now().advanced(milliseconds: life.milliseconds).wholeSeconds.description)
    }
    return .json(.object(body), status: .created)
  }
}
