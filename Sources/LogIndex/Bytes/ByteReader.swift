/// Why bytes of a file are not what they should be.
struct BlockFault: Error, Equatable, CustomStringConvertible {
  var why: String

  init(_ why: String) { self.why = why }

  var description: String { why }

  /// Not a fault of the file: the query that reads it has taken its time.
  static let outOfTime = BlockFault("the time of the query is over")
}

/// Reads what `ByteWriter` wrote; throws, and never traps, at anything else.
struct ByteReader {
  private let bytes: ArraySlice<UInt8>
  private var index: Int

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    index = bytes.startIndex
  }

  init(_ bytes: [UInt8]) { self.init(bytes[...]) }

  var isAtEnd: Bool { index >= bytes.endIndex }
  var left: Int { bytes.endIndex - index }

  mutating func byte() throws(BlockFault) -> UInt8 {
    guard index < bytes.endIndex else { throw BlockFault("it ends too early") }
    defer { index += 1 }
    return bytes[index]
  }

  mutating func varint() throws(BlockFault) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while shift < 64 {
      let next = try byte()
      value |= UInt64(next & 0x7F) << shift
      if next < 0x80 { return value }
      shift += 7
    }
    throw BlockFault("a number is too long")
  }

  /// A count, length or number of at most `maximum`.
  mutating func int(_ maximum: Int) throws(BlockFault) -> Int {
    let value = try varint()
    guard value <= UInt64(maximum) else { throw BlockFault("a count of \(value) is beyond \(maximum)") }
    return Int(value)
  }

  mutating func signed() throws(BlockFault) -> Int64 { ZigZag.decode(try varint()) }

  mutating func u32() throws(BlockFault) -> UInt32 { UInt32(try fixed(4)) }

  mutating func u64() throws(BlockFault) -> UInt64 { try fixed(8) }

  mutating func raw(_ count: Int) throws(BlockFault) -> ArraySlice<UInt8> {
    guard count >= 0, count <= left else { throw BlockFault("it ends too early") }
    defer { index += count }
    return bytes[index..<(index + count)]
  }

  mutating func blob() throws(BlockFault) -> ArraySlice<UInt8> { try raw(try int(left)) }

  private mutating func fixed(_ count: Int) throws(BlockFault) -> UInt64 {
    var value: UInt64 = 0
    for (place, byte) in try raw(count).enumerated() { value |= UInt64(byte) << UInt64(8 * place) }
    return value
  }
}
