/// A run of integers of a block: where and in which form it lies.
struct IntColumn: Sendable {
  /// Where it lies in the block's numbers. A directory has thousands, so that they are kept small.
  private struct Place: Sendable {
    var start: UInt32
    var count: UInt32

    var range: Range<Int> { Int(start)..<(Int(start) + Int(count)) }
    var bit: Int { Int(start) * 8 }
  }

  private enum Layout: Sendable {
    case constant(UInt64)
    case packed(least: UInt64, width: UInt8, place: Place)
    case sized(least: UInt64, sizes: Place, isPacked: Bool, bitsStart: UInt32)
    indirect case runs(heads: IntColumn, lengths: IntColumn)
    case bytes(least: UInt64, width: UInt8, place: Place)
  }

  private let layout: Layout
  private let valueCount: UInt32

  var count: Int { Int(valueCount) }

  /// Reads the directory's entry; `size` is the length of the block's numbers. `most` bounds the count.
  init(_ reader: inout ByteReader, size: Int, most: Int, depth: Int = 0) throws(BlockFault) {
    let count = try reader.int(min(most, Int(UInt32.max)))
    valueCount = UInt32(count)
    guard let form = IntForm(rawValue: try reader.byte()), depth <= IntForm.depthMaximum else {
      throw BlockFault("a column has an unknown form")
    }
    switch form {
    case .constant: layout = .constant(try reader.varint())
    case .packed:
      let least = try reader.varint()
      let width = try reader.byte()
      let place = try Self.place(&reader, size)
      guard width <= 64, (count * Int(width) + 7) / 8 <= place.count else { throw BlockFault("a column is too short") }
      layout = .packed(least: least, width: width, place: place)
    case .sized:
      let least = try reader.varint()
      let isPacked = try reader.byte() != 0
      let sizes = try Self.place(&reader, size)
      guard isPacked || sizes.count == count else { throw BlockFault("a column is too short") }
      layout = .sized(least: least, sizes: sizes, isPacked: isPacked, bitsStart: try Self.place(&reader, size).start)
    case .runs:
      let heads = try IntColumn(&reader, size: size, most: count, depth: depth + 1)
      let lengths = try IntColumn(&reader, size: size, most: count, depth: depth + 1)
      guard heads.count == lengths.count else { throw BlockFault("a column's runs are uneven") }
      layout = .runs(heads: heads, lengths: lengths)
    case .bytes:
      let least = try reader.varint()
      let width = try reader.byte()
      guard width == 1 || width == 2 else { throw BlockFault("a column has an unknown width") }
      layout = .bytes(least: least, width: width, place: try Self.place(&reader, size))
    }
  }

  private static func place(_ reader: inout ByteReader, _ size: Int) throws(BlockFault) -> Place {
    let start = try reader.int(min(size, Int(UInt32.max)))
    return Place(start: UInt32(start), count: UInt32(try reader.int(min(size - start, Int(UInt32.max)))))
  }

  /// Bytes it takes beside what it lies in.
  var heldBytes: Int {
    guard case .runs(let heads, let lengths) = layout else { return 0 }
    return 2 * MemoryLayout<IntColumn>.stride + 16 + heads.heldBytes + lengths.heldBytes
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
    case .packed(let least, let width, let place): .packed(least: least, width: Int(width), bit: place.bit)
    case .sized, .runs, .bytes: nil
    }
  }

  /// All values.
  func values(_ data: UnsafeRawBufferPointer) throws(BlockFault) -> [UInt64] {
    var values = [UInt64](repeating: 0, count: count)
    try values.withUnsafeMutableBufferPointer { (values: inout UnsafeMutableBufferPointer<UInt64>) throws(BlockFault) in
      guard let base = values.baseAddress else { return }
      try each(data) { base[$0] = $1 }
    }
    return values
  }

  /// All values as numbers below `limit`, at most 2^32.
  func numbers(_ data: UnsafeRawBufferPointer, below limit: Int) throws(BlockFault) -> Numbers {
    var most: UInt64 = 0
    let numbers = try Numbers(count: count, below: limit) { (writer: Numbers.Writer) throws(BlockFault) in
      try each(data) { index, value in
        writer.set(index, value)
        most = max(most, value)
      }
    }
    guard count == 0 || most < UInt64(clamping: limit) && most <= UInt64(UInt32.max) else {
      throw BlockFault("a number points nowhere")
    }
    return numbers
  }

  /// The numbers of texts, below `limit`, of which it says how far back each lies: 0 is the next new one.
  func recent(_ data: UnsafeRawBufferPointer, below limit: Int) throws(BlockFault) -> Numbers {
    var next: UInt64 = 0
    var isSound = true
    let numbers = try Numbers(count: count, below: limit) { (writer: Numbers.Writer) throws(BlockFault) in
      try each(data) { index, distance in
        writer.set(index, distance == 0 ? next : next &- distance)
        isSound = isSound && distance <= next
        if distance == 0 { next += 1 }
      }
    }
    guard isSound else { throw BlockFault("a text points nowhere") }
    guard next <= UInt64(clamping: limit) else { throw BlockFault("a dictionary is too short") }
    return numbers
  }

  /// Calls `body` with the place of each value and the value, in order.
  @inline(__always) private func each(
    _ data: UnsafeRawBufferPointer, _ body: (Int, UInt64) -> Void
  ) throws(BlockFault) {
    let count = count
    switch layout {
    case .constant(let value): for index in 0..<count { body(index, value) }
    case .packed(let least, let width, let place):
      let (bit, width) = (place.bit, Int(width))
      for index in 0..<count { body(index, least &+ BitReader.read(data, bit: bit + index * width, width: width)) }
    case .bytes(let least, let width, let place):
      let raw = try Deflate.inflate(UnsafeRawBufferPointer(rebasing: data[place.range]), size: count * Int(width))
      raw.withUnsafeBufferPointer { raw in
        for index in 0..<count {
          var value = UInt64(raw[index])
          if width == 2 { value |= UInt64(raw[count + index]) << 8 }
          body(index, least &+ value)
        }
      }
    case .sized(let least, let place, let isPacked, let bitsStart):
      let part = UnsafeRawBufferPointer(rebasing: data[place.range])
      guard isPacked else { return Self.sized(least, part, Int(bitsStart) * 8, data, body) }
      let sizes = try Deflate.inflate(part, size: count)
      sizes.withUnsafeBytes { Self.sized(least, $0, Int(bitsStart) * 8, data, body) }
    case .runs(let heads, let lengths): try runs(try heads.values(data), try lengths.values(data), body)
    }
  }

  @inline(__always) private static func sized(
    _ least: UInt64, _ sizes: UnsafeRawBufferPointer, _ start: Int, _ data: UnsafeRawBufferPointer,
    _ body: (Int, UInt64) -> Void
  ) {
    var bit = start
    for index in 0..<sizes.count {
      let size = min(64, Int(sizes[index]))
      if size < 2 {
        body(index, least &+ UInt64(size))
      } else {
        body(index, least &+ (BitReader.read(data, bit: bit, width: size - 1) | 1 << UInt64(size - 1)))
        bit += size - 1
      }
    }
  }

  @inline(__always) private func runs(
    _ heads: [UInt64], _ lengths: [UInt64], _ body: (Int, UInt64) -> Void
  ) throws(BlockFault) {
    var index = 0
    for (head, length) in zip(heads, lengths) {
      guard length <= UInt64(count - index) else { throw BlockFault("a column's runs are too long") }
      for _ in 0..<Int(length) {
        body(index, head)
        index += 1
      }
    }
    guard index == count else { throw BlockFault("a column's runs are too short") }
  }
}
