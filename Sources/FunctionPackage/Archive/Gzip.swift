import CZlib

/// Inflates gzip as its bytes come, within bounds. Trusts nothing; throws, never traps.
///
/// A package is one member; a layer of an image may be several, one behind the other.
final class GzipReader {
  private let stream: UnsafeMutablePointer<z_stream>
  private let limits: ArchiveLimits
  private var output = [UInt8](repeating: 0, count: 64 << 10)
  private var read: Int64 = 0
  private var written: Int64 = 0
  private var isEnded = false
  private let takesMembers: Bool

  init(limits: ArchiveLimits, takesMembers: Bool = false) throws(ArchiveError) {
    self.limits = limits
    self.takesMembers = takesMembers
    stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    let gzipOnly: Int32 = 15 + 16
    guard inflateInit2_(stream, gzipOnly, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      stream.deallocate()
      throw .damagedGzip("zlib could not be started")
    }
  }

  deinit {
    inflateEnd(stream)
    stream.deinitialize(count: 1)
    stream.deallocate()
  }

  /// Takes packed bytes and hands on what they inflate to, piece by piece.
  func feed(
    _ input: [UInt8], _ body: (ArraySlice<UInt8>) throws(ArchiveError) -> Void
  ) throws(ArchiveError) {
    guard !input.isEmpty else { return }
    if isEnded { try beginMember() }
    read += Int64(input.count)
    guard read <= limits.packed else { throw .packedTooLarge(limit: limits.packed) }
    var consumed = 0
    while true {
      let (status, taken, produced) = inflate(input[consumed...])
      consumed += taken
      written += Int64(produced)
      try checkGrowth(consumed: read - Int64(input.count - consumed))
      if produced > 0 { try body(output[..<produced]) }
      switch status {
      case Z_STREAM_END:
        isEnded = true
        if consumed == input.count { return }
        try beginMember()
      case Z_OK, Z_BUF_ERROR:
        if consumed == input.count, produced < output.count { return }
        if taken == 0, produced == 0 { return }
      default: throw .damagedGzip(stream.pointee.msg.map { String(cString: $0) } ?? "zlib error \(status)")
      }
    }
  }

  /// More comes after the end of a member.
  private func beginMember() throws(ArchiveError) {
    guard takesMembers, inflateReset(stream) == Z_OK else { throw .trailingData }
    isEnded = false
  }

  /// The packed bytes are at their end: the member must be, too.
  func finish() throws(ArchiveError) {
    guard isEnded else { throw .truncated }
  }

  private func inflate(_ input: ArraySlice<UInt8>) -> (status: Int32, taken: Int, produced: Int) {
    let (size, stream) = (output.count, stream)
    return input.withUnsafeBufferPointer { source in
      output.withUnsafeMutableBufferPointer { target in
        // zlib does not write through next_in; its declaration lacks const.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
        stream.pointee.avail_in = UInt32(source.count)
        stream.pointee.next_out = target.baseAddress
        stream.pointee.avail_out = UInt32(size)
        let status = CZlib.inflate(stream, Z_NO_FLUSH)
        defer { (stream.pointee.next_in, stream.pointee.next_out) = (nil, nil) }
        return (status, source.count - Int(stream.pointee.avail_in), size - Int(stream.pointee.avail_out))
      }
    }
  }

  private func checkGrowth(consumed: Int64) throws(ArchiveError) {
    guard written <= limits.inflated, written <= max(limits.ratioFrom, consumed * Int64(limits.ratio)) else {
      throw .bomb(ratio: limits.ratio)
    }
  }
}

/// Deflates bytes into one gzip member without name and time: equal bytes in, equal bytes out.
final class GzipWriter {
  private let stream: UnsafeMutablePointer<z_stream>
  private var output = [UInt8](repeating: 0, count: 64 << 10)

  init() throws(ArchiveError) {
    stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    let gzipFormat: Int32 = 15 + 16
    let status = deflateInit2_(
      stream, 6, Z_DEFLATED, gzipFormat, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else {
      stream.deallocate()
      throw .damagedGzip("zlib could not be started")
    }
  }

  deinit {
    deflateEnd(stream)
    stream.deinitialize(count: 1)
    stream.deallocate()
  }

  func write(
    _ input: ArraySlice<UInt8>, _ body: (ArraySlice<UInt8>) throws(ArchiveError) -> Void
  ) throws(ArchiveError) {
    try deflate(input, flush: Z_NO_FLUSH, body)
  }

  func finish(_ body: (ArraySlice<UInt8>) throws(ArchiveError) -> Void) throws(ArchiveError) {
    try deflate([], flush: Z_FINISH, body)
  }

  private func deflate(
    _ input: ArraySlice<UInt8>, flush: Int32, _ body: (ArraySlice<UInt8>) throws(ArchiveError) -> Void
  ) throws(ArchiveError) {
    var rest = input
    while true {
      let (size, stream) = (output.count, stream)
      let (status, taken, produced) = rest.withUnsafeBufferPointer { source in
        output.withUnsafeMutableBufferPointer { target in
          stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
          stream.pointee.avail_in = UInt32(source.count)
          stream.pointee.next_out = target.baseAddress
          stream.pointee.avail_out = UInt32(size)
          let status = CZlib.deflate(stream, flush)
          defer { (stream.pointee.next_in, stream.pointee.next_out) = (nil, nil) }
          return (status, source.count - Int(stream.pointee.avail_in), size - Int(stream.pointee.avail_out))
        }
      }
      rest = rest.dropFirst(taken)
      if produced > 0 { try body(output[..<produced]) }
      if status == Z_STREAM_END { return }
      if flush == Z_NO_FLUSH, rest.isEmpty, produced < output.count { return }
    }
  }
}
