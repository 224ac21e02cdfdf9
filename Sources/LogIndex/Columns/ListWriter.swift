/// How a run of texts is stored; the raw value stands in the file.
enum ListForm: UInt8 {
  /// All alike.
  case constant = 0
  /// Decimal numbers in their plain spelling: the digits as an integer, and how many of them follow the point.
  case decimal = 1
  /// Digits, all of one length.
  case padded = 2
  /// Lower-case hexadecimal digits, all of one length.
  case hex = 3
  /// 8-4-4-4-12 lower-case hexadecimal digits.
  case uuid = 4
  /// Texts of the block's heap, one after another.
  case text = 5
  /// Each distinct text once, and a number for each.
  case dictionary = 6
  /// The same, the number counted back from the newest text.
  case recent = 7
  /// A template and its variables; only for whole columns.
  case template = 8
}

/// Stores texts in the smallest of the forms but templates.
struct ListWriter {
  let base: UnsafePointer<UInt8>

  /// What is known of the texts of a list before they are stored.
  struct Survey {
    fileprivate let traits: Traits
    /// The distinct texts and each text's number; nil when a dictionary would not pay.
    let distinct: (spans: [Span], numbers: [UInt64])?

    /// Whether all texts are of one form that needs no template.
    var isTyped: Bool { traits.isDecimal || traits.isUUID || traits.isHex }
  }

  /// What all texts of a list have in common.
  fileprivate struct Traits {
    var isDecimal = true
    var isPadded = true
    var isHex = true
    var isUUID = true
    let length: Int

    var any: Bool { isDecimal || isPadded || isHex || isUUID }
  }

  /// Looks at every text.
  func survey(_ spans: [Span]) -> Survey {
    let traits = traits(spans)
    return Survey(traits: traits, distinct: distinct(spans, traits))
  }

  func write(_ spans: [Span], to parts: inout BlockParts) { write(spans, survey(spans), to: &parts) }

  func write(_ spans: [Span], _ survey: Survey, to parts: inout BlockParts) {
    parts.meta.varint(spans.count)
    let traits = survey.traits
    guard let table = survey.distinct else { return writePlain(spans, traits, to: &parts) }
    if table.spans.count <= 1 {
      parts.meta.byte(ListForm.constant.rawValue)
      parts.meta.blob(table.spans.first?.bytes(base) ?? UnsafeBufferPointer(start: nil, count: 0))
      return
    }
    let isRecent = (traits.isUUID || traits.isHex) && !traits.isDecimal && table.spans.count > spans.count / 16
    parts.meta.byte((isRecent ? ListForm.recent : .dictionary).rawValue)
    parts.meta.varint(table.spans.count)
    writePlain(table.spans, traits, to: &parts)
    IntWriter.write(isRecent ? Self.distances(table.numbers) : table.numbers, to: &parts)
  }

  private func distinct(_ spans: [Span], _ traits: Traits) -> (spans: [Span], numbers: [UInt64])? {
    var table = SpanTable()
    let most = Self.distinctMaximum(spans.count, traits.isUUID || (traits.isHex && !traits.isDecimal), traits.any)
    var last = -1
    var isFew = true
    let numbers = [UInt64](unsafeUninitializedCapacity: spans.count) { buffer, filled in
      for (index, span) in spans.enumerated() {
        if last < 0 || !span.isSame(spans[index - 1], base) {
          last = table.number(span, base)
          isFew = table.count <= most
          if !isFew { break }
        }
        buffer[index] = UInt64(truncatingIfNeeded: last)
        filled = index + 1
      }
    }
    return isFew ? (table.spans, numbers) : nil
  }

  private static func distinctMaximum(_ count: Int, _ isIdentifier: Bool, _ isTyped: Bool) -> Int {
    if isIdentifier { return max(1, count * 3 / 4) }
    if isTyped { return max(1, min(count / 8, 1024)) }
    return max(1, count < 64 ? count / 2 : count / 6)
  }

  /// 0 for a text seen first, else one more than how far its number lies behind the newest.
  private static func distances(_ numbers: [UInt64]) -> [UInt64] {
    var next: UInt64 = 0
    return numbers.map { number in
      if number == next {
        next += 1
        return 0
      }
      return next - number
    }
  }

  /// Stores texts without a dictionary.
  private func writePlain(_ spans: [Span], _ traits: Traits, to parts: inout BlockParts) {
    if spans.isEmpty || !traits.any { return writeText(spans, to: &parts) }
    if traits.isDecimal {
      parts.meta.byte(ListForm.decimal.rawValue)
      let numbers = spans.compactMap { PlainDecimal($0.bytes(base)) }
      IntWriter.write(numbers.map { ZigZag.encode($0.digits) }, to: &parts)
      IntWriter.write(numbers.map { UInt64($0.scale) }, to: &parts)
    } else if traits.isPadded {
      parts.meta.byte(ListForm.padded.rawValue)
      parts.meta.byte(UInt8(traits.length))
      IntWriter.write(spans.map { $0.bytes(base).reduce(0) { $0 * 10 + UInt64($1 - 0x30) } }, to: &parts)
    } else if traits.isUUID {
      parts.meta.byte(ListForm.uuid.rawValue)
      writeHex(spans, to: &parts)
    } else {
      parts.meta.byte(ListForm.hex.rawValue)
      parts.meta.varint(traits.length)
      writeHex(spans, to: &parts)
    }
  }

  private func writeHex(_ spans: [Span], to parts: inout BlockParts) {
    var packed: [UInt8] = []
    packed.reserveCapacity(spans.count * 16)
    for span in spans { HexText.pack(span.bytes(base), into: &packed) }
    parts.place(packed)
  }

  func writeText(_ spans: [Span], to parts: inout BlockParts) {
    parts.meta.byte(ListForm.text.rawValue)
    parts.meta.varint(parts.heap.count)
    for span in spans { parts.heap.append(span.bytes(base)) }
  }

  private func traits(_ spans: [Span]) -> Traits {
    var traits = Traits(length: Int(spans.first?.length ?? 0))
    traits.isPadded = traits.length >= 1 && traits.length <= 18
    traits.isHex = traits.length >= 8 && traits.length <= 128
    traits.isUUID = traits.length == 36
    for span in spans {
      if !traits.any { return traits }
      let text = span.bytes(base)
      let isLong = text.count != traits.length
      if traits.isDecimal { traits.isDecimal = PlainDecimal(text) != nil }
      if traits.isPadded { traits.isPadded = !isLong && text.allSatisfy(ASCII.isDigit) }
      if traits.isHex { traits.isHex = !isLong && HexText.isHex(text) }
      if traits.isUUID { traits.isUUID = !isLong && HexText.isUUID(text) }
    }
    return traits
  }
}

/// A decimal number in the spelling that follows from its digits and their place: `-12`, `0.50`; not `01` or `1e5`.
struct PlainDecimal {
  var digits: Int64
  var scale: UInt8

  init(digits: Int64, scale: UInt8) {
    self.digits = digits
    self.scale = scale
  }

  /// Nil for another text, or one of more than 18 digits.
  @inline(__always) init?(_ text: UnsafeBufferPointer<UInt8>) {
    var index = 0
    let count = text.count
    guard count > 0, count <= 20 else { return nil }
    let isNegative = text[0] == 0x2D
    if isNegative { index = 1 }
    let first = index
    var value: Int64 = 0
    var point = -1
    while index < count {
      let byte = text[index]
      if byte >= 0x30, byte <= 0x39 {
        value = value &* 10 &+ Int64(byte &- 0x30)
      } else if byte == 0x2E, point < 0, index > first, index + 1 < count {
        point = index
      } else {
        return nil
      }
      index += 1
    }
    let whole = (point < 0 ? count : point) - first
    let places = point < 0 ? 0 : count - point - 1
    guard whole >= 1, whole + places <= 18, whole == 1 || text[first] != 0x30, !(isNegative && value == 0) else {
      return nil
    }
    digits = isNegative ? -value : value
    scale = UInt8(places)
  }

  /// Appends the spelling.
  func append(to output: inout [UInt8]) {
    if digits < 0 { output.append(0x2D) }
    Self.append(digits.magnitude, width: Int(scale) + 1, point: Int(scale), to: &output)
  }

  /// Appends digits, at least `width` of them, with a point before the last `point`.
  static func append(_ value: UInt64, width: Int, point: Int = 0, to output: inout [UInt8]) {
    let start = output.count
    var rest = value
    var places = 0
    while rest > 0 || places < width {
      if places == point, point > 0 { output.append(0x2E) }
      output.append(UInt8(truncatingIfNeeded: rest % 10) + 0x30)
      rest /= 10
      places += 1
    }
    output[start...].reverse()
  }
}

/// Hexadecimal digits packed two to a byte.
enum HexText {
  static func isHex(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    let raw = UnsafeRawBufferPointer(text)
    var index = 0
    while index + 8 <= raw.count {
      guard areDigits(raw.loadUnaligned(fromByteOffset: index, as: UInt64.self)) else { return false }
      index += 8
    }
    return text[index...].allSatisfy(isDigit)
  }

  /// Whether all eight bytes are digits. Bytes below 0x80 plus less than that carry nothing over: the top bit of each sum
  /// tells whether its byte reaches the bound.
  @inline(__always) private static func areDigits(_ word: UInt64) -> Bool {
    let (ones, tops): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
    guard word & tops == 0 else { return false }
    let numbers = (word &+ ones &* (0x80 - 0x30)) & ~(word &+ ones &* (0x80 - 0x3A))
    let letters = (word &+ ones &* (0x80 - 0x61)) & ~(word &+ ones &* (0x80 - 0x67))
    return (numbers | letters) & tops == tops
  }

  @inline(__always) private static func isDigit(_ byte: UInt8) -> Bool {
    (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66)
  }

  static func isUUID(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    guard text.count == 36, text[8] == 0x2D, text[13] == 0x2D, text[18] == 0x2D, text[23] == 0x2D else { return false }
    let raw = UnsafeRawBufferPointer(text)
    func word(_ place: Int) -> UInt64 { raw.loadUnaligned(fromByteOffset: place, as: UInt64.self).littleEndian }
    // A dash is turned into the digit 0.
    let dash: UInt64 = 0x2D ^ 0x30
    return areDigits(word(0)) && areDigits(word(9) ^ dash << 32) && areDigits(word(17) ^ (dash << 8 | dash << 48))
      && areDigits(word(25)) && areDigits(word(28))
  }

  /// Packs the digits; dashes are left out, an odd last digit gets a zero.
  static func pack(_ text: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
    var high: UInt8?
    for byte in text where byte != 0x2D {
      let digit = byte < 0x40 ? byte &- 0x30 : byte &- 0x57
      if let first = high {
        output.append(first << 4 | digit)
        high = nil
      } else {
        high = digit
      }
    }
    if let high { output.append(high << 4) }
  }

  /// Appends `count` digits that are packed at a place.
  static func append(_ data: UnsafeRawBufferPointer, _ start: Int, _ count: Int, to output: inout [UInt8]) {
    for place in 0..<count {
      let byte = data[start + place / 2]
      let digit = place % 2 == 0 ? byte >> 4 : byte & 15
      output.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
    }
  }

  static func appendUUID(_ data: UnsafeRawBufferPointer, _ start: Int, to output: inout [UInt8]) {
    var place = start
    for (group, bytes) in [4, 2, 2, 2, 6].enumerated() {
      if group > 0 { output.append(0x2D) }
      append(data, place, bytes * 2, to: &output)
      place += bytes
    }
  }
}
