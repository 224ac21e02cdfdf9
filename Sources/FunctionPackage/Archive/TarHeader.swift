/// One 512-byte block that describes an entry, as ustar, GNU and pax write it.
struct TarHeader {
  static let blockSize = 512

  let name: [UInt8]
  let mode: Int64
  let size: Int64
  let type: UInt8
  let linkName: [UInt8]

  /// Reads a block; `offset` is where it stands, for messages.
  ///
  /// The block has `blockSize` bytes: the reader collects exactly that many.
  init(_ block: [UInt8], offset: Int64) throws(ArchiveError) {
    guard Self.sum(block) == (try Self.number(block[148..<156], "checksum", offset)) else {
      throw .damagedArchive("the checksum of a header is wrong", offset: offset)
    }
    let magic = block[257..<263]
    let isUstar = magic.elementsEqual("ustar\0".utf8)
    let isGNU = magic.elementsEqual("ustar ".utf8)
    guard isUstar || isGNU || magic.allSatisfy({ $0 == 0 }) else {
      throw .damagedArchive("a header is neither ustar nor GNU", offset: offset)
    }
    mode = try Self.number(block[100..<108], "mode", offset)
    size = try Self.number(block[124..<136], "size", offset)
    type = block[156]
    linkName = Self.text(block[157..<257])
    let prefix = isUstar ? Self.text(block[345..<500]) : []
    let base = Self.text(block[0..<100])
    name = prefix.isEmpty ? base : prefix + [UInt8(ascii: "/")] + base
  }

  /// Owner, group and time of the last change (seconds) in a block; 0 for what is no number.
  static func facts(_ block: [UInt8]) -> (user: Int64, group: Int64, modified: Int64) {
    func value(_ field: ArraySlice<UInt8>) -> Int64 { (try? number(field, "", 0)) ?? 0 }
    return (value(block[108..<116]), value(block[116..<124]), value(block[136..<148]))
  }

  /// The bytes of a field up to its first NUL.
  private static func text(_ field: ArraySlice<UInt8>) -> [UInt8] { Array(field.prefix { $0 != 0 }) }

  /// A number: octal digits among spaces and NULs, or GNU's binary form with the top bit set.
  private static func number(_ field: ArraySlice<UInt8>, _ what: String, _ offset: Int64) throws(ArchiveError) -> Int64
  {
    let bad = ArchiveError.damagedArchive("the \(what) of a header is no number", offset: offset)
    if let first = field.first, first & 0x80 != 0 {
      guard first == 0x80, field.count > 8, field.dropFirst().prefix(field.count - 8).allSatisfy({ $0 == 0 }) else {
        throw bad
      }
      let value = field.suffix(7).reduce(Int64(0)) { $0 << 8 | Int64($1) }
      return value
    }
    var digits = field[...]
    while let first = digits.first, first == 0x20 { digits.removeFirst() }
    while let last = digits.last, last == 0x20 || last == 0 { digits.removeLast() }
    var value: Int64 = 0
    for digit in digits {
      guard (0x30...0x37).contains(digit) else { throw bad }
      value = value << 3 | Int64(digit - 0x30)
    }
    return value
  }

  /// The sum of all bytes, those of the checksum itself counted as spaces.
  static func sum(_ block: [UInt8]) -> Int64 {
    // Eight bytes at a time, in four lanes of 16 bits: 64 times two bytes cannot overflow a lane.
    let everySecond: UInt64 = 0x00ff_00ff_00ff_00ff
    var lanes: UInt64 = 0
    var own: UInt64 = 0
    block.withUnsafeBytes { bytes in
      for offset in stride(from: 0, to: blockSize, by: 8) {
        let eight = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        lanes += (eight & everySecond) + (eight >> 8 & everySecond)
      }
      let checksum = bytes.loadUnaligned(fromByteOffset: 148, as: UInt64.self)
      own = (checksum & everySecond) + (checksum >> 8 & everySecond)
    }
    return total(of: lanes) - total(of: own) + 8 * 0x20
  }

  /// Whether a block is nothing but zeros.
  static func isZero(_ block: [UInt8]) -> Bool {
    sum(block) == 8 * 0x20 && block[148..<156].allSatisfy { $0 == 0 }
  }

  private static func total(of lanes: UInt64) -> Int64 {
    Int64(lanes & 0xffff) + Int64(lanes >> 16 & 0xffff) + Int64(lanes >> 32 & 0xffff) + Int64(lanes >> 48)
  }

  /// Writes a block; `name` and `link` must fit (100 bytes each, or `name` split with a prefix).
  static func block(
    name: ArraySlice<UInt8>, prefix: ArraySlice<UInt8> = [], mode: Int, size: Int64, type: UInt8,
    link: ArraySlice<UInt8> = []
  ) -> [UInt8] {
    var block = [UInt8](repeating: 0, count: blockSize)
    func put(_ bytes: some Collection<UInt8>, at offset: Int) {
      block.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }
    func octal(_ value: Int64, _ width: Int, at offset: Int) {
      let digits = String(value, radix: 8)
      put((String(repeating: "0", count: width - digits.count) + digits).utf8, at: offset)
    }
    put(name, at: 0)
    octal(Int64(mode), 7, at: 100)
    octal(0, 7, at: 108)
    octal(0, 7, at: 116)
    octal(size, 11, at: 124)
    octal(0, 11, at: 136)
    block[156] = type
    put(link, at: 157)
    put("ustar\0".utf8, at: 257)
    put("00".utf8, at: 263)
    put(prefix, at: 345)
    octal(sum(block), 6, at: 148)
    block[154] = 0
    block[155] = 0x20
    return block
  }
}
