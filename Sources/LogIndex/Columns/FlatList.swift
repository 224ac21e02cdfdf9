/// All texts of a list as they are spelled, one after another: for one who reads the whole list.
final class FlatList {
  /// Where the texts lie; valid as long as the list.
  struct View {
    fileprivate(set) var bytes: UnsafePointer<UInt8>
    /// One more than there are texts.
    fileprivate(set) var starts: UnsafePointer<UInt32>
    /// The number of each value's text; nil when each has its own.
    fileprivate(set) var codes: UnsafePointer<UInt32>?
    /// Nothing when all values have the one text.
    fileprivate(set) var mask: Int

    /// The length of a value when a text begins with it.
    @inline(__always) func matches(_ index: Int, _ text: UnsafePointer<UInt8>, _ left: Int) -> Int? {
      let number = codes.map { Int($0[index & mask]) } ?? (index & mask)
      let start = Int(starts[number])
      let count = Int(starts[number + 1]) - start
      return count <= left && ByteSearch.isSame(bytes + start, text, count) ? count : nil
    }
  }

  private var bytes: UnsafeMutablePointer<UInt8>
  private var room: Int
  private var used = 0
  private let starts: UnsafeMutablePointer<UInt32>
  private var count = 0
  private var codes: UnsafeMutablePointer<UInt32>?
  private var mask = -1

  var view: View { View(bytes: bytes, starts: starts, codes: codes.map { UnsafePointer($0) }, mask: mask) }

  /// Reads a list of so many values that has no templates.
  convenience init(_ list: ListColumn, count: Int, of block: Block) throws(BlockFault) {
    switch list {
    case .dictionary(let texts, let distinct, let numbers):
      try self.init(plain: texts, count: distinct, of: block)
      try number(try block.values(numbers), distinct)
    case .recent(let texts, let distinct, let distances):
      try self.init(plain: texts, count: distinct, of: block)
      try number(try block.recent(distances, below: distinct), distinct)
    default: try self.init(plain: list, count: count, of: block)
    }
  }

  /// The texts of the block's heap from a number on.
  init(firstText: Int, count: Int, of block: Block) throws(BlockFault) {
    (bytes, room) = (.allocate(capacity: 1), 0)
    starts = .allocate(capacity: count + 1)
    starts[0] = 0
    try texts(firstText, count, block)
  }

  private init(plain list: ListColumn, count: Int, of block: Block) throws(BlockFault) {
    (bytes, room) = (.allocate(capacity: 1), 0)
    starts = .allocate(capacity: count + 1)
    starts[0] = 0
    switch list {
    case .constant(let text):
      mask = 0
      reserve(text.count)
      text.withUnsafeBufferPointer { if let base = $0.baseAddress { bytes.update(from: base, count: $0.count) } }
      end(text.count)
    case .decimal(let digits, let scales):
      try decimals(try block.values(digits), try block.values(scales))
    case .padded(let width, let column):
      reserve(count * 20)
      for value in try block.values(column) { end(Self.put(value, width: width, point: 0, to: bytes + used)) }
    case .hex(let digits, let start):
      reserve(count * digits)
      block.withData { data in
        for index in 0..<count {
          HexText.put(data, start + index * ((digits + 1) / 2), digits, to: bytes + used)
          end(digits)
        }
      }
    case .uuid(let start):
      reserve(count * 36)
      block.withData { data in
        for index in 0..<count {
          HexText.putUUID(data, start + index * 16, to: bytes + used)
          end(36)
        }
      }
    case .text(let first): try texts(first, count, block)
    case .dictionary, .recent, .template: throw BlockFault("a list inside a list")
    }
  }

  deinit {
    bytes.deallocate()
    starts.deallocate()
    codes?.deallocate()
  }

  private func decimals(_ digits: [UInt64], _ scales: [UInt64]) throws(BlockFault) {
    reserve(digits.count * 24)
    for (digits, scale) in zip(digits, scales) {
      guard scale <= 18 else { throw BlockFault("a number is too long") }
      let value = ZigZag.decode(digits)
      let sign = value < 0 ? 1 : 0
      bytes[used] = 0x2D
      end(sign + Self.put(value.magnitude, width: Int(scale) + 1, point: Int(scale), to: bytes + used + sign))
    }
  }

  private func texts(_ first: Int, _ count: Int, _ block: Block) throws(BlockFault) {
    for index in 0..<count {
      let text = try block.text(first + index)
      reserve(text.count)
      text.withUnsafeBufferPointer {
        if let base = $0.baseAddress { (bytes + used).update(from: base, count: $0.count) }
      }
      end(text.count)
    }
  }

  /// Makes room for so many more bytes.
  private func reserve(_ more: Int) {
    guard used + more > room else { return }
    room = max(used + more, room * 2)
    let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: room)
    larger.update(from: bytes, count: used)
    bytes.deallocate()
    bytes = larger
  }

  /// Ends a text of so many bytes.
  @inline(__always) private func end(_ length: Int) {
    used += length
    count += 1
    starts[count] = UInt32(truncatingIfNeeded: used)
  }

  private func number(_ numbers: some RandomAccessCollection<some BinaryInteger>, _ distinct: Int) throws(BlockFault) {
    let codes = UnsafeMutablePointer<UInt32>.allocate(capacity: max(1, numbers.count))
    self.codes = codes
    for (index, number) in numbers.enumerated() {
      guard number < distinct else { throw BlockFault("a number points nowhere") }
      codes[index] = UInt32(truncatingIfNeeded: number)
    }
  }

  /// Spells digits, at least `width` of them, with a point before the last `point`; answers how many bytes they are.
  @inline(__always) private static func put(
    _ value: UInt64, width: Int, point: Int, to output: UnsafeMutablePointer<UInt8>
  ) -> Int {
    var places = 1
    var power: UInt64 = 10
    while places < 20, value >= power {
      places += 1
      power = places < 20 ? power &* 10 : .max
    }
    places = max(places, width)
    let length = places + (point > 0 ? 1 : 0)
    var at = length
    var rest = value
    for place in 0..<places {
      if place == point, point > 0 {
        at -= 1
        output[at] = 0x2E
      }
      at -= 1
      output[at] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    return length
  }
}

extension HexText {
  /// The two digits of each byte, the first in the low half.
  private static let pairs: [UInt16] = (0..<256).map { byte in
    func digit(_ value: Int) -> UInt16 { UInt16(value < 10 ? 0x30 + value : 0x57 + value) }
    return digit(byte >> 4) | digit(byte & 15) << 8
  }

  /// Spells `count` digits that are packed at a place.
  static func put(
    _ data: UnsafeRawBufferPointer, _ start: Int, _ count: Int, to output: UnsafeMutablePointer<UInt8>
  ) {
    pairs.withUnsafeBufferPointer { pairs in
      let raw = UnsafeMutableRawPointer(output)
      for place in 0..<(count / 2) {
        raw.storeBytes(of: pairs[Int(data[start + place])].littleEndian, toByteOffset: place * 2, as: UInt16.self)
      }
      if count % 2 == 1 { output[count - 1] = UInt8(truncatingIfNeeded: pairs[Int(data[start + count / 2])]) }
    }
  }

  /// Spells a UUID that is packed at a place.
  static func putUUID(_ data: UnsafeRawBufferPointer, _ start: Int, to output: UnsafeMutablePointer<UInt8>) {
    put(data, start, 8, to: output)
    put(data, start + 4, 4, to: output + 9)
    put(data, start + 6, 4, to: output + 14)
    put(data, start + 8, 4, to: output + 19)
    put(data, start + 10, 12, to: output + 24)
    for dash in [8, 13, 18, 23] { output[dash] = 0x2D }
  }
}
