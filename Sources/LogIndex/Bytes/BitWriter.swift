/// Packs integers of any width into bytes, lowest bits first.
struct BitWriter {
  private(set) var bytes: [UInt8] = []
  private var held: UInt64 = 0
  private var heldBits: UInt64 = 0

  /// Appends the low `width` bits of a value, 0…64.
  @inline(__always) mutating func append(_ value: UInt64, width: Int) {
    if width == 0 { return }
    if width > 32 {
      push(value & 0xFFFF_FFFF, 32)
      push((value >> 32) & Self.mask(width - 32), UInt64(width - 32))
    } else {
      push(value & Self.mask(width), UInt64(width))
    }
  }

  /// Fills the last byte with zeros.
  mutating func align() {
    while heldBits > 0 {
      bytes.append(UInt8(truncatingIfNeeded: held))
      held >>= 8
      heldBits = heldBits > 8 ? heldBits - 8 : 0
    }
    held = 0
  }

  /// The low `width` bits set.
  @inline(__always) static func mask(_ width: Int) -> UInt64 { width >= 64 ? .max : (1 << UInt64(width)) &- 1 }

  /// The bits a value needs: none for 0.
  @inline(__always) static func width(_ value: UInt64) -> Int { 64 - value.leadingZeroBitCount }

  @inline(__always) private mutating func push(_ value: UInt64, _ width: UInt64) {
    held |= value << heldBits
    heldBits += width
    while heldBits >= 8 {
      bytes.append(UInt8(truncatingIfNeeded: held))
      held >>= 8
      heldBits -= 8
    }
  }
}

/// Reads bits anywhere in bytes; beyond the end there are zeros.
enum BitReader {
  @inline(__always) static func read(_ bytes: UnsafeRawBufferPointer, bit: Int, width: Int) -> UInt64 {
    if width == 0 { return 0 }
    let low = load(bytes, bit >> 3)
    let shift = UInt64(bit & 7)
    var value = low >> shift
    if Int(shift) + width > 64 { value |= load(bytes, (bit >> 3) + 8) << (64 - shift) }
    return value & BitWriter.mask(width)
  }

  @inline(__always) private static func load(_ bytes: UnsafeRawBufferPointer, _ place: Int) -> UInt64 {
    if place >= 0, place + 8 <= bytes.count {
      return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
    }
    var value: UInt64 = 0
    for offset in 0..<8 where place + offset >= 0 && place + offset < bytes.count {
      value |= UInt64(bytes[place + offset]) << UInt64(8 * offset)
    }
    return value
  }
}
