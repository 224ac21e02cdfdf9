/// The answer of a function. A string literal is one: `return "Hello, \(name)!"`.
public struct Response: Sendable, ExpressibleByStringInterpolation {
  enum Body: Sendable {
    case bytes([UInt8])
    case stream(@Sendable (ResponseWriter) async throws -> Void)
  }

  /// The status, 200 to 599.
  public var status: Int
  /// The header fields; the runner adds those that frame the body.
  public var headers: Headers
  let body: Body

  /// Text, as text/plain.
  public init(_ text: String, status: Int = 200, headers: Headers = [:]) {
    self.init(bytes: Array(text.utf8), type: "text/plain; charset=utf-8", status: status, headers: headers)
  }

  /// Text that is JSON already, as application/json.
  public init(json: String, status: Int = 200, headers: Headers = [:]) {
    self.init(bytes: Array(json.utf8), type: "application/json", status: status, headers: headers)
  }

  /// Bytes of a media type.
  public init(
    bytes: [UInt8], type: String = "application/octet-stream", status: Int = 200, headers: Headers = [:]
  ) {
    self.status = status
    self.headers = headers
    body = .bytes(bytes)
    if self.headers["content-type"] == nil, !bytes.isEmpty { self.headers["Content-Type"] = type }
  }

  /// An answer written piece by piece, each sent at once.
  public static func stream(
    type: String = "text/plain; charset=utf-8", status: Int = 200, headers: Headers = [:],
    _ write: @escaping @Sendable (ResponseWriter) async throws -> Void
  ) -> Response {
    var headers = headers
    if headers["content-type"] == nil { headers["Content-Type"] = type }
    return Response(status: status, headers: headers, body: .stream(write))
  }

  /// From a string literal.
  /// Text, from a literal.
  public init(stringLiteral value: String) { self.init(value) }

  /// The body of an answer that is not streamed, as a test looks at it.
  public var text: String {
    if case .bytes(let bytes) = body { return String(decoding: bytes, as: UTF8.self) }
    return ""
  }

  private init(status: Int, headers: Headers, body: Body) {
    self.status = status
    self.headers = headers
    self.body = body
  }
}
