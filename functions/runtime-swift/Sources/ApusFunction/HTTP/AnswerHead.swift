/// How the body of an answer is framed.
package enum Framing: Equatable, Sendable {
  /// So many bytes.
  case fixed(Int)
  /// In chunks.
  case chunked
  /// To the end of the connection, for HTTP/1.0.
  case untilClose
  /// No body at all.
  case none
}

/// Renders the head of an answer.
package enum AnswerHead {
  /// Fields the runner writes itself; a function's own are dropped.
  static let reserved: Set<String> = [
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
  ]

  /// Whether an answer of this status has no body at all.
  package static func isBodiless(_ status: Int) -> Bool { status == 204 || status == 304 }

  /// The bytes of the head, its empty line included. Fields that cannot be sent safely are refused.
  package static func render(
    status: Int, headers: Headers, framing: Framing, keepAlive: Bool, minor: Int
  ) throws(InvalidResponse) -> [UInt8] {
    guard (200...599).contains(status) else { throw InvalidResponse("status \(status): 200 to 599 is needed") }
    var text = "HTTP/1.1 \(status) \(reason(status))\r\n"
    for field in headers where !reserved.contains(field.name.lowercased()) {
      guard !field.name.isEmpty, field.name.utf8.allSatisfy(HeadParser.isToken) else {
        throw InvalidResponse("header name '\(field.name)': letters, digits and - only")
      }
      guard !field.value.utf8.contains(where: { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }) else {
        throw InvalidResponse("header \(field.name): the value must not contain control characters")
      }
      text += "\(field.name): \(field.value)\r\n"
    }
    switch framing {
    case .fixed(let count): text += "Content-Length: \(count)\r\n"
    case .chunked: text += "Transfer-Encoding: chunked\r\n"
    case .untilClose, .none: break
    }
    if !keepAlive {
      text += "Connection: close\r\n"
    } else if minor == 0 {
      text += "Connection: keep-alive\r\n"
    }
    return Array((text + "\r\n").utf8)
  }

  private static func reason(_ status: Int) -> String {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 204: "No Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 304: "Not Modified"
    case 400: "Bad Request"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 413: "Content Too Large"
    case 422: "Unprocessable Content"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 503: "Service Unavailable"
    case 505: "HTTP Version Not Supported"
    default: "Status"
    }
  }
}

/// An answer of the function that cannot be sent.
package struct InvalidResponse: Error, CustomStringConvertible {
  /// What is wrong with it.
  package var description: String

  init(_ description: String) { self.description = description }
}
