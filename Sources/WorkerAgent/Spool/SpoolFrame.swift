/// How a record lies in a spool segment: length and CRC-32C, four bytes each, little-endian, then its bytes. No record
/// is empty.
enum SpoolFrame {
  /// Bytes before the record.
  static let headBytes = 8
  /// The longest record that can be valid: a record of the maker's bound, and room for later ones.
  static let recordMaximum = 1 << 20

  private static let table: [UInt32] = (0..<256).map { index in
    var value = UInt32(index)
    for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    return value
  }

  /// CRC-32C of bytes.
  static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    table.withUnsafeBufferPointer { table in
      var value: UInt32 = 0xFFFF_FFFF
      for byte in bytes { value = value >> 8 ^ table[Int((value ^ UInt32(byte)) & 0xFF)] }
      return ~value
    }
  }

  /// Appends the frame of a record.
  static func write(_ record: [UInt8], into bytes: inout [UInt8]) {
    let sum = record.withUnsafeBytes { checksum($0) }
    for shift in stride(from: 0, to: 32, by: 8) {
      bytes.append(UInt8(truncatingIfNeeded: UInt32(record.count) >> shift))
    }
    for shift in stride(from: 0, to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: sum >> shift)) }
    bytes.append(contentsOf: record)
  }

  /// The record at an offset, or nil when no whole, undamaged frame stands there.
  static func record(in bytes: UnsafeRawBufferPointer, at offset: Int) -> UnsafeRawBufferPointer? {
    guard offset >= 0, bytes.count - offset >= headBytes else { return nil }
    let length = Int(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self).littleEndian)
    let sum = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self).littleEndian
    // Eight NUL bytes, as a file may end in after a power cut, would be an empty record with the right checksum.
    guard length > 0, length <= recordMaximum, length <= bytes.count - offset - headBytes else { return nil }
    let record = UnsafeRawBufferPointer(rebasing: bytes[offset + headBytes..<offset + headBytes + length])
    return checksum(record) == sum ? record : nil
  }
}
