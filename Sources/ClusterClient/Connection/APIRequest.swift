internal import AsyncHTTPClient
internal import ClusterModel
internal import NIOCore
internal import NIOHTTP1

/// One request to the server, in this target's terms.
struct APIRequest: Sendable {
  /// The method.
  var method: HTTPMethod
  /// The path, its segments already escaped.
  var path: String
  /// Query parameters, escaped on sending.
  var query: [(String, String)] = []
  /// Headers besides those of the client itself.
  var headers: [(String, String)] = []
  /// The body.
  var body = Body.none
  /// Whether running it twice is the same as once.
  var idempotent: Bool
  /// How long the answer's head may take; nil for ever.
  var patience: Duration? = .seconds(30)

  /// A request's body.
  enum Body: Sendable {
    case none
    case bytes([UInt8])
    case stream(HTTPClientRequest.Body)
  }

  /// A request that reads.
  static func get(_ path: String, query: [(String, String)] = []) -> APIRequest {
    APIRequest(method: .GET, path: path, query: query, idempotent: true)
  }

  /// A request that carries JSON.
  static func json(_ method: HTTPMethod, _ path: String, _ value: JSONValue, idempotent: Bool) -> APIRequest {
    APIRequest(
      method: method, path: path, headers: [("content-type", "application/json")], body: .bytes(Array(value.encoded())),
      idempotent: idempotent)
  }

  /// The path with its query.
  var target: String {
    guard !query.isEmpty else { return path }
    return path + "?" + query.map { "\($0.0)=\(Self.escape($0.1))" }.joined(separator: "&")
  }

  /// Percent-encodes everything but RFC 3986's unreserved characters.
  static func escape(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case 48...57, 65...90, 97...122, 45, 46, 95, 126: bytes.append(byte)
      default: bytes += [37, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
