/// Strings and numbers as JSON spells them.
enum JSONText {
  /// The bytes a valid JSON string body stands for; a lone surrogate becomes U+FFFD.
  static func unescaped(_ body: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(body.count)
    var index = body.startIndex
    while index < body.endIndex {
      let byte = body[index]
      guard byte == 0x5C, index + 1 < body.endIndex else {
        result.append(byte)
        index += 1
        continue
      }
      let letter = body[index + 1]
      index += 2
      switch letter {
      case 0x62: result.append(0x08)
      case 0x66: result.append(0x0C)
      case 0x6E: result.append(0x0A)
      case 0x72: result.append(0x0D)
      case 0x74: result.append(0x09)
      case 0x75: appendUnicode(body, &index, to: &result)
      default: result.append(letter)
      }
    }
    return result
  }

  /// How many bytes a character beyond ASCII has that begins with these two; nil when none does (RFC 3629, 4). The third and
  /// fourth byte are the caller's to check.
  @inline(__always) static func characterLength(_ first: UInt8, _ second: UInt8) -> Int? {
    switch (first, second) {
    case (0xC2...0xDF, 0x80...0xBF): 2
    case (0xE0, 0xA0...0xBF), (0xED, 0x80...0x9F), (0xE1...0xEC, 0x80...0xBF), (0xEE...0xEF, 0x80...0xBF): 3
    case (0xF0, 0x90...0xBF), (0xF1...0xF3, 0x80...0xBF), (0xF4, 0x80...0x8F): 4
    default: nil
    }
  }

  /// Appends `text` as a quoted JSON string.
  static func appendQuoted(_ text: some Sequence<UInt8>, to output: inout [UInt8]) {
    output.append(0x22)
    for byte in text {
      switch byte {
      case 0x22: output += [0x5C, 0x22]
      case 0x5C: output += [0x5C, 0x5C]
      case 0x0A: output += [0x5C, 0x6E]
      case 0x0D: output += [0x5C, 0x72]
      case 0x09: output += [0x5C, 0x74]
      case 0..<0x20:
        output += [0x5C, 0x75, 0x30, 0x30, hexDigit(byte >> 4), hexDigit(byte & 15)]
      default: output.append(byte)
      }
    }
    output.append(0x22)
  }

  /// The value of a hexadecimal digit; nil for any other byte.
  static func hexValue(_ byte: UInt8) -> UInt32? {
    switch byte {
    case 0x30...0x39: UInt32(byte - 0x30)
    case 0x41...0x46: UInt32(byte - 0x41 + 10)
    case 0x61...0x66: UInt32(byte - 0x61 + 10)
    default: nil
    }
  }

  private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x61 + value - 10 }

  private static func appendUnicode(_ body: ArraySlice<UInt8>, _ index: inout Int, to result: inout [UInt8]) {
    var code = unit(body, index) ?? 0xFFFD
    index = min(index + 4, body.endIndex)
    if code >= 0xD800, code < 0xDC00, index + 6 <= body.endIndex, body[index] == 0x5C, body[index + 1] == 0x75,
      let low = unit(body, index + 2), low >= 0xDC00, low < 0xE000
    {
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
      index += 6
    }
    let scalar = Unicode.Scalar(code) ?? "\u{FFFD}"
    result.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
  }

  private static func unit(_ body: ArraySlice<UInt8>, _ start: Int) -> UInt32? {
    guard start + 4 <= body.endIndex else { return nil }
    var value: UInt32 = 0
    for offset in 0..<4 {
      guard let digit = hexValue(body[start + offset]) else { return nil }
      value = value << 4 | digit
    }
    return value
  }
}
