internal import CZlib

/// Undoes gzip, within a bound.
enum Gunzip {
  /// What is wrong with compressed bytes.
  enum Fault: Error, Equatable {
    /// They are no gzip, or cut off.
    case damaged
    /// They stand for more than the bound.
    case tooLong
  }

  /// Bytes that one step may make.
  private static let stepBytes = 256 << 10

  /// The bytes of a gzip file, its further members too; throws when they are more than `bound`.
  static func bytes(_ compressed: [UInt8], upTo bound: Int) throws(Fault) -> [UInt8] {
    // zlib remembers where its stream lies, so that it must not be moved.
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    defer { stream.deallocate() }
    // 15 bits of window, and gzip's frame only.
    guard inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      throw .damaged
    }
    defer { inflateEnd(stream) }
    var output: [UInt8] = []
    var step = [UInt8](repeating: 0, count: stepBytes)
    var used = 0
    var isWhole = false
    while used < compressed.count || !isWhole {
      if isWhole {
        guard inflateReset(stream) == Z_OK else { throw .damaged }
      }
      let (result, made) = run(stream, compressed, from: &used, into: &step)
      guard result == Z_OK || result == Z_STREAM_END, result == Z_STREAM_END || made > 0 || used < compressed.count
      else { throw .damaged }
      guard output.count + made <= bound else { throw .tooLong }
      output.append(contentsOf: step[..<made])
      isWhole = result == Z_STREAM_END
    }
    return output
  }

  /// One step: how it ended and how many bytes it made; `used` moves on.
  private static func run(
    _ stream: UnsafeMutablePointer<z_stream>, _ compressed: [UInt8], from used: inout Int, into step: inout [UInt8]
  ) -> (result: Int32, made: Int) {
    let before = used
    let result = compressed.withUnsafeBufferPointer { source in
      step.withUnsafeMutableBufferPointer { target in
        stream.pointee.next_in = source.baseAddress.map { UnsafeMutablePointer(mutating: $0 + before) }
        stream.pointee.avail_in = UInt32(clamping: compressed.count - before)
        stream.pointee.next_out = target.baseAddress
        stream.pointee.avail_out = UInt32(stepBytes)
        return inflate(stream, Z_NO_FLUSH)
      }
    }
    used = compressed.count - Int(stream.pointee.avail_in)
    return (result, stepBytes - Int(stream.pointee.avail_out))
  }
}
