import NIOCore
import NIOHPACK

/// A stream's answer on its way back: bytes of HTTP/1.1 in, header lists and data out.
struct StreamAnswer {
  /// What goes out, in order.
  enum Part {
    case headers(HPACKHeaders, end: Bool)
    case data(ByteBuffer, end: Bool)
  }

  private enum State {
    case head
    case body(BodyReader)
    case ended
  }

  private var state = State.head
  private var lines = HeadLines(hasStartLine: true)
  /// What was written and is no whole head yet, or no whole line of a chunk.
  private var input = ByteBuffer()

  /// Whether the last part was given.
  var isEnded: Bool {
    if case .ended = state { return true }
    return false
  }

  /// The parts that are complete with these bytes; `toHEAD` is whether a `HEAD` is answered.
  mutating func take(_ bytes: ByteBuffer, toHEAD: Bool) throws(ParseFailure) -> [Part] {
    if input.readableBytes == 0 { input = bytes } else { input.writeImmutableBuffer(bytes) }
    var parts: [Part] = []
    while try step(&parts, toHEAD) {}
    if input.readableBytes == 0 { input = ByteBuffer() }
    return parts
  }

  private mutating func step(_ parts: inout [Part], _ toHEAD: Bool) throws(ParseFailure) -> Bool {
    switch state {
    case .head: return try head(&parts, toHEAD)
    case .body(var reader):
      let piece = try reader.next(&input)
      state = reader.isEnded ? .ended : .body(reader)
      switch piece {
      case .more: return false
      case .bytes(let bytes):
        parts.append(.data(bytes, end: reader.isEnded))
        return true
      case .end(let trailers):
        if let trailers { parts.append(.headers(try Self.list(trailers: trailers), end: true)) } else { end(&parts) }
        return true
      }
    case .ended:
      guard input.readableBytes == 0 else { throw ParseFailure("bytes behind the end of an answer") }
      return false
    }
  }

  /// The end stands on the part before it, where there is one.
  private func end(_ parts: inout [Part]) {
    switch parts.popLast() {
    case .headers(let headers, _): parts.append(.headers(headers, end: true))
    case .data(let bytes, _): parts.append(.data(bytes, end: true))
    case nil: parts.append(.data(ByteBuffer(), end: true))
    }
  }

  private mutating func head(_ parts: inout [Part], _ toHEAD: Bool) throws(ParseFailure) -> Bool {
    let result: Result<(ResponseHead, HPACKHeaders, Int)?, ParseFailure> = input.withUnsafeReadableBytes { bytes in
      do throws(ParseFailure) {
        guard let end = try lines.read(bytes) else { return .success(nil) }
        let head = try ResponseHead(lines, bytes, toHEAD: toHEAD)
        return .success((head, try Self.list(head, lines, bytes), end))
      } catch { return .failure(error) }
    }
    guard let (head, headers, length) = try result.get() else { return false }
    input.moveReaderIndex(forwardBy: length)
    lines.reset()
    if head.isInterim {
      parts.append(.headers(headers, end: false))
      return true
    }
    let reader = BodyReader(head.framing)
    guard head.status != 101, !reader.endsWithConnection else { throw ParseFailure("an answer no stream can carry") }
    parts.append(.headers(headers, end: reader.isEnded))
    state = reader.isEnded ? .ended : .body(reader)
    return true
  }

  private static func list(_ head: ResponseHead, _ lines: HeadLines, _ bytes: UnsafeRawBufferPointer)
    throws(ParseFailure) -> HPACKHeaders
  {
    var headers = HPACKHeaders()
    headers.reserveCapacity(lines.fields.count + 1)
    headers.add(name: ":status", value: String(head.status))
    for field in lines.fields { add(field, bytes, to: &headers) }
    guard fits(bytes, lines.lineStart) else { throw ParseFailure("a head that no frame holds", .headTooLarge) }
    return headers
  }

  private static func list(trailers: ByteBuffer) throws(ParseFailure) -> HPACKHeaders {
    var text = trailers
    text.writeStaticString("\r\n")
    let result: Result<HPACKHeaders, ParseFailure> = text.withUnsafeReadableBytes { bytes in
      do throws(ParseFailure) {
        var lines = HeadLines(hasStartLine: false)
        var headers = HPACKHeaders()
        guard try lines.read(bytes) != nil else { throw ParseFailure("trailers that do not end") }
        guard fits(bytes, bytes.count) else { throw ParseFailure("trailers that no frame holds", .headTooLarge) }
        for field in lines.fields { add(field, bytes, to: &headers) }
        return .success(headers)
      } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// Whether a list fits into one frame, whatever its compression makes of it: it has 8 bits at most for what is common,
  /// up to 30 for the rest (RFC 7541, appendix B).
  private static func fits(_ bytes: UnsafeRawBufferPointer, _ count: Int) -> Bool {
    if count <= GatewayLimits.streamHeadBytes / 4 { return true }
    var size = 0
    for byte in bytes[..<count] {
      switch byte {
      case 10, 13, 32, 37, 38, 42, 44...59, 61, 65...90, 95, 97...122: size += 1
      default: size += 4
      }
    }
    return size <= GatewayLimits.streamHeadBytes
  }

  /// Adds a field that is not one of the connection's; what differs in every answer is kept out of the dynamic table.
  private static func add(_ field: Field, _ bytes: UnsafeRawBufferPointer, to headers: inout HPACKHeaders) {
    let indexing: HPACKIndexing
    switch field.kind {
    case .connection, .transferEncoding, .upgrade, .hopByHop: return
    case .callID, .platform, .contentLength: indexing = .nonIndexable
    case .credential, .authorization: indexing = .neverIndexed
    default: indexing = .indexable
    }
    let name = field.name.of(bytes)
    let lower = name.contains { $0 >= 65 && $0 <= 90 } ? field.name.text(bytes).lowercased() : field.name.text(bytes)
    headers.add(name: lower, value: field.value.text(bytes), indexing: indexing)
  }
}
