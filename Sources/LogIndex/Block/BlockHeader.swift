/// The first 160 bytes of a block's file: what it holds, where its parts lie, and the checks of all of it.
struct BlockHeader: Sendable, Equatable {
  static let magic: [UInt8] = Array("APUSLOG1".utf8)
  static let version: UInt32 = 1
  static let bytes = 160
  static let rowsMaximum = 1 << 20
  static let metaMaximum = 64 << 20

  /// Where a part lies in the file.
  struct Part: Sendable, Equatable {
    var start: Int
    var count: Int
    var crc: UInt32

    var range: Range<Int> { start..<(start + count) }
  }

  var rows: Int
  var rawBytes: Int
  var oldest: Int64
  var newest: Int64
  /// The number of the first record to arrive; the block's records have this and the next `rows - 1`.
  var firstID: Int64
  /// Bit n for level n; bit 0 for records without one.
  var levels: UInt8
  /// The length of the directory before compression.
  var metaBytes: Int
  var texts: Int
  /// The filter, the directory, the numbers, the texts; one behind the other.
  var parts: [Part]
}

extension BlockHeader {
  func encoded() -> [UInt8] {
    var writer = ByteWriter()
    writer.raw(Self.magic)
    writer.u32(Self.version)
    writer.u32(UInt32(levels))
    writer.u64(UInt64(rows))
    writer.u64(UInt64(rawBytes))
    writer.u64(UInt64(bitPattern: oldest))
    writer.u64(UInt64(bitPattern: newest))
    writer.u64(UInt64(bitPattern: firstID))
    writer.u64(UInt64(metaBytes))
    writer.u64(UInt64(texts))
    for part in parts {
      writer.u64(UInt64(part.start))
      writer.u64(UInt64(part.count))
      writer.u32(part.crc)
    }
    while writer.count < Self.bytes - 4 { writer.byte(0) }
    writer.u32(Deflate.crc(writer.bytes[...]))
    return writer.bytes
  }

  /// Reads the head of a file of `fileBytes`.
  init(_ head: ArraySlice<UInt8>, fileBytes: Int) throws(BlockFault) {
    guard head.count >= Self.bytes else { throw BlockFault("its head is cut") }
    let head = head.prefix(Self.bytes)
    guard head.prefix(8).elementsEqual(Self.magic) else { throw BlockFault("it is no block of logs") }
    var reader = ByteReader(head.dropFirst(8))
    let version = try reader.u32()
    guard version == Self.version else {
      throw BlockFault("its version is \(version) and this program reads version \(Self.version)")
    }
    var tail = ByteReader(head.suffix(4))
    guard Deflate.crc(head.dropLast(4)) == (try tail.u32()) else { throw BlockFault("its head is damaged") }
    levels = UInt8(truncatingIfNeeded: try reader.u32())
    func int(_ maximum: Int) throws(BlockFault) -> Int {
      let value = try reader.u64()
      guard value <= UInt64(maximum) else { throw BlockFault("a length in its head is beyond \(maximum)") }
      return Int(value)
    }
    rows = try int(Self.rowsMaximum)
    rawBytes = try int(1 << 40)
    oldest = Int64(bitPattern: try reader.u64())
    newest = Int64(bitPattern: try reader.u64())
    firstID = Int64(bitPattern: try reader.u64())
    metaBytes = try int(Self.metaMaximum)
    texts = try int(1 << 30)
    parts = []
    for _ in 0..<4 {
      let start = try int(fileBytes)
      let count = try int(fileBytes - start)
      parts.append(Part(start: start, count: count, crc: try reader.u32()))
    }
    // Times lie between 1678 and 2261.
    guard rows == 0 || (oldest > -9_210_000_000_000_000_000 && newest < 9_210_000_000_000_000_000) else {
      throw BlockFault("its times are out of range")
    }
    guard firstID >= 0, firstID < .max - Int64(rows) else { throw BlockFault("its numbers are out of range") }
  }

  var filter: Part { parts[0] }
  var meta: Part { parts[1] }
  var data: Part { parts[2] }
  var heap: Part { parts[3] }
}
