/// Decodes a chunked body fed to it in any pieces.
package struct ChunkedDecoder {
  /// The longest line with a chunk's size, in bytes.
  package static let sizeLineBytes = 256
  /// The most bytes of trailers.
  package static let trailerBytes = 8 * 1024

  private enum State { case size, data, dataEnd, trailers, done }
  private let limit: Int
  private var state = State.size
  private var left = 0
  private var total = 0
  private var trailers = 0
  /// The fields behind the body, once it is complete.
  package private(set) var fields = Headers()

  /// A decoder that refuses a body of more than `limit` bytes.
  package init(limit: Int) { self.limit = limit }

  /// Takes from the front of `buffer` what belongs to the body and appends the data to `body`.
  /// True once the body is complete; what follows it stays in `buffer`.
  package mutating func feed(_ buffer: inout [UInt8], into body: inout [UInt8]) throws(BadRequest) -> Bool {
    var index = 0
    defer { buffer.removeFirst(index) }
    while state != .done {
      switch state {
      case .data:
        let take = min(left, buffer.count - index)
        body += buffer[index..<(index + take)]
        index += take
        left -= take
        guard left == 0 else { return false }
        state = .dataEnd
      case .dataEnd:
        guard index < buffer.count else { return false }
        guard buffer[index] == 0x0D else { throw BadRequest("a chunk does not end with CRLF") }
        guard index + 1 < buffer.count else { return false }
        guard buffer[index + 1] == 0x0A else { throw BadRequest("a chunk does not end with CRLF") }
        index += 2
        state = .size
      case .size:
        guard let line = try nextLine(buffer, &index, limit: Self.sizeLineBytes) else { return false }
        try size(line)
      case .trailers:
        guard let line = try nextLine(buffer, &index, limit: Self.trailerBytes) else { return false }
        if line.isEmpty {
          state = .done
        } else {
          trailers += line.count
          let field = try HeadParser.field(line)
          if trailers > Self.trailerBytes { throw BadRequest("too many trailers") }
          fields.append(field.name, field.value)
        }
      case .done: break
      }
    }
    return true
  }

  private func nextLine(
    _ buffer: [UInt8], _ index: inout Int, limit: Int
  ) throws(BadRequest) -> ArraySlice<UInt8>? {
    var end = index
    while end < buffer.count {
      let byte = buffer[end]
      if byte == 0x0D {
        guard end + 1 < buffer.count else { return nil }
        guard buffer[end + 1] == 0x0A else { throw BadRequest("CR without LF in the chunked body") }
        defer { index = end + 2 }
        return buffer[index..<end]
      }
      if (byte < 0x20 && byte != 0x09) || byte == 0x7F {
        throw BadRequest("a control character in the chunked body's lines")
      }
      end += 1
      if end - index > limit { throw BadRequest("a line of the chunked body is too long") }
    }
    return nil
  }

  private mutating func size(_ line: ArraySlice<UInt8>) throws(BadRequest) {
    var digits = line[..<(line.firstIndex(of: 0x3B) ?? line.endIndex)]
    while let byte = digits.last, byte == 0x20 || byte == 0x09 { digits = digits.dropLast() }
    guard !digits.isEmpty, digits.count <= 15 else { throw BadRequest("a chunk's size is not a hexadecimal number") }
    left = 0
    for byte in digits {
      switch byte {
      case 0x30...0x39: left = left * 16 + Int(byte - 0x30)
      case 0x41...0x46: left = left * 16 + Int(byte - 0x37)
      case 0x61...0x66: left = left * 16 + Int(byte - 0x57)
      default: throw BadRequest("a chunk's size is not a hexadecimal number")
      }
    }
    if left > limit - total {
      throw BadRequest("the body is larger than \(limit) bytes", status: 413, code: "body_too_large")
    }
    total += left
    state = left == 0 ? .trailers : .data
  }
}
