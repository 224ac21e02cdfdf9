package import ClusterAPI
internal import ClusterModel
internal import NIOCore
internal import NIOHTTP1

/// Takes log records at the server, over HTTP.
package struct HTTPLogSink: LogSink {
  private let client: APIClient

  /// The logs of the server behind a client.
  package init(client: APIClient) { self.client = client }

  /// Appends lines and answers the highest durable sequence; sent again when the connection broke.
  package func append(source: String, firstSequence: UInt64, lines: [[UInt8]]) async throws(APIStatus) -> UInt64 {
    let bytes = Array(lines.joined(separator: [10]))
    return try await append(
      source: source, firstSequence: firstSequence, lines: LogLines(bytes: bytes, count: lines.count))
  }

  /// Appends lines in one piece, as they are.
  package func append(source: String, firstSequence: UInt64, lines: LogLines) async throws(APIStatus) -> UInt64 {
    let answer = try await client.json(
      APIRequest(
        method: .POST, path: "/internal/v1/logs", query: [("source", source), ("first", String(firstSequence))],
        headers: [("content-type", "application/x-ndjson")], body: .bytes(lines.bytes), idempotent: true))
    guard let acked = answer["acked"]?.intValue, acked >= 0 else {
      throw .internalError("the server acknowledged log lines without saying how many")
    }
    return UInt64(acked)
  }
}

/// Reads the server's logs, over HTTP.
package struct HTTPLogQueries: LogQueries {
  /// Bytes of one record at most.
  static let recordBytesMax = 1 << 20

  private let client: APIClient

  /// The logs of the server behind a client.
  package init(client: APIClient) { self.client = client }

  /// Record lines, newest first; with `stats`, one JSON row a group.
  package func query(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    try await open(request, follow: false)
  }

  /// Record lines as they arrive.
  package func follow(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    try await open(request, follow: true)
  }

  private func open(
    _ request: LogRequest, follow: Bool
  ) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    var query = [("limit", String(request.limit))]
    if !request.query.isEmpty { query.append(("query", request.query)) }
    if let since = request.since { query.append(("since", since.description)) }
    if let until = request.until { query.append(("until", until.description)) }
    if let stats = request.stats { query.append(("stats", stats)) }
    if request.explain { query.append(("explain", "true")) }
    if follow { query.append(("follow", "true")) }
    var path = "/apis/apus.dev/v1/"
    if let namespaces = request.namespaces, namespaces.count == 1, let only = namespaces.first {
      path += "namespaces/\(APIRequest.escape(only))/"
    } else if let namespaces = request.namespaces {
      query.append(("namespaces", namespaces.joined(separator: ",")))
    }
    let (_, lines) = try await client.lines(.get(path + "logs", query: query), bound: Self.recordBytesMax)
    return AsyncThrowingStream { try await lines.next() }
  }
}
