/// Numbers in as few bytes each as the largest needs: one, two or four.
struct Numbers: Sendable, RandomAccessCollection {
  private let raw: [UInt8]
  private let shift: Int

  let count: Int

  init(_ values: [UInt64]) {
    let most = values.max() ?? 0
    let shift = most <= 0xFF ? 0 : most <= 0xFFFF ? 1 : 2
    self.shift = shift
    count = values.count
    raw = [UInt8](unsafeUninitializedCapacity: values.count << shift) { buffer, filled in
      let bytes = UnsafeMutableRawBufferPointer(buffer)
      for (index, value) in values.enumerated() {
        switch shift {
        case 0: bytes[index] = UInt8(truncatingIfNeeded: value)
        case 1: bytes.storeBytes(of: UInt16(truncatingIfNeeded: value), toByteOffset: index << 1, as: UInt16.self)
        default: bytes.storeBytes(of: UInt32(truncatingIfNeeded: value), toByteOffset: index << 2, as: UInt32.self)
        }
      }
      filled = values.count << shift
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
