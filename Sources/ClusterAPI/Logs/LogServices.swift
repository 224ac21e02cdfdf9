package import ClusterModel
internal import Glibc

/// Takes log records with acknowledgement.
package protocol LogSink: Sendable {
  /// Appends NDJSON lines numbered from `firstSequence`; answers the highest sequence that is durable.
  ///
  /// Records of sequences already seen of this `source` are dropped, so that sending again is harmless.
  /// `source` is `NODE/SPOOL-ID`, or `gateway/ID`. Throws 507 when the disk is nearly full: keep them and try again.
  func append(source: String, firstSequence: UInt64, lines: [[UInt8]]) async throws(APIStatus) -> UInt64

  /// The same of lines in one piece; written again only where that saves taking them apart.
  func append(source: String, firstSequence: UInt64, lines: LogLines) async throws(APIStatus) -> UInt64
}

/// NDJSON lines in one piece, as a sender has them that writes many.
package struct LogLines: Hashable, Sendable {
  /// The lines, each with its newline.
  package var bytes: [UInt8]
  /// How many there are.
  package var count: Int

  /// Lines of all parts; without any, none.
  package init(bytes: [UInt8] = [], count: Int = 0) {
    self.bytes = bytes
    self.count = count
  }

  /// Lines as they were received.
  package init(ndjson bytes: [UInt8]) {
    self.bytes = bytes
    count = bytes.reduce(0) { $0 + ($1 == 10 ? 1 : 0) } + (bytes.last.map { $0 == 10 ? 0 : 1 } ?? 0)
  }
}

extension LogLines {
  /// Adds a line that has no newline yet.
  package mutating func append(_ line: [UInt8]) {
    bytes += line
    bytes.append(10)
    count += 1
  }

  /// The lines of NDJSON without their newlines; empty ones are left out. By memchr(3): it is done to every record.
  package static func split(_ bytes: UnsafeRawBufferPointer) -> [[UInt8]] {
    guard let base = bytes.baseAddress else { return [] }
    var lines: [[UInt8]] = []
    var start = 0
    while start < bytes.count {
      let found = memchr(base + start, 10, bytes.count - start)
      let end = found.map { UnsafeRawPointer($0) - base } ?? bytes.count
      if end > start { lines.append(Array(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))) }
      start = end + 1
    }
    return lines
  }
}

extension LogSink {
  /// `append` of lines in one piece.
  package func append(source: String, firstSequence: UInt64, lines: LogLines) async throws(APIStatus) -> UInt64 {
    let split = lines.bytes.withUnsafeBytes(LogLines.split)
    return try await append(source: source, firstSequence: firstSequence, lines: split)
  }
}

/// What to look for in the logs.
package struct LogRequest: Codable, Hashable, Sendable {
  /// The namespaces searched; nil for all.
  package var namespaces: [String]?
  /// The query text, `docs/log-query.md`.
  package var query: String
  /// Records at or after this moment.
  package var since: Timestamp?
  /// Records before this moment.
  package var until: Timestamp?
  /// Records at most; newest first.
  package var limit: Int
  /// A statistics pipe, such as `count() by (function)`.
  package var stats: String?
  /// Asks not for the answer but for how it would be found: lines `{"step":"…"}`.
  package var explain: Bool

  /// A request.
  package init(
    namespaces: [String]?, query: String = "", since: Timestamp? = nil, until: Timestamp? = nil, limit: Int = 100,
    stats: String? = nil, explain: Bool = false
  ) {
    self.namespaces = namespaces
    self.query = query
    self.since = since
    self.until = until
    self.limit = limit
    self.stats = stats
    self.explain = explain
  }
}

/// Reads logs.
package protocol LogQueries: Sendable {
  /// Record lines, newest first; with `stats`, one JSON row a group; with `explain`, a line a step.
  func query(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error>
  /// The same, many lines in one piece, for one who passes them on as they are.
  func answer(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<LogLines, any Error>
  /// Record lines as they arrive, from now on; a line `{"dropped":n}` where the reader was too slow.
  func follow(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error>
}

extension LogQueries {
  /// `query`, a line in one piece.
  package func answer(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<LogLines, any Error> {
    let lines = try await query(request)
    return AsyncThrowingStream {
      var reader = lines.makeAsyncIterator()
      return try await reader.next().map { LogLines(bytes: $0 + [10], count: 1) }
    }
  }
}
