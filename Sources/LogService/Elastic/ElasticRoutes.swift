internal import ClusterAPI
internal import ClusterModel
internal import Foundation
internal import HTTPService
internal import HTTPTypes
internal import Hummingbird
internal import LogIndex
internal import NIOCore

/// The part of Elasticsearch's API that shippers and its own clients need: `_bulk` and documents in, `_search` out.
struct ElasticRoutes: Sendable {
  /// Bytes of a search's body at most.
  static let searchBytesMaximum = 1 << 20
  /// The header without which the clients refuse an answer.
  static let product = HTTPField.Name("X-Elastic-Product")

  let service: LogService
  let lanes: PushLanes
  /// What is masked before anything is kept.
  let masks: LogMasks
  let now: @Sendable () -> Timestamp

  /// Adds the routes.
  func register(on router: Router<AdminContext>) {
    add(router, [.get, .head], ["/"], "read logs") { request, _ in info(request) }
    for root in ["", "/:index"] {
      add(router, [.post, .put], ["\(root)/_bulk"], "write logs", bulk)
      add(router, [.get, .post], ["\(root)/_search"], "read logs", search)
      add(router, [.get, .post], ["\(root)/_count"], "read logs", count)
      add(router, [.get, .post], ["\(root)/_refresh"], "read logs") { _, _ in
        // What was acknowledged is found at once.
        .json(.object(["_shards": Self.shards]))
      }
    }
    add(router, [.post], ["/:index/_doc"], "write logs", document)
    add(router, [.post, .put], ["/:index/_doc/:id", "/:index/_create/:id"], "write logs", document)
    add(router, [.put], ["/:index"], "write logs") { request, context in
      let name = try Self.index(context) ?? ""
      try ElasticIndices.check(name)
      return .json(.object(["acknowledged": .bool(true), "shards_acknowledged": .bool(true), "index": .string(name)]))
    }
    add(router, [.head, .get], ["/:index"], "read logs", exists)
    add(router, [.get], ["/_cat/indices", "/_cat/indices/:index"], "read logs", catalogue)
    add(router, [.get], ["/_cluster/health"], "read logs") { _, _ in .json(Self.health) }
  }

  private func add(
    _ router: Router<AdminContext>, _ methods: [HTTPRequest.Method], _ paths: [String], _ what: String,
    _ body: @escaping @Sendable (Request, AdminContext) async throws -> Response
  ) {
    for path in paths {
      for method in methods {
        router.on(RouterPath(path), method: method) { request, context in
          do {
            try context.require(.administer(what))
            try Self.checkMedia(request)
            return Self.finished(try await body(request, context), request)
          } catch let error as ElasticError {
            return Self.failure(error, request)
          } catch let error as APIStatus {
            return Self.failure(ElasticError(error), request, retryAfter: error.details?.retryAfterSeconds)
          }
        }
      }
    }
  }

  // MARK: Answers

  /// An error in Elasticsearch's shape.
  static func failure(_ error: ElasticError, _ request: Request, retryAfter: Int? = nil) -> Response {
    var response = Response.json(error.body, status: HTTPResponse.Status(code: error.status))
    if let retryAfter { response.headers[.retryAfter] = String(retryAfter) }
    if error.status == 401 { response.headers[.wwwAuthenticate] = "Bearer" }
    return finished(response, request)
  }

  /// An answer with the headers that clients look for: the type in the version that was asked for.
  private static func finished(_ response: Response, _ request: Request) -> Response {
    var response = response
    if let product { response.headers[product] = "Elasticsearch" }
    let isJSON = response.headers[.contentType]?.hasPrefix("application/json") ?? false
    if isJSON, request.headers[.accept]?.contains("vnd.elasticsearch+json") == true {
      response.headers[.contentType] = "application/vnd.elasticsearch+json;compatible-with=\(version(request))"
    }
    return response
  }

  /// The version a client asks to be spoken to in.
  static func version(_ request: Request) -> Int {
    let asked = (request.headers[.accept] ?? "") + (request.headers[.contentType] ?? "")
    return asked.contains("compatible-with=9") ? 9 : asked.contains("compatible-with=7") ? 7 : 8
  }

  private static func checkMedia(_ request: Request) throws {
    let type = PushBody.mediaType(request)
    let taken = [
      "", "application/json", "application/x-ndjson", "application/vnd.elasticsearch+json",
      "application/vnd.elasticsearch+x-ndjson", "text/plain", "application/x-www-form-urlencoded",
    ]
    guard taken.contains(type) else {
      throw ElasticError(
        415, "media_type_header_exception", "Content-Type [\(type)] is not taken; send application/json")
    }
  }

  private static func index(_ context: AdminContext) throws -> String? {
    context.parameters.get("index").map { PercentEncoding.decode($0) }
  }

  private static let shards: JSONValue = .object([
    "total": .int(1), "successful": .int(1), "skipped": .int(0), "failed": .int(0),
  ])

  private static let health: JSONValue = .object([
    "cluster_name": .string("apus"), "status": .string("green"), "timed_out": .bool(false), "number_of_nodes": .int(1),
    "number_of_data_nodes": .int(1), "active_primary_shards": .int(1), "active_shards": .int(1),
    "relocating_shards": .int(0), "initializing_shards": .int(0), "unassigned_shards": .int(0),
  ])

  private func info(_ request: Request) -> Response {
    let number = ["7.17.0", "8.17.0", "9.0.0"][Self.version(request) - 7]
    return .json(
      .object([
        "name": .string("apus"), "cluster_name": .string("apus"), "cluster_uuid": .string("apus-logs"),
        "version": .object([
          "number": .string(number), "build_flavor": .string("default"), "build_type": .string("tar"),
          "build_hash": .string("apus"), "build_date": .string("2026-01-01T00:00:00.000Z"),
          "build_snapshot": .bool(false), "lucene_version": .string("9.12.0"),
          "minimum_wire_compatibility_version": .string("7.17.0"),
          "minimum_index_compatibility_version": .string("7.0.0"),
        ]),
        "tagline": .string("You Know, for Search"),
      ]))
  }

  // MARK: In

  private func bulk(_ request: Request, _ context: AdminContext) async throws -> Response {
    let started = ContinuousClock.now
    let body = try await PushBody.bytes(request)
    let bulk = try ElasticBulk(body, index: try Self.index(context), masks: masks, now: now().nanoseconds)
    var lines: [[UInt8]] = []
    for item in bulk.items {
      if case .success(let line) = item.line { lines.append(line) }
    }
    let outcome = await service.push(lines, lanes, from: .elasticsearch)
    service.counters.refused(bulk.items.count - lines.count, from: .elasticsearch)
    var written = 0
    var hasErrors = false
    let stamp = now().nanoseconds
    var items: [JSONValue] = []
    items.reserveCapacity(bulk.items.count)
    for item in bulk.items {
      var result: Result<String, ElasticError>
      switch item.line {
      case .failure(let error): result = .failure(error)
      case .success:
        result = .success(item.id ?? "\(stamp).\(written)")
        if written >= outcome.stored, let failure = outcome.failure { result = .failure(ElasticError(failure)) }
        written += 1
      }
      if case .failure = result { hasErrors = true }
      items.append(ElasticBulk.answer(item, result))
    }
    let took = Int((ContinuousClock.now - started) / .milliseconds(1))
    return .json(.object(["took": .int(Int64(took)), "errors": .bool(hasErrors), "items": .array(items)]))
  }

  /// One document.
  private func document(_ request: Request, _ context: AdminContext) async throws -> Response {
    let index = try Self.index(context) ?? ""
    let id = context.parameters.get("id").map { PercentEncoding.decode($0) }
    let body = try await PushBody.bytes(request)
    let stamp = now().nanoseconds
    let line = try ElasticBulk.line(body[...], index: index, id: id, masks: masks, now: stamp).get()
    let outcome = await service.push([line], lanes, from: .elasticsearch)
    if let failure = outcome.failure { throw failure }
    var answer = ElasticBulk.written
    answer["status"] = nil
    answer["_index"] = .string(index)
    answer["_id"] = .string(id ?? "\(stamp).0")
    return .json(.object(answer), status: .created)
  }

  // MARK: Out

  private func body(_ request: Request) async throws -> JSONValue {
    let bytes = try await request.bytes(upTo: Self.searchBytesMaximum)
    if bytes.readableBytes == 0 { return .object([:]) }
    var plain = Array(bytes.readableBytesView)
    if request.headers[.contentEncoding]?.lowercased().contains("gzip") == true {
      do throws(Gunzip.Fault) { plain = try Gunzip.bytes(plain, upTo: Self.searchBytesMaximum) } catch {
        throw ElasticError.parsing(
          "the body is said to be gzip and does not inflate within \(Self.searchBytesMaximum) bytes")
      }
    }
    // Depth is checked by a reader that does not recurse without end.
    guard JSONSlice(plain) != nil, let value = try? JSONValue(bytes: plain) else {
      throw ElasticError.parsing("the body is not JSON")
    }
    return value
  }

  private func search(_ request: Request, _ context: AdminContext) async throws -> Response {
    let parameters = QueryParameters(request.uri.query)
    let search = try ElasticSearch(
      try await body(request), parameters: { parameters[$0] }, now: now().nanoseconds)
    let indices = try ElasticIndices(try Self.index(context))
    let answer = try await ElasticAnswers(service: service).search(search, indices)
    return Response(
      status: .ok, headers: [.contentType: "application/json"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer)))
  }

  private func count(_ request: Request, _ context: AdminContext) async throws -> Response {
    let parameters = QueryParameters(request.uri.query)
    let search = try ElasticSearch(try await body(request), parameters: { parameters[$0] }, now: now().nanoseconds)
    let count = try await ElasticAnswers(service: service).count(
      search.filter, try ElasticIndices(try Self.index(context)))
    return .json(.object(["count": .int(Int64(count)), "_shards": Self.shards]))
  }

  private func exists(_ request: Request, _ context: AdminContext) async throws -> Response {
    let name = try Self.index(context) ?? ""
    guard !name.hasPrefix("_") else {
      throw ElasticError(
        404, "resource_not_found_exception", "nothing is at [\(name)]; docs/log-adapters.md has what is")
    }
    guard try await ElasticAnswers(service: service).count(QueryWords.everything, try ElasticIndices(name)) > 0 else {
      throw ElasticError(404, "index_not_found_exception", "no such index [\(name)]")
    }
    return .json(
      .object([name: .object(["aliases": .object([:]), "mappings": .object([:]), "settings": .object([:])])]))
  }

  private func catalogue(_ request: Request, _ context: AdminContext) async throws -> Response {
    let rows = try await ElasticAnswers(service: service).indices(try ElasticIndices(try Self.index(context)))
    let parameters = QueryParameters(request.uri.query)
    let isJSON = parameters["format"] == "json" || request.headers[.accept]?.contains("json") == true
    guard isJSON, parameters["format"] != "text" else {
      let head = parameters["v"].map { $0 != "false" } ?? (request.uri.query?.contains("v") ?? false)
      let lines = rows.map { "green open \($0.name) \($0.name) 1 0 \($0.records) 0" }
      let title = head ? ["health status index uuid pri rep docs.count docs.deleted"] : []
      return .text((title + lines).map { $0 + "\n" }.joined())
    }
    return .json(
      .array(
        rows.map { row in
          .object([
            "health": .string("green"), "status": .string("open"), "index": .string(row.name),
            "uuid": .string(row.name),
            "pri": .string("1"), "rep": .string("0"), "docs.count": .string(String(row.records)),
            "docs.deleted": .string("0"),
          ])
        }))
  }
}
