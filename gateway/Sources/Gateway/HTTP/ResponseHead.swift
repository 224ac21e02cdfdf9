/// An answer's head, taken apart: offsets into the bytes it came in.
struct ResponseHead: Equatable {
  var status = 0
  /// The status line from the code on.
  var statusAndReason = Span.none
  var framing = Framing.none
  /// The length a `HEAD` or 304 tells of a body that does not come.
  var toldLength: Int64?
  var keepAlive = true
  /// What a 101 switches to.
  var upgrade: Span?
  /// Whether `Connection` names fields that must not pass.
  var namesFields = false

  /// Whether another head follows for the same request.
  var isInterim: Bool { status < 200 && status != 101 }

  /// Reads a head whose lines were read; `toHEAD` is whether it answers a `HEAD`.
  init(_ lines: HeadLines, _ bytes: UnsafeRawBufferPointer, toHEAD: Bool) throws(ParseFailure) {
    let isHTTP10 = try statusLine(lines.startLine ?? .none, bytes)
    var length: Int64?
    var codings = 0
    var close = false
    var keep = false
    for field in lines.fields {
      switch field.kind {
      case .contentLength:
        guard let value = ByteScan.decimal(field.value.of(bytes)), length == nil || length == value else {
          throw ParseFailure("its Content-Length is not one number")
        }
        length = value
      case .transferEncoding:
        codings += 1
        guard codings == 1, ByteScan.equals(field.value.of(bytes), "chunked"), !isHTTP10 else {
          throw ParseFailure("a transfer coding other than chunked")
        }
      case .connection:
        ByteScan.list(field.value, bytes) { part in
          let option = part.of(bytes)
          if ByteScan.equals(option, "close") {
            close = true
          } else if ByteScan.equals(option, "keep-alive") {
            keep = true
          } else if !ByteScan.equals(option, "upgrade") {
            namesFields = true
          }
        }
      case .upgrade: if upgrade == nil { upgrade = field.value }
      default: break
      }
    }
    guard codings == 0 || length == nil else { throw ParseFailure("both Transfer-Encoding and Content-Length") }
    keepAlive = isHTTP10 ? keep && !close : !close
    if toHEAD || status < 200 || status == 204 || status == 304 {
      if status != 204, status >= 200 { toldLength = length }
    } else if codings > 0 {
      framing = .chunked
    } else if let length {
      framing = .length(length)
    } else {
      framing = .close
      keepAlive = false
    }
  }

  private mutating func statusLine(_ line: Span, _ bytes: UnsafeRawBufferPointer) throws(ParseFailure) -> Bool {
    let text = line.of(bytes)
    guard text.count >= 12, ByteScan.same(UnsafeRawBufferPointer(rebasing: text[..<7]), "HTTP/1."), text[8] == 32,
      text[7] == UInt8(ascii: "1") || text[7] == UInt8(ascii: "0"), text.count == 12 || text[12] == 32,
      let code = ByteScan.decimal(UnsafeRawBufferPointer(rebasing: text[9..<12])), (100...599).contains(code)
    else { throw ParseFailure("its status line is malformed") }
    status = Int(code)
    statusAndReason = Span(start: line.start + 9, end: line.end)
    return text[7] == UInt8(ascii: "0")
  }
}
