package import ClusterAPI
package import ClusterModel
package import HTTPService
internal import HTTPTypes
package import Hummingbird
internal import NIOCore

/// Other systems' protocols at the edge of the log service: Elasticsearch, Loki's push, OTLP. They need the credential of
/// the rest of the log API, `docs/log-adapters.md` says what is understood.
package struct LogAdapters: Sendable {
  private let service: LogService
  private let lanes: PushLanes
  private let masks: LogMasks
  private let now: @Sendable () -> Timestamp

  /// Adapters of a log service; `masks` is what is masked before anything is kept, `now` the time of what is sent without
  /// one.
  package init(
    _ service: LogService, masks: LogMasks = .standard,
    now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
  ) {
    self.service = service
    self.masks = masks
    self.lanes = PushLanes(sink: service)
    self.now = now
  }

  /// Adds the routes to a server whose requests are authenticated.
  package func register(on router: Router<AdminContext>) {
    ElasticRoutes(service: service, lanes: lanes, masks: masks, now: now).register(on: router)
    router.post("/loki/api/v1/push") { try await loki($0, $1) }
    router.post("/v1/logs") { try await otlp($0, $1) }
  }

  /// An error as the clients of a path read it; nil for paths that are not of these protocols.
  @Sendable package static func failure(_ request: Request, _ status: APIStatus) -> Response? {
    let path = request.uri.path
    if path.hasPrefix("/loki/") { return lokiFailure(status) }
    if path == "/v1/logs" { return otlpFailure(status) }
    let isElastic =
      path == "/" || request.headers[.accept]?.contains("vnd.elasticsearch") == true
      || path.split(separator: "/").prefix(2).contains { $0.hasPrefix("_") }
    guard isElastic else { return nil }
    return ElasticRoutes.failure(ElasticError(status), request, retryAfter: status.details?.retryAfterSeconds)
  }

  // MARK: Loki

  private func loki(_ request: Request, _ context: AdminContext) async throws -> Response {
    try context.require(.administer("write logs"))
    guard PushBody.mediaType(request) == "application/json" else {
      throw APIStatus.unsupportedMedia(
        "only Content-Type: application/json is taken, not protobuf; Fluent Bit's output `loki` sends it, Vector's with "
          + "`compression: gzip`, and agents that only speak protobuf can send OTLP to /v1/logs")
    }
    let tenant = request.headers[HTTPField.Name("X-Scope-OrgID") ?? .from]
    let body = try await PushBody.bytes(request)
    let push: LokiPush
    do throws(PushFault) { push = try LokiPush(body, tenant: tenant) } catch {
      throw APIStatus.badRequest("\(error)")
    }
    let (lines, faults) = Self.lines(push.records, masks)
    let outcome = await service.push(lines, lanes, from: .loki)
    service.counters.refused(faults.count, from: .loki)
    if let failure = outcome.failure { throw failure }
    if let first = faults.first {
      throw APIStatus.badRequest(
        "\(faults.count) of \(push.records.count) lines were not taken, the others were: \(first)")
    }
    return Response(status: .noContent)
  }

  private static func lokiFailure(_ status: APIStatus) -> Response {
    var response = Response.text(status.message + "\n", status: HTTPResponse.Status(code: status.code))
    if let seconds = status.details?.retryAfterSeconds { response.headers[.retryAfter] = String(seconds) }
    return response
  }

  // MARK: OTLP

  private func otlp(_ request: Request, _ context: AdminContext) async throws -> Response {
    try context.require(.administer("write logs"))
    guard PushBody.mediaType(request) == "application/json" else {
      throw APIStatus.unsupportedMedia(
        "only Content-Type: application/json is taken, not protobuf: in the Collector's exporter `otlphttp` set `encoding: "
          + "json`, in an SDK OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/json")
    }
    let body = try await PushBody.bytes(request)
    let logs: OTLPLogs
    do throws(PushFault) { logs = try OTLPLogs(body, now: now()) } catch {
      throw APIStatus.badRequest("\(error)")
    }
    let (lines, faults) = Self.lines(logs.records, masks)
    let outcome = await service.push(lines, lanes, from: .otlp)
    service.counters.refused(faults.count, from: .otlp)
    if let failure = outcome.failure { throw failure }
    guard let first = faults.first else { return .json(.object([:])) }
    return .json(
      .object([
        "partialSuccess": .object([
          "rejectedLogRecords": .string(String(faults.count)), "errorMessage": .string("\(first)"),
        ])
      ]))
  }

  /// google.rpc.Status. A full disk is 503 here: 507 would have senders throw their records away.
  private static func otlpFailure(_ status: APIStatus) -> Response {
    let code: (http: Int, rpc: Int64) =
      switch status.code {
      case 401: (401, 16)
      case 403: (403, 7)
      case 413, 429: (status.code, 8)
      case 507, 503: (503, 14)
      case 500...: (status.code, 13)
      default: (status.code, 3)
      }
    var response = Response.json(
      .object(["code": .int(code.rpc), "message": .string(status.message)]),
      status: HTTPResponse.Status(code: code.http))
    if let seconds = status.details?.retryAfterSeconds ?? (code.http == 503 ? 5 : nil) {
      response.headers[.retryAfter] = String(seconds)
    }
    return response
  }

  /// The lines of records, masked, and why others have none.
  static func lines(_ records: [PushRecord], _ masks: LogMasks) -> (lines: [[UInt8]], faults: [PushFault]) {
    var lines: [[UInt8]] = []
    var faults: [PushFault] = []
    lines.reserveCapacity(records.count)
    for var record in records {
      do throws(PushFault) { lines.append(try record.line(masks)) } catch { faults.append(error) }
    }
    return (lines, faults)
  }
}

extension LogService {
  /// Appends what others pushed, and counts it.
  func push(_ lines: [[UInt8]], _ lanes: PushLanes, from entrance: LogCounters.Entrance) async -> PushLanes.Outcome {
    let outcome = await lanes.append(lines)
    let bytes = lines.prefix(outcome.stored).reduce(0) { $0 + $1.count }
    counters.took(outcome.stored, bytes: bytes, from: entrance)
    counters.refused(lines.count - outcome.stored, from: entrance)
    return outcome
  }
}
