/// Numbers as text, read without allocating where they are short.
enum Decimal {
  private static let powers: [Double] = [
    1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
  ]

  /// The finite value of an optionally signed decimal number with optional fraction and exponent; nil for other text.
  static func parse(_ text: some RandomAccessCollection<UInt8>) -> Double? {
    guard let (spelling, rest) = prefix(text), rest.isEmpty else { return nil }
    return spelling
  }

  /// A number at the start of `text`, and what follows it; an exponent is taken only when it is complete.
  static func prefix<Bytes: RandomAccessCollection<UInt8>>(_ text: Bytes) -> (Double, Bytes.SubSequence)? {
    var index = text.startIndex
    let end = text.endIndex
    guard index < end else { return nil }
    let negative = text[index] == 0x2D
    if negative { index = text.index(after: index) }
    var mantissa: UInt64 = 0
    var digits = 0
    var scale = 0
    var seen = false
    var exact = true
    func digit(_ byte: UInt8) {
      seen = true
      guard digits > 0 || byte != 0x30 else { return }
      digits += 1
      if digits <= 18 { mantissa = mantissa * 10 + UInt64(byte - 0x30) } else { exact = false }
    }
    while index < end, ASCII.isDigit(text[index]) {
      digit(text[index])
      index = text.index(after: index)
    }
    guard seen else { return nil }
    if index < end, text[index] == 0x2E {
      let next = text.index(after: index)
      if next < end, ASCII.isDigit(text[next]) {
        index = next
        while index < end, ASCII.isDigit(text[index]) {
          digit(text[index])
          scale += 1
          index = text.index(after: index)
        }
      }
    }
    let plainEnd = index
    if let after = exponentEnd(text, index) {
      index = after
    }
    if exact, index == plainEnd, mantissa <= 1 << 53, scale <= 22 {
      let value = Double(mantissa) / powers[scale]
      return (negative ? -value : value, text[index...])
    }
    guard let value = Double(String(decoding: text[text.startIndex..<index], as: UTF8.self)), value.isFinite else {
      return nil
    }
    return (value, text[index...])
  }

  /// Whether `text` is an integer in its one canonical spelling, so that equal values are equal texts.
  static func isCanonicalInteger(_ text: some RandomAccessCollection<UInt8>) -> Bool {
    var digits = text[...]
    let negative = digits.first == 0x2D
    if negative { digits.removeFirst() }
    guard let first = digits.first, digits.allSatisfy(ASCII.isDigit) else { return false }
    return first != 0x30 || (digits.count == 1 && !negative)
  }

  private static func exponentEnd<Bytes: RandomAccessCollection<UInt8>>(
    _ text: Bytes, _ start: Bytes.Index
  ) -> Bytes.Index? {
    guard start < text.endIndex, text[start] | 0x20 == 0x65 else { return nil }
    var index = text.index(after: start)
    if index < text.endIndex, text[index] == 0x2B || text[index] == 0x2D { index = text.index(after: index) }
    guard index < text.endIndex, ASCII.isDigit(text[index]) else { return nil }
    while index < text.endIndex, ASCII.isDigit(text[index]) { index = text.index(after: index) }
    return index
  }
}
