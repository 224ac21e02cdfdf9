import ClusterAPI

/// How a body is delimited.
enum Framing: Equatable {
  case none
  case length(Int64)
  case chunked
  /// By the end of the connection; answers only.
  case close
}

/// Why a request may not pass: what the client is told.
struct Refusal: Error, Equatable {
  var code: CallErrorCode
  var message: String

  init(_ code: CallErrorCode, _ message: String) {
    self.code = code
    self.message = message
  }

  /// What a reader's complaint about a request is answered with.
  init(_ failure: ParseFailure) {
    switch failure.kind {
    case .malformed: self.init(.badRequest, failure.message)
    case .headTooLarge: self.init(.headTooLarge, failure.message)
    case .targetTooLong: self.init(.uriTooLong, failure.message)
    }
  }
}

/// A request's head, taken apart: offsets into the bytes it came in. Stricter than HTTP asks: what two servers could
/// read in two ways is refused.
struct RequestHead: Equatable {
  var method = Span.none
  /// In origin form, but without the `/` that an absolute one may leave out.
  var target = Span.none
  var isAbsolute = false
  var isHTTP10 = false
  var isHEAD = false
  var framing = Framing.none
  /// Where the request goes by its own words; empty only in HTTP/1.0.
  var host = Span.none
  var keepAlive = true
  var expectsContinue = false
  /// An expectation that is not `100-continue`.
  var otherExpectation: Span?
  /// The protocol asked for, where `Connection` names `Upgrade` too.
  var upgrade: Span?
  /// The client's own call id, if it is one.
  var callID: Span?
  /// The client's trace context, if it is one.
  var traceparent: Span?
  /// What the caller grants the call, as it was written.
  var timeout: Span?
  /// Whether `Authorization` is ours and ends here.
  var keepsAuthorization = false
  /// Whether `Connection` names fields that must not pass.
  var namesFields = false

  /// Checks a head whose lines were read. A refusal leaves in `self` what was understood before it.
  mutating func check(_ lines: HeadLines, _ bytes: UnsafeRawBufferPointer) throws(Refusal) {
    try requestLine(lines.startLine ?? .none, bytes)
    var hosts = 0
    var named = Span.none
    var lengths = 0
    var codings = 0
    var traces = 0
    var close = false
    var keep = false
    var wantsUpgrade = false
    var options = 0
    for field in lines.fields {
      switch field.kind {
      case .other, .forwarded, .forwardedFor, .forwardedDetail, .hopByHop, .platform, .disguised, .credential,
        .authorization, .sessionToken:
        break
      case .host:
        hosts += 1
        named = field.value
      case .contentLength:
        lengths += 1
        guard let length = ByteScan.decimal(field.value.of(bytes)) else {
          throw Refusal(.badRequest, "Content-Length is not a number")
        }
        framing = .length(length)
      case .transferEncoding:
        codings += 1
        guard ByteScan.equals(field.value.of(bytes), "chunked") else {
          throw Refusal(.badRequest, "a transfer coding other than chunked")
        }
      case .connection:
        ByteScan.list(field.value, bytes) { part in
          options += 1
          let option = part.of(bytes)
          if ByteScan.equals(option, "close") {
            close = true
          } else if ByteScan.equals(option, "keep-alive") {
            keep = true
          } else if ByteScan.equals(option, "upgrade") {
            wantsUpgrade = true
          } else {
            namesFields = true
          }
        }
      case .upgrade: if upgrade == nil { upgrade = field.value }
      case .expect:
        if ByteScan.equals(field.value.of(bytes), "100-continue") {
          expectsContinue = true
        } else {
          otherExpectation = field.value
        }
      case .callID: if callID == nil, HeaderRules.isCallID(field.value.of(bytes)) { callID = field.value }
      case .timeout:
        guard timeout == nil else { throw Refusal(.badRequest, "X-Timeout stands twice") }
        timeout = field.value
      case .traceparent:
        traces += 1
        traceparent = traces == 1 && HeaderRules.isTraceparent(field.value.of(bytes)) ? field.value : nil
      }
    }
    try settleHost(named, hosts, bytes)
    guard options <= GatewayLimits.connectionOptions else {
      throw Refusal(.badRequest, "more than \(GatewayLimits.connectionOptions) options in Connection")
    }
    try settleFraming(lengths, codings)
    keepAlive = isHTTP10 ? keep && !close : !close
    if isHTTP10 || framing == .none { expectsContinue = false }
    if isHTTP10 || !wantsUpgrade { upgrade = nil }
  }

  /// One host, unless the version is older than the field; an absolute target has named it already.
  private mutating func settleHost(_ named: Span, _ hosts: Int, _ bytes: UnsafeRawBufferPointer) throws(Refusal) {
    guard hosts <= 1 else { throw Refusal(.badRequest, "Host stands twice") }
    guard hosts == 1 || isHTTP10 else { throw Refusal(.badRequest, "Host is missing") }
    // The host of an absolute target is looked at too.
    guard HeaderRules.isHost(named.of(bytes)), !isAbsolute || HeaderRules.isHost(host.of(bytes)) else {
      throw Refusal(.badRequest, "Host holds a character it may not hold")
    }
    if !isAbsolute { host = named }
  }

  /// One length, or one coding, or neither.
  private mutating func settleFraming(_ lengths: Int, _ codings: Int) throws(Refusal) {
    guard lengths <= 1 else { throw Refusal(.badRequest, "Content-Length stands twice") }
    if codings > 0 {
      guard lengths == 0 else { throw Refusal(.badRequest, "both Transfer-Encoding and Content-Length") }
      guard codings == 1 else { throw Refusal(.badRequest, "a transfer coding other than chunked") }
      guard !isHTTP10 else { throw Refusal(.badRequest, "Transfer-Encoding in HTTP/1.0") }
      framing = .chunked
    }
  }

  private mutating func requestLine(_ line: Span, _ bytes: UnsafeRawBufferPointer) throws(Refusal) {
    var index = line.start
    while index < line.end, ByteScan.isToken(bytes[index]) { index += 1 }
    method = Span(start: line.start, end: index)
    guard !method.isEmpty, method.count <= 32, index < line.end, bytes[index] == 32 else {
      throw Refusal(.badRequest, "this is not HTTP/1.1: the request line does not begin with a method")
    }
    let version = line.end - 8
    guard version > index + 1, bytes[version - 1] == 32,
      ByteScan.same(Span(start: version, end: line.end - 1).of(bytes), "HTTP/1.")
    else { throw Refusal(.badRequest, "spoken here are HTTP/1.0 and HTTP/1.1") }
    switch bytes[line.end - 1] {
    case UInt8(ascii: "1"): isHTTP10 = false
    case UInt8(ascii: "0"): isHTTP10 = true
    default: throw Refusal(.badRequest, "spoken here are HTTP/1.0 and HTTP/1.1")
    }
    target = Span(start: index + 1, end: version - 1)
    let name = method.of(bytes)
    isHEAD = ByteScan.same(name, "HEAD")
    if ByteScan.same(name, "CONNECT") || ByteScan.same(name, "TRACE") {
      throw Refusal(.methodNotAllowed, "\(method.text(bytes)) is not allowed")
    }
    guard target.count <= GatewayLimits.targetBytes else {
      throw Refusal(.uriTooLong, "the request target is longer than \(GatewayLimits.targetBytes) bytes")
    }
    for byte in target.of(bytes) where byte <= 0x20 || byte >= 0x7F || byte == UInt8(ascii: "#") {
      throw Refusal(.badRequest, "the target holds a character that must be percent-encoded")
    }
    splitAbsolute(bytes)
  }

  /// An absolute target (`http://HOST/PATH`) names the host, whatever `Host` says (RFC 9112, 3.2.2).
  private mutating func splitAbsolute(_ bytes: UnsafeRawBufferPointer) {
    guard !target.isEmpty, bytes[target.start] != UInt8(ascii: "/") else { return }
    let text = target.of(bytes)
    var scheme = 0
    if text.count > 7, ByteScan.equals(.init(rebasing: text[..<7]), "http://") { scheme = 7 }
    if text.count > 8, ByteScan.equals(.init(rebasing: text[..<8]), "https://") { scheme = 8 }
    guard scheme > 0 else { return }
    let start = target.start + scheme
    let end = bytes[start..<target.end].firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? target.end
    guard end > start, !bytes[start..<end].contains(UInt8(ascii: "@")) else { return }
    host = Span(start: start, end: end)
    target.start = end
    isAbsolute = true
  }
}
