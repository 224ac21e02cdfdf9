import NIOCore

/// Takes a body apart as it comes, by its framing. The bytes it gives are slices of what was read, not copies.
struct BodyReader {
  /// What comes next.
  enum Piece {
    /// Nothing until more was read.
    case more
    case bytes(ByteBuffer)
    /// The end; lines of trailers that may pass, without the empty one, if there were any.
    case end(trailers: ByteBuffer?)
  }

  private enum State {
    case length(Int64)
    case close
    case size(value: Int64, digits: Int)
    /// Behind the size; how many bytes of an extension were thrown away.
    case sizeEnd(Int)
    case data(Int64)
    case dataEnd
    case trailers
    case ended
  }

  /// Bytes of a chunk's extension at most.
  static let extensionBytes = 256

  private var state: State
  private var lines = HeadLines(hasStartLine: false)

  /// A reader of a body that begins with the next byte.
  init(_ framing: Framing) {
    state =
      switch framing {
      case .none: .ended
      case .length(let length): length == 0 ? .ended : .length(length)
      case .chunked: .size(value: 0, digits: 0)
      case .close: .close
      }
  }

  /// Whether the end was given, or there is no body.
  var isEnded: Bool {
    if case .ended = state { return true }
    return false
  }

  /// Whether the body ends with the connection.
  var endsWithConnection: Bool {
    if case .close = state { return true }
    return false
  }

  /// Takes the next piece out of what was read.
  mutating func next(_ input: inout ByteBuffer) throws(ParseFailure) -> Piece {
    while true {
      switch state {
      case .ended: return .end(trailers: nil)
      case .close: return input.readableBytes == 0 ? .more : .bytes(take(&input, .max))
      case .length(let left):
        guard input.readableBytes > 0 else { return .more }
        let bytes = take(&input, left)
        let rest = left - Int64(bytes.readableBytes)
        state = rest == 0 ? .ended : .length(rest)
        return .bytes(bytes)
      case .data(let left):
        guard input.readableBytes > 0 else { return .more }
        let bytes = take(&input, left)
        let rest = left - Int64(bytes.readableBytes)
        state = rest == 0 ? .dataEnd : .data(rest)
        return .bytes(bytes)
      case .size, .sizeEnd: guard try chunkSize(&input) else { return .more }
      case .dataEnd:
        guard try lineEnd(&input, after: "a chunk") else { return .more }
        state = .size(value: 0, digits: 0)
      case .trailers: return try readTrailers(&input)
      }
    }
  }

  private func take(_ input: inout ByteBuffer, _ most: Int64) -> ByteBuffer {
    let count = Int(min(most, Int64(input.readableBytes)))
    return input.readSlice(length: count) ?? ByteBuffer()
  }

  /// CR LF; false when it is not there yet.
  private func lineEnd(_ input: inout ByteBuffer, after what: String) throws(ParseFailure) -> Bool {
    let first = input.getInteger(at: input.readerIndex, as: UInt8.self)
    guard first == nil || first == 13 else { throw ParseFailure("no CR LF behind \(what)") }
    guard let second = input.getInteger(at: input.readerIndex + 1, as: UInt8.self) else { return false }
    guard second == 10 else { throw ParseFailure("no CR LF behind \(what)") }
    input.moveReaderIndex(forwardBy: 2)
    return true
  }

  /// Reads on in the line of a chunk's size; false when it is not whole yet.
  private mutating func chunkSize(_ input: inout ByteBuffer) throws(ParseFailure) -> Bool {
    while let byte = input.getInteger(at: input.readerIndex, as: UInt8.self) {
      if case .size(let value, let digits) = state {
        guard let digit = Self.hex(byte) else {
          guard digits > 0, byte == 13 || byte == UInt8(ascii: ";") else {
            throw ParseFailure("a chunk's size is not a number")
          }
          size = value
          state = .sizeEnd(0)
          continue
        }
        guard digits < 15 else { throw ParseFailure("a chunk's size is too large") }
        state = .size(value: value << 4 | Int64(digit), digits: digits + 1)
        input.moveReaderIndex(forwardBy: 1)
      } else if case .sizeEnd(let thrown) = state {
        if byte == 13 {
          guard try lineEnd(&input, after: "a chunk's size") else { return false }
          lines.reset()
          state = size == 0 ? .trailers : .data(size)
          return true
        }
        guard thrown < Self.extensionBytes, byte >= 0x20 || byte == 9, byte != 0x7F else {
          throw ParseFailure("a chunk's extension is malformed or longer than \(Self.extensionBytes) bytes")
        }
        state = .sizeEnd(thrown + 1)
        input.moveReaderIndex(forwardBy: 1)
      }
    }
    return false
  }

  private var size: Int64 = 0

  private static func hex(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte - 48
    case 65...70: byte - 55
    case 97...102: byte - 87
    default: nil
    }
  }

  private mutating func readTrailers(_ input: inout ByteBuffer) throws(ParseFailure) -> Piece {
    let result: Result<(Int, ByteBuffer?)?, ParseFailure> = input.withUnsafeReadableBytes { bytes in
      do throws(ParseFailure) {
        guard let end = try lines.read(bytes) else { return .success(nil) }
        return .success((end, Self.passing(lines, bytes)))
      } catch { return .failure(error) }
    }
    guard let (end, trailers) = try result.get() else { return .more }
    input.moveReaderIndex(forwardBy: end)
    state = .ended
    return .end(trailers: trailers)
  }

  /// The trailers that may pass: none that frames, routes, or is ours (RFC 9110, 6.5.1).
  private static func passing(_ lines: HeadLines, _ bytes: UnsafeRawBufferPointer) -> ByteBuffer? {
    var kept: ByteBuffer?
    for field in lines.fields where field.kind == .other {
      if kept == nil { kept = ByteBuffer() }
      kept?.writeBytes(Span(start: field.name.start, end: field.value.end).of(bytes))
      kept?.writeBytes([13, 10])
    }
    return kept
  }
}
