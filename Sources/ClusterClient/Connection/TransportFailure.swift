internal import AsyncHTTPClient
package import ClusterAPI
internal import ClusterModel
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL

/// Why a request failed, and how far it got.
struct TransportFailure: Error {
  /// What the caller sees.
  let status: APIStatus
  /// How far the request got.
  let progress: RetryPolicy.Progress

  /// Bytes of an error's body that are read.
  static let errorBytesMax = 1 << 20

  /// A failure of the connection.
  init(_ error: any Error, server: String) {
    switch error {
    case let status as APIStatus: self = TransportFailure(status, .final)
    case is CancellationError: self = TransportFailure(.cancelled, .final)
    case let error as HTTPClientError: self = Self.failure(error, server)
    case let error as NIOConnectionError:
      let cause = error.connectionErrors.first.map { Self.words($0.error) } ?? "no address to connect to"
      self = TransportFailure(.unavailable("cannot reach \(server): \(cause); is the server up?"), .unsent)
    case let error as IOError where [ECONNREFUSED, ENETUNREACH, EHOSTUNREACH].contains(error.errnoCode):
      self = TransportFailure(.unavailable("cannot reach \(server): \(Self.words(error)); is the server up?"), .unsent)
    case let error as NIOSSLError: self = TransportFailure(.untrusted(server, "\(error)"), .final)
    case let error as NIOSSLExtraError: self = TransportFailure(.untrusted(server, "\(error)"), .final)
    case let error as ChannelError:
      if case .connectTimeout = error {
        self = TransportFailure(.unavailable("cannot reach \(server): no answer while connecting"), .unsent)
      } else {
        self = TransportFailure(.unavailable("the connection to \(server) broke: \(error)"), .uncertain)
      }
    default: self = TransportFailure(.unavailable("the connection to \(server) broke: \(error)"), .uncertain)
    }
  }

  /// An answer that is an error.
  init(answer: HTTPClientResponse) async {
    let code = Int(answer.status.code)
    let body = try? await answer.body.collect(upTo: Self.errorBytesMax)
    let decoded = body.flatMap { try? JSONDecoder().decode(APIStatus.self, from: Data($0.readableBytesView)) }
    let text = body.map { String(decoding: $0.readableBytesView.prefix(200), as: UTF8.self) } ?? ""
    let status =
      decoded
      ?? APIStatus(
        code: code, reason: answer.status.reasonPhrase.filter { $0 != " " },
        message: text.isEmpty ? "the server answered \(code)" : "the server answered \(code): \(text)")
    self.init(status, code == 503 ? .refused : .final)
  }

  private init(_ status: APIStatus, _ progress: RetryPolicy.Progress) {
    self.status = status
    self.progress = progress
  }

  private static func failure(_ error: HTTPClientError, _ server: String) -> TransportFailure {
    switch error {
    case .cancelled, .alreadyShutdown: TransportFailure(.cancelled, .final)
    case .deadlineExceeded, .readTimeout, .writeTimeout:
      TransportFailure(
        APIStatus(code: 504, reason: "Timeout", message: "\(server) did not answer in time"), .uncertain)
    case .connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout:
      TransportFailure(.unavailable("cannot reach \(server): no answer while connecting"), .unsent)
    case .invalidURL, .emptyHost, .emptyScheme:
      TransportFailure(.badRequest("\"\(server)\" is not a server's address; use https://HOST:PORT"), .final)
    default: TransportFailure(.unavailable("the connection to \(server) broke: \(error.shortDescription)"), .uncertain)
    }
  }

  private static func words(_ error: any Error) -> String {
    guard let error = error as? IOError else { return "\(error)" }
    return String(cString: strerror(error.errnoCode)).lowercased()
  }
}

extension APIStatus {
  /// The caller gave up, or the client was shut down.
  package static var cancelled: APIStatus {
    APIStatus(code: 499, reason: "Cancelled", message: "the request was cancelled")
  }

  fileprivate static func untrusted(_ server: String, _ why: String) -> APIStatus {
    APIStatus(
      code: 502, reason: "Untrusted",
      message:
        "the TLS handshake with \(server) failed: \(why); check that the address and the authority belong together")
  }
}
