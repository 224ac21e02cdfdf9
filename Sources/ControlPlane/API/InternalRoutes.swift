internal import ClusterAPI
internal import ClusterModel
internal import Foundation
internal import HTTPService
internal import Hummingbird

/// What gateways and log shippers use.
struct InternalRoutes: Sendable {
  /// Bytes of a batch of log lines at most.
  static let logBatchMax = 32 << 20
  /// Bytes of a usage report at most.
  static let usageBytesMax = 16 << 20

  let services: APIServices

  /// Adds the routes.
  func register(on router: Router<AdminContext>) {
    router.get("/internal/v1/ca") { _, _ in
      var response = Response.text(services.authority.pem)
      response.headers[.contentType] = "application/x-pem-file"
      return response
    }
    router.get("/internal/v1/routes") { try await routes($0, $1) }
    router.post("/internal/v1/activation/want") { try await want($0, $1) }
    router.post("/internal/v1/activation/idle") { try await idle($0, $1) }
    router.post("/internal/v1/usage") { try await usage($0, $1) }
    router.post("/internal/v1/logs") { try await appendLogs($0, $1) }
    router.post("/internal/v1/calls") { try await CallRoutes(services: services).enqueue($0, $1) }
    router.post("/internal/v1/calls/result") { try await CallRoutes(services: services).result($0, $1) }
  }

  private func routes(_ request: Request, _ context: AdminContext) async throws -> Response {
    let gateway = try Self.gateway(request, context)
    let updates = try await services.feed.subscribe(gateway: gateway)
    return StreamResponse.live(
      updates, to: request, contentType: "application/x-ndjson",
      encode: { Array(try JSONCoding.encoder.encode($0)) + [10] })
  }

  /// The gateway a request is of, by its `gateway=`; throws unless the caller is that one.
  @discardableResult
  static func gateway(_ request: Request, _ context: AdminContext) throws -> String {
    guard let gateway = QueryParameters(request.uri.query)["gateway"] else {
      throw APIStatus.badRequest("gateway= is missing")
    }
    try context.require(.route(gateway: gateway))
    return gateway
  }

  private func want(_ request: Request, _ context: AdminContext) async throws -> Response {
    let want: PodsWanted = try await Self.decoded(request, upTo: Limits.objectBytes)
    try context.require(.route(gateway: want.gateway))
    try await services.activation.want(want)
    return .json(.object([:]))
  }

  private struct Idle: Decodable {
    let uid: String
    let gateway: String
    let why: PodRelease
  }

  private func idle(_ request: Request, _ context: AdminContext) async throws -> Response {
    let idle: Idle = try await Self.decoded(request, upTo: Limits.objectBytes)
    try context.require(.route(gateway: idle.gateway))
    try await services.activation.podIdle(uid: idle.uid, gateway: idle.gateway, why: idle.why)
    return .json(.object([:]))
  }

  private struct Usage: Decodable {
    let gateway: String
    let usage: [FunctionUsage]
  }

  private func usage(_ request: Request, _ context: AdminContext) async throws -> Response {
    let report: Usage = try await Self.decoded(request, upTo: Self.usageBytesMax)
    try context.require(.route(gateway: report.gateway))
    await services.usage.report(report.usage, gateway: report.gateway)
    return .json(.object([:]))
  }

  private func appendLogs(_ request: Request, _ context: AdminContext) async throws -> Response {
    let query = QueryParameters(request.uri.query)
    guard let source = query["source"], let first = query["first"].flatMap({ UInt64($0) }) else {
      throw APIStatus.badRequest("source= and first= (a number) are needed")
    }
    try context.require(.appendLogs(source: source))
    let bytes = try await request.bytes(upTo: Self.logBatchMax)
    let acked: UInt64
    if case .node(let node) = context.principal, let stamp = services.stamp {
      let lines = try await stamp(node, bytes.withUnsafeReadableBytes(LogLines.split))
      acked = try await services.logSink.append(source: source, firstSequence: first, lines: lines)
    } else {
      let lines = LogLines(ndjson: Array(buffer: bytes))
      acked = try await services.logSink.append(source: source, firstSequence: first, lines: lines)
    }
    return .json(.object(["acked": .int(Int64(clamping: acked))]))
  }

  private static func decoded<T: Decodable>(_ request: Request, upTo bound: Int) async throws -> T {
    let bytes = try await request.bytes(upTo: bound)
    do {
      return try JSONDecoder().decode(T.self, from: Data(bytes.readableBytesView))
    } catch {
      throw APIStatus.badRequest("the body cannot be read: \(JSONFault.words(error))")
    }
  }
}
