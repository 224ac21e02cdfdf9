internal import ClusterAPI
internal import ClusterModel
internal import HTTPService
internal import HTTPTypes
internal import Hummingbird

/// Reads and writes of resources.
struct ResourceRoutes: Sendable {
  let services: APIServices

  // MARK: Routes

  /// `GET` (list, watch) and `POST` on a kind.
  func collection(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ kind: ResourceKind, _ namespace: String?
  ) async throws -> Response {
    switch request.method {
    case .get, .head:
      try context.require(.administer("read \(kind.plural)"))
      let options = try ListParameters.options(query, kind)
      if query.flag("watch"), query["watch"] != nil {
        return try await WatchRoute(services: services).respond(request, query, kind, namespace, options)
      }
      return try await list(request, query, kind, namespace, options)
    case .post:
      try context.require(.administer("create \(kind.plural)"))
      try Self.refuseDryRun(query)
      let body = try Self.typed(try await Self.body(request), kind)
      let (object, warnings) = try FieldValidation.apply(query, to: body, kind)
      let created = try await services.resources.create(kind, namespace: namespace, object: object)
      return .json(created, status: .created, headers: Self.headers(warnings))
    default:
      throw APIStatus.methodNotAllowed("\(request.method.rawValue) is not for all \(kind.plural); name one")
    }
  }

  /// `GET`, `PUT`, `PATCH`, `DELETE` on one object.
  func object(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ kind: ResourceKind, _ namespace: String?,
    _ name: String
  ) async throws -> Response {
    switch request.method {
    case .get, .head:
      try context.require(.administer("read \(kind.plural)"))
      return try await get(request, query, kind, namespace, name)
    case .put, .patch:
      try context.require(.administer("change \(kind.plural)"))
      return try await write(request, query, kind, namespace, name, nil)
    case .delete:
      try context.require(.administer("delete \(kind.plural)"))
      try Self.refuseDryRun(query)
      let options = try await Self.deleteOptions(request)
      let uid = options.at(path: "preconditions.uid")?.stringValue
      let last = try await services.resources.delete(kind, namespace: namespace, name: name, uid: uid)
      let winding = last.at(path: "metadata.deletionTimestamp") != nil
      return .json(last, status: winding ? .accepted : .ok)
    default: throw APIStatus.methodNotAllowed("\(request.method.rawValue) is not for one of \(kind.plural)")
    }
  }

  /// `GET`, `PUT`, `PATCH` on an object's status or scale.
  func part(
    _ request: Request, _ context: AdminContext, _ query: QueryParameters, _ kind: ResourceKind, _ namespace: String?,
    _ name: String, _ part: Subresource
  ) async throws -> Response {
    switch request.method {
    case .get, .head:
      try context.require(.administer("read \(kind.plural)"))
      let object = try await services.resources.get(kind, namespace: namespace, name: name)
      return .json(part == .scale ? ScaleView.scale(of: object) : object)
    case .put, .patch:
      try context.require(.administer("change \(kind.plural)"))
      return try await write(request, query, kind, namespace, name, part)
    default: throw APIStatus.methodNotAllowed("\(request.method.rawValue) is not for \(part.rawValue)")
    }
  }

  // MARK: Reading

  private func get(
    _ request: Request, _ query: QueryParameters, _ kind: ResourceKind, _ namespace: String?, _ name: String
  ) async throws -> Response {
    let object = try await services.resources.get(kind, namespace: namespace, name: name)
    guard Self.wantsTable(request) else { return .json(object) }
    let version = object.at(path: "metadata.resourceVersion") ?? .string("")
    return .json(
      Table.of(
        kind, [object], metadata: ["resourceVersion": version], include: try Self.include(query), at: services.now()))
  }

  private func list(
    _ request: Request, _ query: QueryParameters, _ kind: ResourceKind, _ namespace: String?, _ options: ListOptions
  ) async throws -> Response {
    let list = try await services.resources.list(kind, namespace: namespace, options: options)
    var metadata: [String: JSONValue] = ["resourceVersion": .string(list.resourceVersion)]
    if let token = list.continueToken { metadata["continue"] = .string(token) }
    if Self.wantsTable(request) {
      let include = try Self.include(query)
      return .json(Table.of(kind, list.items, metadata: metadata, include: include, at: services.now()))
    }
    return .json(
      .object([
        "kind": .string("\(kind.rawValue)List"), "apiVersion": .string(kind.apiVersion), "metadata": .object(metadata),
        "items": .array(list.items),
      ]))
  }

  /// Whether the client asks for a Table.
  static func wantsTable(_ request: Request) -> Bool {
    guard let accept = request.headers[.accept] else { return false }
    return accept.split(separator: ",").contains {
      $0.contains("as=Table") && $0.contains("v=v1;") || $0.hasSuffix("as=Table;v=v1")
    }
  }

  /// What rows of a Table carry.
  static func include(_ query: QueryParameters) throws(APIStatus) -> Table.Include {
    guard let text = query["includeObject"] else { return .metadata }
    guard let include = Table.Include(rawValue: text) else {
      throw .badRequest("includeObject=\(text) is none of None, Metadata, Object")
    }
    return include
  }

  // MARK: Writing

  private func write(
    _ request: Request, _ query: QueryParameters, _ kind: ResourceKind, _ namespace: String?, _ name: String,
    _ part: Subresource?
  ) async throws -> Response {
    try Self.refuseDryRun(query)
    var body: JSONValue
    let isPatch = request.method == .patch
    if isPatch {
      body = try PatchBody.mergePatch(
        try await request.json(upTo: Limits.objectBytes), contentType: request.headers[.contentType], kind)
    } else {
      body = try await Self.body(request)
      if part != .scale { body = try Self.typed(body, kind) }
      if let named = body.at(path: "metadata.name")?.stringValue, named != name {
        throw APIStatus.badRequest("the object is named \"\(named)\", the path says \"\(name)\"")
      }
    }
    var warnings: [String] = []
    if part == nil { (body, warnings) = try FieldValidation.apply(query, to: body, kind) }
    let resources = services.resources
    let written =
      isPatch
      ? try await resources.patch(kind, namespace: namespace, name: name, subresource: part, patch: body)
      : try await resources.update(kind, namespace: namespace, name: name, subresource: part, object: body)
    return .json(part == .scale ? ScaleView.scale(of: written) : written, headers: Self.headers(warnings))
  }

  /// An object with its kind and version, which may be left out, but not be others.
  private static func typed(_ object: JSONValue, _ kind: ResourceKind) throws(APIStatus) -> JSONValue {
    guard case .object = object else { throw .badRequest("the body is \(object.typeName), not an object") }
    var object = object
    for (key, value) in [("kind", kind.rawValue), ("apiVersion", kind.apiVersion)] {
      let present = object[key]?.stringValue
      guard present == nil || present == value else {
        throw .badRequest("\(key) is \"\(present ?? "")\", but this path takes \(key) \"\(value)\"")
      }
      object[key] = .string(value)
    }
    return object
  }

  private static func body(_ request: Request) async throws -> JSONValue {
    try refuseOtherThanJSON(request)
    return try await request.json(upTo: Limits.objectBytes)
  }

  private static func deleteOptions(_ request: Request) async throws -> JSONValue {
    let bytes = try await request.bytes(upTo: Limits.objectBytes)
    if bytes.readableBytes == 0 { return .object([:]) }
    try refuseOtherThanJSON(request)
    do {
      return try JSONValue(bytes: bytes.readableBytesView)
    } catch {
      throw APIStatus.badRequest("the delete options are not JSON: \(JSONFault.words(error))")
    }
  }

  private static func refuseOtherThanJSON(_ request: Request) throws(APIStatus) {
    guard let type = request.headers[.contentType], !type.hasPrefix("application/json") else { return }
    throw .unsupportedMedia("a body of type \(type) is not taken here; send application/json")
  }

  private static func refuseDryRun(_ query: QueryParameters) throws(APIStatus) {
    if let mode = query["dryRun"] { throw .badRequest("dryRun=\(mode) is not supported; leave it out") }
  }

  private static func headers(_ warnings: [String]) -> HTTPFields {
    var headers: HTTPFields = [:]
    guard let name = HTTPField.Name("Warning") else { return headers }
    for text in warnings {
      let quoted = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
      headers.append(HTTPField(name: name, value: "299 - \"\(quoted)\""))
    }
    return headers
  }
}
