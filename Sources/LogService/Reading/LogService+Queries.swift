package import ClusterAPI
internal import ClusterModel
internal import LogIndex

extension LogService {
  /// Record lines, newest first; with `stats`, one JSON row a group, whatever the limit of the request. An answer cut
  /// by the service's bounds ends with a line `{"truncated":"reason"}`. Throws 400 with the column and a hint for a
  /// text that is no query, and 429 while too many queries run.
  package func query(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    SplitPieces(try await answer(request)).lines
  }

  /// The same, many lines in one piece.
  package func answer(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<LogLines, any Error> {
    let query = try Self.parsed(request)
    let scope = LogScope(namespaces: request.namespaces)
    if request.explain { return explanation(request, query) }
    guard let permit = permits.take() else {
      counters.queryRefused()
      throw .tooManyRequests("\(permits.maximum) log queries are running", retryAfterSeconds: 1)
    }
    if query.stats != nil { return try await rows(query, scope, permit) }
    let pieces = RecordPieces(
      store.query(query, scope: scope, bounds: options.bounds), permit: permit, counters: counters,
      bytesMaximum: options.answerBytesMaximum)
    return AsyncThrowingStream { try await pieces.next() }
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
  ) async throws(APIStatus) -> AsyncThrowingStream<LogLines, any Error> {
    let answer: LogStatAnswer?
    do { answer = try await store.statLines(query, scope: scope, bounds: options.bounds) } catch {
      throw .internalError("the logs could not be read: \(error)")
    }
    counters.queried(cut: answer?.truncated != nil)
    let rows = RowPieces(answer, permit: permit)
    return AsyncThrowingStream { await rows.next() }
  }
}

/// The rows of one answer as lines in pieces, put into words when the piece before was taken.
private actor RowPieces {
  private var lines: LogStatLines?
  private var end: [UInt8]?
  private var permit: QueryPermit?

  init(_ answer: LogStatAnswer?, permit: QueryPermit) {
    lines = answer?.lines
    end = answer?.truncated.map { RecordPieces.cut($0.rawValue, since: answer?.completeSince) }
    self.permit = permit
  }

  func next() -> LogLines? {
    if let (bytes, count) = lines?.piece() { return LogLines(bytes: bytes, count: count) }
    lines = nil
    permit = nil
    defer { end = nil }
    return end.map { line in
      var last = LogLines()
      last.append(line)
      return last
    }
  }
}

/// Lines one by one of what comes in pieces.
private actor SplitPieces {
  private var reader: AsyncThrowingStream<LogLines, any Error>.Iterator
  private var ready: ArraySlice<[UInt8]> = []

  init(_ pieces: AsyncThrowingStream<LogLines, any Error>) { reader = pieces.makeAsyncIterator() }

  nonisolated var lines: AsyncThrowingStream<[UInt8], any Error> { AsyncThrowingStream { try await self.next() } }

  private func next() async throws -> [UInt8]? {
    while ready.isEmpty {
      var reader = reader
      let piece = try await reader.next(isolation: self)
      self.reader = reader
      guard let piece else { return nil }
      ready = piece.bytes.withUnsafeBytes(LogLines.split)[...]
    }
    return ready.popFirst()
  }
}
