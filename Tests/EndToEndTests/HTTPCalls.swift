import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// Calls of functions over HTTP, with one pool of connections.
final class HTTPCalls: Sendable {
  private let client: HTTPClient

  /// An answer.
  struct Answer: Sendable {
    let status: Int
    let body: String
    let error: String?
    let call: String?
  }

  /// Callers with at most `connections` connections.
  init(connections: Int = 64) {
    var configuration = HTTPClient.Configuration()
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
    configuration.timeout = .init(connect: .seconds(10), read: .seconds(60))
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.httpVersion = .http1Only
    client = HTTPClient(configuration: configuration)
  }

  /// Posts a body and reads the answer.
  func post(_ url: String, _ body: String, headers: [(String, String)] = []) async throws -> Answer {
    var request = HTTPClientRequest(url: url)
    request.method = .POST
    request.body = .bytes(ByteBuffer(string: body))
    for (name, value) in headers { request.headers.add(name: name, value: value) }
    let answer = try await client.execute(request, timeout: .seconds(90))
    let bytes = try await answer.body.collect(upTo: 64 << 20)
    return Answer(
      status: Int(answer.status.code), body: String(buffer: bytes), error: answer.headers.first(name: "x-apus-error"),
      call: answer.headers.first(name: "x-call-id"))
  }

  func close() async { try? await client.shutdown() }
}
