internal import ClusterAPI
internal import ClusterModel
package import HTTPService
package import Hummingbird

/// The routes of the control plane's API server.
package enum APIRoutes {
  /// Adds every route to a router of an `AdminServer`, whose authenticator is `services.tokens`.
  package static func register(on router: Router<AdminContext>, services: APIServices) {
    let discovery = Discovery(version: services.version)
    router.get("/version") { _, context in
      try context.require(.discover)
      return Response.json(discovery.versionInfo)
    }
    router.get("/api") { request, context in
      try context.require(.discover)
      return discovery.groups(core: true, accept: request.headers[.accept])
    }
    router.get("/apis") { request, context in
      try context.require(.discover)
      return discovery.groups(core: false, accept: request.headers[.accept])
    }
    router.get("/apis/apus.dev") { _, context in
      try context.require(.discover)
      return Response.json(discovery.group)
    }
    router.get("/readyz") { _, _ in Response.text("ok\n") }
    let dispatch = APIDispatch(services: services, discovery: discovery)
    for (group, root) in [("", "/api/v1"), ("apus.dev", "/apis/apus.dev/v1")] {
      for path in [root, root + "/**"] {
        for method in [HTTPRequest.Method.get, .head, .post, .put, .patch, .delete] {
          router.on(RouterPath(path), method: method) { request, context in
            let rest = String(request.uri.path.dropFirst(root.count))
            return try await dispatch.respond(to: request, context, group: group, rest: rest)
          }
        }
      }
    }
    InternalRoutes(services: services).register(on: router)
    NodeRoutes(services: services).register(on: router)
  }
}

/// Sends requests below a group and version to what serves them.
struct APIDispatch: Sendable {
  let services: APIServices
  let discovery: Discovery

  /// Answers one request.
  func respond(to request: Request, _ context: AdminContext, group: String, rest: String) async throws -> Response {
    guard let path = APIPath(group: group, rest: rest) else { throw APIStatus.noSuchPath(request.uri.path) }
    let query = QueryParameters(request.uri.query)
    let resources = ResourceRoutes(services: services)
    switch path {
    case .kinds:
      try context.require(.discover)
      return .json(discovery.kinds(group: group))
    case .collection(let kind, let namespace):
      return try await resources.collection(request, context, query, kind, namespace)
    case .object(let kind, let namespace, let name):
      return try await resources.object(request, context, query, kind, namespace, name)
    case .part(let kind, let namespace, let name, let part):
      return try await resources.part(request, context, query, kind, namespace, name, part)
    case .podLog(let namespace, let name):
      return try await LogRoutes(services: services).pod(request, context, query, namespace, name)
    case .logs(let namespace):
      return try await LogRoutes(services: services).logs(request, context, query, namespace)
    case .logHistogram(let namespace):
      return try await LogRoutes(services: services).histogram(request, context, query, namespace)
    case .logFacets(let namespace):
      return try await LogRoutes(services: services).facets(request, context, query, namespace)
    case .artifact(let namespace, let digest):
      return try await ArtifactRoutes(services: services).respond(request, context, namespace, digest)
    case .calls(let namespace):
      return try await CallRoutes(services: services).collection(request, context, query, namespace)
    case .call(let namespace, let id, let retry):
      return try await CallRoutes(services: services).object(request, context, namespace, id, retry: retry)
    case .tokens: return try await TokenRoutes(services: services).collection(request, context)
    case .token(let id): return try await TokenRoutes(services: services).object(request, context, id)
    }
  }
}
