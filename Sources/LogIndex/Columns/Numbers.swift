/// Numbers in few bytes each: one, two or four.
struct Numbers: Sendable, RandomAccessCollection {
  private let raw: [UInt8]
  private let shift: Int

  let count: Int

  init(_ values: [UInt64]) {
    self.init(count: values.count, below: Int(clamping: values.max() ?? 0) &+ 1) { writer in
      for (index, value) in values.enumerated() { writer.set(index, value) }
    }
  }

  /// So many numbers below a limit, which `fill` sets; what it does not set is 0, what is not below is cut.
  @inline(__always) init<E: Error>(count: Int, below limit: Int, _ fill: (Writer) throws(E) -> Void) throws(E) {
    let shift = limit <= 0x100 ? 0 : limit <= 0x1_0000 ? 1 : 2
    var raw = [UInt8](repeating: 0, count: count << shift)
    try raw.withUnsafeMutableBufferPointer { (bytes: inout UnsafeMutableBufferPointer<UInt8>) throws(E) in
      try fill(Writer(bytes: UnsafeMutableRawBufferPointer(bytes), shift: shift, count: count))
    }
    self.raw = raw
    self.shift = shift
    self.count = count
  }

  struct Writer {
    fileprivate let bytes: UnsafeMutableRawBufferPointer
    fileprivate let shift: Int
    let count: Int

    @inline(__always) func set(_ index: Int, _ value: UInt64) {
      precondition(index >= 0 && index < count)
      switch shift {
      case 0: bytes[index] = UInt8(truncatingIfNeeded: value)
      case 1: bytes.storeBytes(of: UInt16(truncatingIfNeeded: value), toByteOffset: index << 1, as: UInt16.self)
      default: bytes.storeBytes(of: UInt32(truncatingIfNeeded: value), toByteOffset: index << 2, as: UInt32.self)
      }
    }
  }

  var startIndex: Int { 0 }
  var endIndex: Int { count }
  var heldBytes: Int { raw.count }

  @inline(__always) subscript(_ index: Int) -> UInt32 {
    precondition(index >= 0 && index < count)
    return raw.withUnsafeBytes { bytes in
      switch shift {
      case 0: UInt32(bytes[index])
      case 1: UInt32(bytes.loadUnaligned(fromByteOffset: index << 1, as: UInt16.self))
      default: bytes.loadUnaligned(fromByteOffset: index << 2, as: UInt32.self)
      }
    }
  }

  /// Lends the numbers to one who reads many of them.
  @inline(__always) func withReader<T, E: Error>(_ body: (Reader) throws(E) -> T) throws(E) -> T {
    try raw.withUnsafeBufferPointer { (bytes: UnsafeBufferPointer<UInt8>) throws(E) -> T in
      try body(Reader(bytes: UnsafeRawBufferPointer(bytes), shift: shift, count: count))
    }
  }

  struct Reader {
    fileprivate let bytes: UnsafeRawBufferPointer
    fileprivate let shift: Int
    let count: Int

    @inline(__always) subscript(_ index: Int) -> UInt32 {
      precondition(index >= 0 && index < count)
      switch shift {
      case 0: return UInt32(bytes[index])
      case 1: return UInt32(bytes.loadUnaligned(fromByteOffset: index << 1, as: UInt16.self))
      default: return bytes.loadUnaligned(fromByteOffset: index << 2, as: UInt32.self)
      }
    }
  }
}
