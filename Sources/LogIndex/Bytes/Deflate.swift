internal import CZlib

/// The system's zlib: raw deflate streams, and CRC-32.
enum Deflate {
  /// Compresses at a level, 1…9; nil when that saves nothing.
  static func compress(_ bytes: UnsafeRawBufferPointer, level: Int32) -> [UInt8]? {
    guard bytes.count > 16, let source = bytes.baseAddress else { return nil }
    var stream = z_stream()
    // A window no larger than the data keeps small streams cheap.
    let window = Int32(max(9, min(15, BitWriter.width(UInt64(bytes.count)))))
    let opened = deflateInit2_(
      &stream, level, Z_DEFLATED, -window, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard opened == Z_OK else { return nil }
    defer { deflateEnd(&stream) }
    let room = bytes.count - 1
    var isComplete = false
    let output = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
      stream.next_in = UnsafeMutablePointer(mutating: source.assumingMemoryBound(to: UInt8.self))
      stream.avail_in = UInt32(bytes.count)
      stream.next_out = buffer.baseAddress
      stream.avail_out = UInt32(room)
      isComplete = deflate(&stream, Z_FINISH) == Z_STREAM_END
      count = room - Int(stream.avail_out)
    }
    return isComplete ? output : nil
  }

  static func compress(_ bytes: [UInt8], level: Int32) -> [UInt8]? {
    bytes.withUnsafeBytes { compress($0, level: level) }
  }

  /// Inflates to exactly `size` bytes.
  static func inflate(_ bytes: UnsafeRawBufferPointer, size: Int) throws(BlockFault) -> [UInt8] {
    guard let source = bytes.baseAddress, size > 0 else { throw BlockFault("a compressed part is empty") }
    var stream = z_stream()
    guard inflateInit2_(&stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      throw BlockFault("there is no memory to inflate with")
    }
    defer { inflateEnd(&stream) }
    var isComplete = false
    let output = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      stream.next_in = UnsafeMutablePointer(mutating: source.assumingMemoryBound(to: UInt8.self))
      stream.avail_in = UInt32(clamping: bytes.count)
      stream.next_out = buffer.baseAddress
      stream.avail_out = UInt32(clamping: size)
      isComplete = CZlib.inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out == 0
      count = size - Int(stream.avail_out)
    }
    guard isComplete else { throw BlockFault("a compressed part does not inflate") }
    return output
  }

  /// The CRC-32 of bytes.
  static func crc(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    guard let base = bytes.baseAddress else { return 0 }
    return UInt32(truncatingIfNeeded: crc32_z(0, base.assumingMemoryBound(to: UInt8.self), bytes.count))
  }

  static func crc(_ bytes: ArraySlice<UInt8>) -> UInt32 { bytes.withUnsafeBytes { crc($0) } }
}
