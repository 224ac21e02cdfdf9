/// A run of integers of a block: where and in which form it lies.
struct IntColumn: Sendable {
  private indirect enum Layout: Sendable {
    case constant(UInt64)
    case packed(least: UInt64, width: Int, bit: Int)
    case sized(least: UInt64, sizes: Range<Int>, isPacked: Bool, bits: Range<Int>)
    case runs(heads: IntColumn, lengths: IntColumn)
    case bytes(least: UInt64, width: Int, place: Range<Int>)
  }

  let count: Int
  private let layout: Layout

  /// Reads the directory's entry; `size` is the length of the block's numbers. `most` bounds the count.
  init(_ reader: inout ByteReader, size: Int, most: Int, depth: Int = 0) throws(BlockFault) {
    count = try reader.int(most)
    guard let form = IntForm(rawValue: try reader.byte()), depth <= IntForm.depthMaximum else {
      throw BlockFault("a column has an unknown form")
    }
    switch form {
    case .constant: layout = .constant(try reader.varint())
    case .packed:
      let least = try reader.varint()
      let width = Int(try reader.byte())
      let place = try Self.place(&reader, size)
      guard width <= 64, (count * width + 7) / 8 <= place.count else { throw BlockFault("a column is too short") }
      layout = .packed(least: least, width: width, bit: place.lowerBound * 8)
    case .sized:
      let least = try reader.varint()
      let isPacked = try reader.byte() != 0
      let sizes = try Self.place(&reader, size)
      guard isPacked || sizes.count == count else { throw BlockFault("a column is too short") }
      layout = .sized(least: least, sizes: sizes, isPacked: isPacked, bits: try Self.place(&reader, size))
    case .runs:
      let heads = try IntColumn(&reader, size: size, most: count, depth: depth + 1)
      let lengths = try IntColumn(&reader, size: size, most: count, depth: depth + 1)
      guard heads.count == lengths.count else { throw BlockFault("a column's runs are uneven") }
      layout = .runs(heads: heads, lengths: lengths)
    case .bytes:
      let least = try reader.varint()
      let width = Int(try reader.byte())
      guard width == 1 || width == 2 else { throw BlockFault("a column has an unknown width") }
      layout = .bytes(least: least, width: width, place: try Self.place(&reader, size))
    }
  }

  private static func place(_ reader: inout ByteReader, _ size: Int) throws(BlockFault) -> Range<Int> {
    let start = try reader.int(size)
    let count = try reader.int(size - start)
    return start..<(start + count)
  }

  /// The value all have, when they are all alike.
  var constant: UInt64? {
    if case .constant(let value) = layout { return value }
    return nil
  }

  /// Reads single values without the others; nil when that cannot be done.
  var direct: IntReader? {
    switch layout {
    case .constant(let value): .constant(value)
    case .packed(let least, let width, let bit): .packed(least: least, width: width, bit: bit)
    case .sized, .runs, .bytes: nil
    }
  }

  /// All values.
  func values(_ data: UnsafeRawBufferPointer) throws(BlockFault) -> [UInt64] {
    switch layout {
    case .constant(let value): return Array(repeating: value, count: count)
    case .packed(let least, let width, let bit):
      return Array(unsafeUninitializedCapacity: count) { buffer, filled in
        for index in 0..<count { buffer[index] = least &+ BitReader.read(data, bit: bit + index * width, width: width) }
        filled = count
      }
    case .bytes(let least, let width, let place):
      let raw = try Deflate.inflate(UnsafeRawBufferPointer(rebasing: data[place]), size: count * width)
      return Array(unsafeUninitializedCapacity: count) { buffer, filled in
        for index in 0..<count {
          var value = UInt64(raw[index])
          if width == 2 { value |= UInt64(raw[count + index]) << 8 }
          buffer[index] = least &+ value
        }
        filled = count
      }
    case .sized(let least, let place, let isPacked, let bits):
      let part = UnsafeRawBufferPointer(rebasing: data[place])
      let sizes = isPacked ? try Deflate.inflate(part, size: count) : [UInt8](part)
      return Self.sized(least, sizes, bits.lowerBound * 8, data)
    case .runs(let heads, let lengths):
      return try expand(try heads.values(data), try lengths.values(data))
    }
  }

  /// All values as numbers below `limit`, at most 2^32.
  func numbers(_ data: UnsafeRawBufferPointer, below limit: Int) throws(BlockFault) -> Numbers {
    let values = try values(data)
    guard values.allSatisfy({ $0 < UInt64(limit) && $0 <= UInt64(UInt32.max) }) else {
      throw BlockFault("a number points nowhere")
    }
    return Numbers(values)
  }

  private static func sized(
    _ least: UInt64, _ sizes: [UInt8], _ start: Int, _ data: UnsafeRawBufferPointer
  ) -> [UInt64] {
    var bit = start
    return Array(unsafeUninitializedCapacity: sizes.count) { buffer, filled in
      for index in sizes.indices {
        let size = min(64, Int(sizes[index]))
        if size < 2 {
          buffer[index] = least &+ UInt64(size)
        } else {
          buffer[index] = least &+ (BitReader.read(data, bit: bit, width: size - 1) | 1 << UInt64(size - 1))
          bit += size - 1
        }
      }
      filled = sizes.count
    }
  }

  private func expand(_ heads: [UInt64], _ lengths: [UInt64]) throws(BlockFault) -> [UInt64] {
    var result: [UInt64] = []
    result.reserveCapacity(count)
    for (head, length) in zip(heads, lengths) {
      guard length <= UInt64(count - result.count) else { throw BlockFault("a column's runs are too long") }
      result.append(contentsOf: repeatElement(head, count: Int(length)))
    }
    guard result.count == count else { throw BlockFault("a column's runs are too short") }
    return result
  }
}
