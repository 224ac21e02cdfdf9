import NIOCore
import NIOHPACK

/// Why what came on a stream is no request.
struct StreamFault: Error, Equatable {
  let message: String

  init(_ message: String) { self.message = message }
}

/// A stream's request on its way to the HTTP/1.1 reader: header lists and data in, bytes of exactly one request out.
///
/// Everything is checked before a byte is written (RFC 9113, 8.1 to 8.3), so that what passes reads as one request: no
/// name or value can end its line, no field frames the message but the one written here, and a body is as long as its
/// `content-length` says.
struct StreamRequest {
  private enum State {
    case head
    /// Bytes that `content-length` still promises.
    case length(Int64)
    case chunked
    case ended
  }

  private var state = State.head
  /// Whether the answer has no body because of the method.
  private(set) var isHEAD = false

  /// Whether the head was read.
  var isBegun: Bool {
    if case .head = state { return false }
    return true
  }

  /// Whether the last byte was given.
  var isEnded: Bool {
    if case .ended = state { return true }
    return false
  }

  /// The head of the request, with the line that frames its body.
  mutating func head(_ headers: HPACKHeaders, endStream: Bool) throws(StreamFault) -> ByteBuffer {
    var list = StreamFields()
    for (name, value, _) in headers { try list.take(name, value) }
    isHEAD = list.method == "HEAD"
    if endStream {
      guard list.length ?? 0 == 0 else { throw StreamFault("content-length without a body") }
      state = .ended
    } else if let length = list.length {
      state = .length(length)
    } else {
      state = .chunked
    }
    return try list.head(chunked: !endStream && list.length == nil)
  }

  /// A part of the body, framed.
  mutating func data(_ part: ByteBuffer, endStream: Bool, _ emit: (ByteBuffer) -> Void) throws(StreamFault) {
    switch state {
    case .head, .ended: throw StreamFault("data where none may stand")
    case .length(let left):
      let rest = left - Int64(part.readableBytes)
      guard rest >= 0 else { throw StreamFault("the body is longer than content-length") }
      guard rest == 0 || !endStream else { throw StreamFault("the body is shorter than content-length") }
      state = endStream ? .ended : .length(rest)
      if part.readableBytes > 0 { emit(part) }
    case .chunked:
      if part.readableBytes > 0 {
        var line = ByteBuffer()
        line.writeChunkSize(part.readableBytes)
        emit(line)
        emit(part)
        emit(Self.lineEnd)
      }
      guard endStream else { return }
      state = .ended
      emit(Self.lastChunk)
    }
  }

  /// The trailers, which end the body. A body of a told length has no room for them in HTTP/1.1; they are left out then.
  mutating func trailers(_ headers: HPACKHeaders) throws(StreamFault) -> ByteBuffer? {
    var list = StreamFields()
    for (name, value, _) in headers { try list.takeTrailer(name, value) }
    switch state {
    case .head, .ended: throw StreamFault("trailers where none may stand")
    case .length(let left):
      guard left == 0 else { throw StreamFault("the body is shorter than content-length") }
      state = .ended
      return nil
    case .chunked:
      state = .ended
      var bytes = ByteBuffer(staticString: "0\r\n")
      bytes.writeImmutableBuffer(list.lines)
      bytes.writeStaticString("\r\n")
      return bytes
    }
  }

  private static let lineEnd = ByteBuffer(staticString: "\r\n")
  private static let lastChunk = ByteBuffer(staticString: "0\r\n\r\n")
}

/// A header list that is being checked: its pseudo-header fields, and the others as lines of HTTP/1.1.
private struct StreamFields {
  var method: String?
  var scheme: String?
  var path: String?
  var authority: String?
  var host: String?
  var length: Int64?
  /// The regular fields but `host`, `content-length` and `cookie`.
  var lines = ByteBuffer()
  private var cookies: String?
  private var regular = false

  /// Takes the next field of a request's head.
  mutating func take(_ name: String, _ value: String) throws(StreamFault) {
    guard name.utf8.first == UInt8(ascii: ":") else { return try takeRegular(name, value) }
    guard !regular else { throw StreamFault("a pseudo-header field behind the others") }
    try Self.check(value: value)
    switch name {
    case ":method": try Self.set(&method, value)
    case ":scheme": try Self.set(&scheme, value)
    case ":path": try Self.set(&path, value)
    case ":authority": try Self.set(&authority, value)
    default: throw StreamFault("a pseudo-header field that no request has")
    }
  }

  private static func set(_ field: inout String?, _ value: String) throws(StreamFault) {
    guard field == nil else { throw StreamFault("a pseudo-header field stands twice") }
    field = value
  }

  private mutating func takeRegular(_ name: String, _ value: String) throws(StreamFault) {
    regular = true
    try Self.check(name: name)
    try Self.check(value: value)
    switch name {
    case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
      throw StreamFault("\(name) belongs to a connection of HTTP/1.1")
    case "te":
      guard value == "trailers" else { throw StreamFault("te other than trailers") }
      put(name, value)
    case "host":
      guard host == nil else { throw StreamFault("host stands twice") }
      host = value
    case "content-length":
      guard length == nil else { throw StreamFault("content-length stands twice") }
      guard let number = Self.decimal(value) else { throw StreamFault("content-length is not a number") }
      length = number
    // The parts of a cookie may come apart; HTTP/1.1 has one field (RFC 9113, 8.2.3).
    case "cookie": cookies = cookies.map { $0 + "; " + value } ?? value
    default: put(name, value)
    }
  }

  /// Takes the next field of the trailers.
  mutating func takeTrailer(_ name: String, _ value: String) throws(StreamFault) {
    guard name.utf8.first != UInt8(ascii: ":") else { throw StreamFault("a pseudo-header field in the trailers") }
    try takeRegular(name, value)
  }

  /// The head as bytes of HTTP/1.1.
  func head(chunked: Bool) throws(StreamFault) -> ByteBuffer {
    guard let method, !method.isEmpty, method.utf8.allSatisfy(ByteScan.isToken) else {
      throw StreamFault(":method is missing or no token")
    }
    let target: String
    if method == "CONNECT" {
      // Answered by the reader behind, as on HTTP/1.1: it is not allowed.
      guard scheme == nil, path == nil, let authority else { throw StreamFault("a malformed CONNECT") }
      target = authority
    } else {
      guard scheme == "http" || scheme == "https" else { throw StreamFault(":scheme is missing or not http") }
      guard let path, Self.isTarget(path, method) else { throw StreamFault(":path is missing or malformed") }
      target = path
    }
    guard authority == nil || host == nil || authority == host else { throw StreamFault("host is not :authority") }
    guard let name = authority ?? host, !name.isEmpty, Array(name.utf8).withUnsafeBytes(HeaderRules.isHost) else {
      throw StreamFault(":authority is missing or holds what no host holds")
    }
    var bytes = ByteBuffer()
    bytes.reserveCapacity(method.utf8.count + target.utf8.count + name.utf8.count + lines.readableBytes + 96)
    bytes.writeString(method)
    bytes.writeStaticString(" ")
    bytes.writeString(target)
    bytes.writeStaticString(" HTTP/1.1\r\nhost: ")
    bytes.writeString(name)
    bytes.writeStaticString("\r\n")
    if let length {
      bytes.writeStaticString("content-length: ")
      bytes.write(room: 20) { $0.put(decimal: length) }
      bytes.writeStaticString("\r\n")
    }
    if chunked { bytes.writeStaticString("transfer-encoding: chunked\r\n") }
    if let cookies {
      bytes.writeStaticString("cookie: ")
      bytes.writeString(cookies)
      bytes.writeStaticString("\r\n")
    }
    bytes.writeImmutableBuffer(lines)
    bytes.writeStaticString("\r\n")
    return bytes
  }

  private mutating func put(_ name: String, _ value: String) {
    lines.writeString(name)
    lines.writeStaticString(": ")
    lines.writeString(value)
    lines.writeStaticString("\r\n")
  }

  /// A name is a token without capitals.
  private static func check(name: String) throws(StreamFault) {
    guard !name.isEmpty else { throw StreamFault("a field without a name") }
    for byte in name.utf8 where !ByteScan.isToken(byte) || (65...90).contains(byte) {
      throw StreamFault("a field's name is no lower-case token")
    }
  }

  /// A value holds no control character but tabs, and no blank at either end.
  private static func check(value: String) throws(StreamFault) {
    for byte in value.utf8 where (byte < 0x20 && byte != 9) || byte == 0x7F {
      throw StreamFault("a control character in a field's value")
    }
    if let first = value.utf8.first, let last = value.utf8.last, ByteScan.isBlank(first) || ByteScan.isBlank(last) {
      throw StreamFault("a blank at an end of a field's value")
    }
  }

  /// What may stand between the blanks of a request line.
  private static func isTarget(_ path: String, _ method: String) -> Bool {
    guard path.utf8.first == UInt8(ascii: "/") || (path == "*" && method == "OPTIONS") else { return false }
    return path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }
  }

  private static func decimal(_ value: String) -> Int64? {
    var value = value
    return value.withUTF8 { ByteScan.decimal(UnsafeRawBufferPointer($0)) }
  }
}
