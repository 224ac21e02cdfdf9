/// Builds the parts of a file: fixed integers little-endian, others as LEB128, texts with their length before them.
struct ByteWriter {
  private(set) var bytes: [UInt8] = []

  var count: Int { bytes.count }

  mutating func byte(_ value: UInt8) { bytes.append(value) }

  mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  mutating func varint(_ value: Int) { varint(UInt64(value)) }

  mutating func signed(_ value: Int64) { varint(ZigZag.encode(value)) }

  mutating func u32(_ value: UInt32) {
    for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  mutating func u64(_ value: UInt64) {
    for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  mutating func raw(_ text: some Collection<UInt8>) { bytes.append(contentsOf: text) }

  mutating func raw(_ text: UnsafeBufferPointer<UInt8>) { bytes.append(contentsOf: text) }

  mutating func blob(_ text: some Collection<UInt8>) {
    varint(text.count)
    bytes.append(contentsOf: text)
  }

  mutating func blob(_ text: UnsafeBufferPointer<UInt8>) {
    varint(text.count)
    bytes.append(contentsOf: text)
  }

  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }
}

/// Signed integers as unsigned ones, small for small distances from zero.
enum ZigZag {
  @inline(__always) static func encode(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }

  @inline(__always) static func decode(_ value: UInt64) -> Int64 {
    Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }
}
