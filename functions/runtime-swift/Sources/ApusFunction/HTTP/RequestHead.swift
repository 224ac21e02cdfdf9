/// A request that is refused: the connection is closed after its answer.
package struct BadRequest: Error, Equatable {
  /// The status of the answer.
  package var status: Int
  /// The code of the answer's body.
  package var code: String
  /// What was wrong.
  package var message: String

  /// A refusal.
  package init(_ message: String, status: Int = 400, code: String = "bad_request") {
    self.status = status
    self.code = code
    self.message = message
  }
}

/// How long a request's body is.
package enum BodyLength: Equatable, Sendable {
  /// So many bytes.
  case fixed(Int)
  /// In chunks.
  case chunked
}

/// The parsed head of a request.
package struct RequestHead: Sendable {
  /// The method, a token of at most 32 bytes.
  package var method = ""
  /// The path as it was sent, not decoded.
  package var path = ""
  /// What follows the first `?`, as it was sent; empty without one.
  package var query = ""
  /// The minor version: 1, or 0 for HTTP/1.0.
  package var minor = 1
  /// The header fields.
  package var headers = Headers()
  /// The length of the body.
  package var length = BodyLength.fixed(0)
  /// Whether the connection goes on after this request.
  package var keepAlive = true
  /// Whether the client waits for a 100 before it sends the body.
  package var expectsContinue = false
}

/// The strict parser of request heads: one spelling of each thing, everything else refused.
package enum HeadParser {
  /// The largest head, in bytes.
  package static let headBytes = 64 * 1024
  /// The most header fields.
  package static let headerCount = 256

  /// The position after the empty line that ends the head, or nil when it has not arrived.
  /// A stray CR or LF is refused at once, because waiting for an end that cannot come would hang.
  package static func end(of buffer: [UInt8]) throws(BadRequest) -> Int? {
    var index = 0
    let limit = min(buffer.count, headBytes + 4)
    while index < limit {
      let byte = buffer[index]
      if byte == 0x0A { throw BadRequest("a line ends without CR") }
      if byte == 0 { throw BadRequest("NUL in the head") }
      if byte == 0x0D {
        guard index + 1 < limit else { break }
        guard buffer[index + 1] == 0x0A else { throw BadRequest("CR without LF") }
        if index + 3 < limit, buffer[index + 2] == 0x0D, buffer[index + 3] == 0x0A { return index + 4 }
        index += 2
        continue
      }
      index += 1
    }
    if buffer.count > headBytes {
      throw BadRequest("the head is larger than \(headBytes) bytes", status: 431, code: "head_too_large")
    }
    return nil
  }

  /// Parses a whole head, the bytes before the position `end(of:)` gave.
  package static func parse(_ bytes: ArraySlice<UInt8>) throws(BadRequest) -> RequestHead {
    var lines = Lines(rest: bytes)
    guard let first = try lines.next() else { throw BadRequest("the head is empty") }
    var head = try requestLine(first)
    var count = 0
    while let line = try lines.next(), !line.isEmpty {
      count += 1
      if count > headerCount {
        throw BadRequest("more than \(headerCount) header fields", status: 431, code: "head_too_large")
      }
      let (name, value) = try field(line)
      try add(name, value, to: &head.headers)
    }
    try frame(&head)
    return head
  }

  private static func requestLine(_ line: ArraySlice<UInt8>) throws(BadRequest) -> RequestHead {
    let parts = line.split(separator: 0x20, omittingEmptySubsequences: false)
    guard parts.count == 3 else { throw BadRequest("the request line is not METHOD TARGET VERSION") }
    var head = RequestHead()
    guard !parts[0].isEmpty, parts[0].count <= 32, parts[0].allSatisfy(isToken) else {
      throw BadRequest("the method is not a token")
    }
    head.method = String(decoding: parts[0], as: UTF8.self)
    switch String(decoding: parts[2], as: UTF8.self) {
    case "HTTP/1.1": head.minor = 1
    case "HTTP/1.0": head.minor = 0
    default: throw BadRequest("only HTTP/1.1 and HTTP/1.0 are spoken here", status: 505)
    }
    let target = parts[1]
    guard target.first == 0x2F || (target.elementsEqual([0x2A]) && head.method == "OPTIONS") else {
      throw BadRequest("the target does not start with /")
    }
    guard !target.contains(where: { $0 == 0x09 || $0 == 0x23 }) else {
      throw BadRequest("the target holds a character that must be encoded")
    }
    let question = target.firstIndex(of: 0x3F) ?? target.endIndex
    head.path = String(decoding: target[..<question], as: UTF8.self)
    if question < target.endIndex { head.query = String(decoding: target[(question + 1)...], as: UTF8.self) }
    return head
  }

  static func field(_ line: ArraySlice<UInt8>) throws(BadRequest) -> (name: String, value: String) {
    guard let colon = line.firstIndex(of: 0x3A), colon > line.startIndex, line[..<colon].allSatisfy(isToken) else {
      throw BadRequest("a header line is not NAME: VALUE")
    }
    var value = line[(colon + 1)...]
    while let byte = value.first, byte == 0x20 || byte == 0x09 { value = value.dropFirst() }
    while let byte = value.last, byte == 0x20 || byte == 0x09 { value = value.dropLast() }
    return (String(decoding: line[..<colon], as: UTF8.self), String(decoding: value, as: UTF8.self))
  }

  private static func add(_ name: String, _ value: String, to headers: inout Headers) throws(BadRequest) {
    let known = headers[name]
    switch name.lowercased() {
    case "host", "transfer-encoding":
      if known != nil { throw BadRequest("\(name.lowercased()) stands twice") }
    case "content-length":
      if let known {
        guard known == value else { throw BadRequest("two different Content-Lengths") }
        return
      }
    default: break
    }
    headers.append(name, value)
  }

  private static func frame(_ head: inout RequestHead) throws(BadRequest) {
    if let coding = head.headers["transfer-encoding"] {
      if head.headers["content-length"] != nil { throw BadRequest("both Transfer-Encoding and Content-Length") }
      if head.minor == 0 { throw BadRequest("Transfer-Encoding in HTTP/1.0") }
      guard coding.lowercased() == "chunked" else {
        throw BadRequest("a transfer coding other than chunked", status: 501)
      }
      head.length = .chunked
    } else if let length = head.headers["content-length"] {
      guard !length.isEmpty, length.utf8.count <= 18, length.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
        let count = Int(length)
      else { throw BadRequest("Content-Length is not a number") }
      head.length = .fixed(count)
    }
    if head.minor == 1, head.headers["host"] == nil { throw BadRequest("Host is missing") }
    let connection = (head.headers["connection"] ?? "").lowercased()
    head.keepAlive = head.minor == 1 ? !contains(connection, "close") : contains(connection, "keep-alive")
    if let expect = head.headers["expect"] {
      guard expect.lowercased() == "100-continue" else {
        throw BadRequest("an expectation other than 100-continue", status: 417)
      }
      head.expectsContinue = head.minor == 1 && head.length != .fixed(0)
    }
  }

  private static func contains(_ list: String, _ word: String) -> Bool {
    list.split(separator: ",").contains { $0.drop { $0 == " " || $0 == "\t" }.prefix(word.count) == word }
  }

  /// Whether a byte may stand in a method or a field's name.
  package static func isToken(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
    default: false
    }
  }

  /// The CRLF-ended lines of a head; any other control character but a tab is refused.
  private struct Lines {
    var rest: ArraySlice<UInt8>

    mutating func next() throws(BadRequest) -> ArraySlice<UInt8>? {
      guard !rest.isEmpty else { return nil }
      var index = rest.startIndex
      while index < rest.endIndex {
        let byte = rest[index]
        if byte == 0x0D { break }
        if (byte < 0x20 && byte != 0x09) || byte == 0x7F { throw BadRequest("a control character in the head") }
        index += 1
      }
      guard index + 1 < rest.endIndex, rest[index + 1] == 0x0A else {
        throw BadRequest("a line does not end with CRLF")
      }
      defer { rest = rest[(index + 2)...] }
      return rest[..<index]
    }
  }
}
