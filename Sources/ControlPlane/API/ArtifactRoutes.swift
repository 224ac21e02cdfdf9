internal import ClusterAPI
internal import ClusterModel
internal import HTTPService
internal import Hummingbird

/// `HEAD`, `PUT`, `GET` on function packages, streamed.
struct ArtifactRoutes: Sendable {
  let services: APIServices

  /// Answers one request.
  func respond(
    _ request: Request, _ context: AdminContext, _ namespace: String, _ digest: String
  ) async throws -> Response {
    if let fault = Schema.Rule.digest.check(digest) { throw APIStatus.badRequest("the digest \(fault)") }
    switch request.method {
    case .head:
      try await require(context, namespace, digest)
      let found = try await services.artifacts.has(namespace: namespace, digest: digest)
      return Response(status: found ? .ok : .notFound, headers: [.contentType: "application/gzip"])
    case .get:
      try await require(context, namespace, digest)
      let chunks = try await services.artifacts.get(namespace: namespace, digest: digest)
      return StreamResponse.finite(chunks, contentType: "application/gzip") { $0 }
    case .put:
      try context.require(.administer("store packages"))
      let size = request.headers[.contentLength].flatMap { Int64($0) }
      if let size, size > Limits.artifactPacked {
        throw APIStatus.tooLarge("a package of \(size) bytes; at most \(Limits.artifactPacked) are allowed")
      }
      try await services.artifacts.put(namespace: namespace, digest: digest, size: size, chunks: request.chunks())
      return .json(.object(["digest": .string(digest)]), status: .created)
    default: throw APIStatus.methodNotAllowed("\(request.method.rawValue) is not for packages")
    }
  }

  /// A node may read the packages that pods placed on it are made from.
  private func require(_ context: AdminContext, _ namespace: String, _ digest: String) async throws {
    guard case .node(let node) = context.principal else { return try context.require(.readArtifact(nodes: [])) }
    let placed = await services.placements.isPlaced(digest, namespace: namespace, on: node)
    try context.require(.readArtifact(nodes: placed ? [node] : []))
  }
}
