import ClusterAPI
import NIOHTTP1

/// What a request head must be before anything is done with it. Stricter than HTTP asks: what two servers could read
/// in two ways is refused.
enum RequestRules {
  /// How the body is delimited.
  enum Framing: Equatable {
    case none
    case length(Int64)
    case chunked
  }

  /// A head that may pass.
  struct Accepted: Equatable {
    var target: String
    var host: String
    var framing: Framing
  }

  /// Why a head may not pass.
  struct Refusal: Error, Equatable {
    var code: CallErrorCode
    var message: String

    init(_ code: CallErrorCode, _ message: String) {
      self.code = code
      self.message = message
    }
  }

  /// Checks a head.
  static func check(_ head: HTTPRequestHead) throws(Refusal) -> Accepted {
    guard head.version == .http1_1 || head.version == .http1_0 else {
      throw Refusal(.badRequest, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    }
    if head.method == .CONNECT || head.method == .TRACE {
      throw Refusal(.methodNotAllowed, "\(head.method.rawValue) is not allowed")
    }
    guard head.uri.utf8.count <= GatewayLimits.targetBytes else {
      throw Refusal(.uriTooLong, "the request target is longer than \(GatewayLimits.targetBytes) bytes")
    }
    try checkFields(head)
    let framing = try framing(head)
    var host = try host(head)
    var target = head.uri
    if let absolute = FunctionTarget.splitAbsolute(target) {
      host = absolute.host
      target = absolute.target
    }
    return Accepted(target: target, host: host, framing: framing)
  }

  private static func checkFields(_ head: HTTPRequestHead) throws(Refusal) {
    guard head.headers.count <= GatewayLimits.headerCount else {
      throw Refusal(.headTooLarge, "more than \(GatewayLimits.headerCount) header fields")
    }
    var size = head.uri.utf8.count + head.method.rawValue.utf8.count + 12
    for (name, value) in head.headers {
      size += name.utf8.count + value.utf8.count + 4
      guard !name.isEmpty, name.utf8.allSatisfy(isTokenByte) else {
        throw Refusal(.badRequest, "a header name is not a token")
      }
      for byte in value.utf8 where (byte < 0x20 && byte != 9) || byte == 0x7F {
        throw Refusal(.badRequest, "header \(name) holds a control character")
      }
    }
    guard size <= GatewayLimits.headBytes else {
      throw Refusal(.headTooLarge, "the request head is larger than \(GatewayLimits.headBytes) bytes")
    }
  }

  private static func framing(_ head: HTTPRequestHead) throws(Refusal) -> Framing {
    let codings = head.headers["transfer-encoding"]
    let lengths = head.headers["content-length"]
    if !codings.isEmpty {
      guard lengths.isEmpty else { throw Refusal(.badRequest, "both Transfer-Encoding and Content-Length") }
      guard head.version == .http1_1 else { throw Refusal(.badRequest, "Transfer-Encoding in HTTP/1.0") }
      guard codings.count == 1, codings[0].lowercased() == "chunked" else {
        throw Refusal(.badRequest, "a transfer coding other than chunked")
      }
      return .chunked
    }
    guard let length = lengths.first else { return .none }
    guard lengths.count == 1 else { throw Refusal(.badRequest, "Content-Length stands twice") }
    guard (1...18).contains(length.utf8.count), length.utf8.allSatisfy({ (48...57).contains($0) }),
      let value = Int64(length)
    else { throw Refusal(.badRequest, "Content-Length is not a number") }
    return .length(value)
  }

  private static func host(_ head: HTTPRequestHead) throws(Refusal) -> String {
    let hosts = head.headers["host"]
    guard hosts.count <= 1 else { throw Refusal(.badRequest, "Host stands twice") }
    guard let host = hosts.first else {
      guard head.version == .http1_0 else { throw Refusal(.badRequest, "Host is missing") }
      return ""
    }
    for byte in host.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
        UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "%"), UInt8(ascii: "~"):
        continue
      default: throw Refusal(.badRequest, "Host holds a character it may not hold")
      }
    }
    return host
  }

  private static func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"),
      UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
      UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"),
      UInt8(ascii: "|"), UInt8(ascii: "~"):
      true
    default: false
    }
  }
}
