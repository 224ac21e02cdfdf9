import NIOCore

/// Writes heads into room that was made for them beforehand: no check for room, no copy of the buffer, a piece at a time.
struct ByteWriter: ~Copyable {
  private let base: UnsafeMutableRawBufferPointer
  /// Bytes written.
  private(set) var count = 0

  /// Writes from the beginning of `room` on; writing beyond its end traps.
  init(_ room: UnsafeMutableRawBufferPointer) { base = room }

  // Inlined, so that a text known to the compiler becomes a few stores.
  @inline(__always)
  mutating func put(_ text: StaticString) {
    put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  @inline(__always)
  mutating func put(_ bytes: UnsafeRawBufferPointer) {
    guard let from = bytes.baseAddress, let to = base.baseAddress else { return }
    precondition(bytes.count <= base.count - count, "no room was made for this")
    (to + count).copyMemory(from: from, byteCount: bytes.count)
    count += bytes.count
  }

  mutating func put(_ bytes: [UInt8]) { bytes.withUnsafeBytes { put($0) } }

  /// Text that is made as it runs: a literal is a `StaticString`, which costs a fifth of this.
  mutating func put(text: String) {
    var text = text
    text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
  }

  /// What was written before, once more.
  mutating func put(again range: Range<Int>) { put(UnsafeRawBufferPointer(rebasing: base[range])) }

  mutating func put(byte: UInt8) {
    base[count] = byte
    count += 1
  }

  /// A number in decimal digits; at most 20 bytes.
  mutating func put(decimal value: Int64) {
    if value < 0 { put(byte: UInt8(ascii: "-")) }
    let rest = value.magnitude
    var digits = 1
    var power: UInt64 = 10
    // 2^63 has 19 digits.
    while digits < 19, rest >= power {
      digits += 1
      power = power &* 10
    }
    count += digits
    write(rest, digits: digits, before: count)
  }

  /// A number in a fixed count of decimal digits, zeros in front.
  mutating func put(decimal value: Int64, digits: Int) {
    count += digits
    write(value.magnitude, digits: digits, before: count)
  }

  /// Writes the last digits of a number, two at a time from the end.
  private func write(_ value: UInt64, digits: Int, before end: Int) {
    var rest = value
    var position = end
    let start = end - digits
    while position >= start + 2 {
      let pair = UInt16(truncatingIfNeeded: rest % 100)
      rest /= 100
      position -= 2
      // The tens are in the lower byte, which comes first.
      let text = 0x3030 + pair / 10 + ((pair % 10) << 8)
      base.storeBytes(of: text.littleEndian, toByteOffset: position, as: UInt16.self)
    }
    if position > start { base[start] = 48 + UInt8(truncatingIfNeeded: rest % 10) }
  }

  /// A number in lower-case hexadecimal digits, without zeros in front.
  mutating func put(hex value: Int) {
    let digits = max(1, (Int.bitWidth - value.leadingZeroBitCount + 3) / 4)
    put(hex: UInt64(value), digits: digits)
  }

  /// The last `digits` hexadecimal digits of a number, 16 at most.
  mutating func put(hex value: UInt64, digits: Int) {
    var text = (
      Self.hex(UInt32(truncatingIfNeeded: value >> 32)).bigEndian,
      Self.hex(UInt32(truncatingIfNeeded: value)).bigEndian
    )
    withUnsafeBytes(of: &text) { put(UnsafeRawBufferPointer(rebasing: $0[(16 - digits)...])) }
  }

  /// Eight hexadecimal digits, the first in the highest byte: each nibble is spread to a byte of its own, and those above
  /// nine, which a carry out of `+ 6` tells, are moved on to the letters.
  private static func hex(_ value: UInt32) -> UInt64 {
    var word = UInt64(value)
    word = (word | word << 16) & 0x0000_FFFF_0000_FFFF
    word = (word | word << 8) & 0x00FF_00FF_00FF_00FF
    word = (word | word << 4) & 0x0F0F_0F0F_0F0F_0F0F
    let letters = (word &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
    return word &+ 0x3030_3030_3030_3030 &+ letters &* 39
  }

  /// Milliseconds as seconds with six digits after the point; at most 19 bytes.
  mutating func put(seconds milliseconds: Double) {
    let micros = Int64(max(0, min(milliseconds, 1e12)) * 1000)
    put(decimal: micros / 1_000_000)
    put(byte: UInt8(ascii: "."))
    put(decimal: micros % 1_000_000, digits: 6)
  }
}

extension ByteBuffer {
  /// Appends at most `room` bytes written at once.
  mutating func write(room: Int, _ body: (inout ByteWriter) -> Void) {
    writeWithUnsafeMutableBytes(minimumWritableBytes: room) { memory in
      var writer = ByteWriter(memory)
      body(&writer)
      return writer.count
    }
  }
}
