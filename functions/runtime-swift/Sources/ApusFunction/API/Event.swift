/// The request a function answers.
public struct Event: Sendable {
  /// The body, as it came.
  public var body: [UInt8]
  /// The method: GET, POST, ….
  public var method: String
  /// The path as it was sent, without /function/NAME; at least `/`.
  public var path: String
  /// What follows the `?`, as it was sent; empty without one.
  public var rawQuery: String
  /// The header fields.
  public var headers: Headers

  /// An event, as a test makes one.
  public init(
    body: [UInt8] = [], method: String = "POST", path: String = "/", rawQuery: String = "", headers: Headers = [:]
  ) {
    self.body = body
    self.method = method
    self.path = path
    self.rawQuery = rawQuery
    self.headers = headers
  }

  /// An event with a text body, as a test makes one.
  public init(text: String) { self.init(body: Array(text.utf8)) }

  /// The body as text: UTF-8, a byte that is none becomes U+FFFD.
  public var text: String { String(decoding: body, as: UTF8.self) }

  /// The query, decoded; of a repeated name the first value.
  public var query: [String: String] { QueryString.parse(rawQuery) }
}
