internal import AsyncHTTPClient
internal import ClusterAPI
internal import ClusterModel
internal import Foundation
package import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// A connection pool to one server: TLS against its authority, a credential, deadlines, bounded retries.
///
/// Share one per process and server. Call `shutdown()` when done; open streams end then.
package final class APIClient: Sendable {
  /// Connections to the server at most; every stream (watch, session, feed) holds one.
  static let connectionsMax = 512
  /// Bytes of an answer that is read as a whole, at most.
  static let answerBytesMax = 256 << 20
  /// How long connecting may take.
  static let connectPatience = TimeAmount.seconds(5)

  /// The server this client talks to.
  package let endpoint: APIEndpoint
  private let retry: RetryPolicy
  private let logger: Logger
  private let http: HTTPClient
  private let identity: Mutex<Identity>

  private struct Identity {
    var tls: TLSConfiguration
    var token: String?
  }

  /// A client of a server; throws when the authority or the certificate cannot be read.
  package convenience init(
    endpoint: APIEndpoint, credential: APICredential, retry: RetryPolicy = RetryPolicy(),
    logger: Logger = Logger(label: "apus.client")
  ) throws(CredentialError) {
    try self.init(endpoint: endpoint, credential: credential, verified: true, retry: retry, logger: logger)
  }

  /// `verified: false` trusts any server; only the authority itself is fetched so.
  init(
    endpoint: APIEndpoint, credential: APICredential, verified: Bool, retry: RetryPolicy, logger: Logger
  ) throws(CredentialError) {
    self.endpoint = endpoint
    self.retry = retry
    self.logger = logger
    let tls = try endpoint.tls(for: credential, verified: verified)
    identity = Mutex(Identity(tls: tls, token: credential.token))
    var configuration = HTTPClient.Configuration(
      tlsConfiguration: tls, redirectConfiguration: .disallow,
      timeout: .init(connect: Self.connectPatience, read: nil), decompression: .disabled)
    configuration.httpVersion = .http1Only
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Self.connectionsMax
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.http1_1ConnectionDebugInitializer = { DeadPeer.detect(on: $0) }
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  deinit {
    // The pool must be shut down even when its owner forgot; the task keeps it alive until that is done.
    let http = http
    Task { try? await http.shutdown() }
  }

  /// Uses another credential from the next request on; streams that are open stay as they are.
  package func use(_ credential: APICredential) throws(CredentialError) {
    let tls = try endpoint.tls(for: credential)
    identity.withLock { $0 = Identity(tls: tls, token: credential.token) }
  }

  /// Ends every request and stream and closes the connections.
  package func shutdown() async {
    try? await http.shutdown()
  }

  // MARK: Sending

  /// Sends a request, again where the policy allows, and answers the successful response with its body unread.
  func send(_ request: APIRequest) async throws(APIStatus) -> HTTPClientResponse {
    var failures = 0
    while true {
      let failure: TransportFailure
      do {
        return try await once(request)
      } catch {
        failure = error
      }
      failures += 1
      let chance = Double.random(in: 0...1)
      guard
        !Task.isCancelled,
        let delay = retry.delay(
          afterFailure: failures, progress: failure.progress, idempotent: request.idempotent, chance: chance)
      else { throw failure.status }
      logger.debug(
        "request is sent again",
        metadata: ["http.path": "\(request.path)", "error": "\(failure.status.message)", "failures": "\(failures)"])
      do { try await Task.sleep(for: delay) } catch { throw .cancelled }
    }
  }

  private func once(_ request: APIRequest) async throws(TransportFailure) -> HTTPClientResponse {
    let (tls, token) = identity.withLock { ($0.tls, $0.token) }
    var message = HTTPClientRequest(url: endpoint.url + request.target)
    message.method = request.method
    message.tlsConfiguration = tls
    message.headers.add(name: "user-agent", value: "apus")
    if let token { message.headers.add(name: "authorization", value: "Bearer \(token)") }
    for (name, value) in request.headers { message.headers.add(name: name, value: value) }
    switch request.body {
    case .none: break
    case .bytes(let bytes): message.body = .bytes(ByteBuffer(bytes: bytes))
    case .stream(let body): message.body = body
    }
    let deadline = request.patience.map { NIODeadline.now() + TimeAmount($0) } ?? .distantFuture
    let response: HTTPClientResponse
    do {
      response = try await http.execute(message, deadline: deadline)
    } catch {
      throw TransportFailure(error, server: endpoint.url)
    }
    guard (200..<300).contains(response.status.code) else { throw await TransportFailure(answer: response) }
    return response
  }

  /// The whole body of the answer.
  func bytes(_ request: APIRequest) async throws(APIStatus) -> ByteBuffer {
    let response = try await send(request)
    do {
      return try await response.body.collect(upTo: Self.answerBytesMax)
    } catch {
      throw TransportFailure(error, server: endpoint.url).status
    }
  }

  /// The answer as JSON.
  func json(_ request: APIRequest) async throws(APIStatus) -> JSONValue {
    let bytes = try await bytes(request)
    do {
      return try JSONValue(bytes: bytes.readableBytesView)
    } catch {
      throw .internalError("the answer of \(endpoint.url)\(request.path) is not JSON: \(error)")
    }
  }

  /// The answer's body as lines of at most `bound` bytes, with the response's head.
  func lines(_ request: APIRequest, bound: Int) async throws(APIStatus) -> (HTTPClientResponse, ResponseLines) {
    let response = try await send(request)
    return (response, ResponseLines(response.body, bound: bound, server: endpoint.url))
  }
}

extension APICredential {
  fileprivate var token: String? {
    if case .token(let token) = self { return token }
    return nil
  }
}
