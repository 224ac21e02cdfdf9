package import ClusterAPI
internal import ClusterModel
internal import LogIndex

extension LogService {
  /// Record lines, newest first; with `stats`, one JSON row a group, whatever the limit of the request. An answer cut
  /// by the service's bounds ends with a line `{"truncated":"reason"}`. Throws 400 with the column and a hint for a
  /// text that is no query, and 429 while too many queries run.
  package func query(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    let query = try Self.parsed(request)
    let scope = LogScope(namespaces: request.namespaces)
    if request.explain { return explanation(request, query) }
    guard let permit = permits.take() else {
      counters.queryRefused()
      throw .tooManyRequests("\(permits.maximum) log queries are running", retryAfterSeconds: 1)
    }
    if query.stats != nil { return try await rows(query, scope, permit) }
    let lines = LogLines(
      store.query(query, scope: scope, bounds: options.bounds), permit: permit, counters: counters,
      bytesMaximum: options.answerBytesMaximum)
    return AsyncThrowingStream { try await lines.line() }
  }

  /// Record lines as they arrive, from now on; a line `{"dropped":n}` where the reader was too slow. Throws 400 as
  /// `query` does, 429 when there are too many live tails.
  package func follow(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    let query = try Self.parsed(request)
    guard !request.explain else { throw .badRequest("explain says how a query is answered; leave out follow") }
    guard query.stats == nil else {
      throw .badRequest("statistics cannot be followed; leave out follow, or stats")
    }
    guard let tail = store.tail(query, scope: LogScope(namespaces: request.namespaces)) else {
      throw .tooManyRequests(
        "there are \(options.index.tailsMaximum) live tails already, or the log service is ending", retryAfterSeconds: 5
      )
    }
    counters.followed()
    return AsyncThrowingStream {
      var reader = tail.makeAsyncIterator()
      switch await reader.next() {
      case .record(let entry): return entry.bytes
      case .dropped(let count): return Array("{\"dropped\":\(count)}".utf8)
      case nil: return nil
      }
    }
  }

  /// The query a request means; the smaller of its two limits holds.
  static func parsed(_ request: LogRequest) throws(APIStatus) -> LogQuery {
    var query: LogQuery
    do throws(LogQueryError) { query = try LogQuery.parse(request.query) } catch {
      throw APIStatus(error, parameter: "query")
    }
    if let stats = request.stats {
      do throws(LogQueryError) { query = try LogQuery.parse(request.query, stats: stats) } catch {
        throw APIStatus(error, parameter: "stats")
      }
    }
    query.range = TimeRange(since: request.since?.nanoseconds, until: request.until?.nanoseconds)
    if query.stats == nil { query.limit = min(query.limit ?? request.limit, request.limit) }
    return query
  }

  private func rows(
    _ query: LogQuery, _ scope: LogScope, _ permit: QueryPermit
  ) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    let result: LogStatResult
    do { result = try await store.stats(query, scope: scope, bounds: options.bounds) } catch {
      throw .internalError("the logs could not be read: \(error)")
    }
    var lines = result.rows.map { $0.json(columns: result.columns) }
    if let reason = result.truncated { lines.append(LogLines.cut(reason.rawValue, since: result.completeSince)) }
    counters.queried(cut: result.truncated != nil)
    withExtendedLifetime(permit) {}
    return AsyncThrowingStream { continuation in
      for line in lines { continuation.yield(line) }
      continuation.finish()
    }
  }
}
