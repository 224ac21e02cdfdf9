/// What a block may hold: lines of 512 bits, of which a token sets six in one.
struct BloomFilter: Sendable {
  static let bitsPerToken = 10
  static let lineBytes = 64

  /// A part of the block's file where that is in memory.
  let bytes: ArraySlice<UInt8>

  init(bytes: ArraySlice<UInt8>) { self.bytes = bytes }

  /// Reads only the filter of a block's file; throws when it is not as it was written.
  init(path: String) throws {
    let file = try ReadFile(path: path)
    let header = try BlockHeader(try file.bytes(0, BlockHeader.bytes)[...], fileBytes: file.length)
    bytes = try file.bytes(header.filter.start, header.filter.count)[...]
    guard Deflate.crc(bytes) == header.filter.crc else { throw BlockFault("its filter is damaged") }
  }

  /// A filter of so many distinct tokens.
  init(tokens: [UInt64]) {
    let lines = max(1, (tokens.count * Self.bitsPerToken + 511) / 512)
    var bytes = [UInt8](repeating: 0, count: lines * Self.lineBytes)
    for token in tokens {
      Self.probes(token, lines) { place, mask in
        bytes[place] |= mask
        return true
      }
    }
    self.bytes = bytes[...]
  }

  /// False when the token is certainly not there.
  func mayHold(_ token: UInt64) -> Bool {
    let lines = bytes.count / Self.lineBytes
    guard lines > 0 else { return true }
    var isThere = true
    Self.probes(token, lines) { place, mask in
      isThere = bytes[bytes.startIndex + place] & mask != 0
      return isThere
    }
    return isThere
  }

  /// The line is the high half of the token, scaled; the bits are six times nine bits of the token mixed once more.
  private static func probes(_ token: UInt64, _ lines: Int, _ body: (Int, UInt8) -> Bool) {
    let line = Int(((token >> 32) &* UInt64(lines)) >> 32)
    var bits = BloomToken.mixed(token)
    for _ in 0..<6 {
      let bit = Int(bits & 511)
      if !body(line * lineBytes + bit >> 3, 1 << UInt8(bit & 7)) { return }
      bits >>= 9
    }
  }
}

/// Hashes of what a filter is asked for: FNV-1a over a letter and the text, mixed.
enum BloomToken {
  /// A word of a message, in lower case; only ASCII.
  @inline(__always) static func word(_ text: some Sequence<UInt8>) -> UInt64 { hash(0x77, text, lowers: true) }

  /// A field's whole value.
  static func value(_ field: LogField, _ text: some Sequence<UInt8>) -> UInt64 { value(values(of: field), text) }

  /// What the values of a field have in common, for `value`.
  static func values(of field: LogField) -> UInt64 { step(name(field).utf8.reduce(seed(0x76), step), 0) }

  /// A field's whole value.
  @inline(__always) static func value(_ values: UInt64, _ text: some Sequence<UInt8>) -> UInt64 {
    mixed(text.reduce(values, step))
  }

  /// Says that values of a field are there that the filter does not hold.
  static func open(_ field: LogField) -> UInt64 { hash(0x6F, name(field).utf8, lowers: false) }

  /// Says that messages are there whose words the filter does not hold.
  static let openWords = hash(0x6D, [], lowers: false)
  /// Says that records are there of which the filter holds nothing.
  static let openRecords = hash(0x72, [], lowers: false)

  static func mixed(_ value: UInt64) -> UInt64 {
    var value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  private static func name(_ field: LogField) -> String {
    switch field {
    case .reserved(let field): field.rawValue
    case .user(let name): "fields.\(name)"
    }
  }

  @inline(__always) private static func hash(_ letter: UInt8, _ text: some Sequence<UInt8>, lowers: Bool) -> UInt64 {
    var value = seed(letter)
    for byte in text { value = step(value, lowers ? ASCII.lowered(byte) : byte) }
    return mixed(value)
  }

  @inline(__always) static func seed(_ letter: UInt8) -> UInt64 { step(0xCBF2_9CE4_8422_2325, letter) }
  @inline(__always) static func step(_ value: UInt64, _ byte: UInt8) -> UInt64 {
    (value ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
  }
  static let wordSeed = seed(0x77)
}

/// The distinct tokens of a block while it is built.
struct TokenSet {
  private var slots: [UInt64] = Array(repeating: 0, count: 1 << 14)
  private(set) var tokens: [UInt64] = []

  @inline(__always) mutating func insert(_ token: UInt64) {
    if token == 0 { return }
    var place = Int(truncatingIfNeeded: token) & (slots.count - 1)
    while slots[place] != 0 {
      if slots[place] == token { return }
      place = (place + 1) & (slots.count - 1)
    }
    slots[place] = token
    tokens.append(token)
    if tokens.count * 2 > slots.count { grow() }
  }

  /// Inserts the words of a message, which is as JSON spells it.
  mutating func insertWords(_ text: UnsafeBufferPointer<UInt8>) {
    if text.contains(0x5C) {
      JSONText.unescaped(Array(text)[...]).withUnsafeBufferPointer { insertPlainWords($0) }
    } else {
      insertPlainWords(text)
    }
  }

  /// Inserts the words of a text without escapes.
  mutating func insertPlainWords(_ text: UnsafeBufferPointer<UInt8>) {
    var index = 0
    let count = text.count
    while index < count {
      while index < count, !ASCII.isWord(text[index]) { index += 1 }
      guard index < count else { return }
      var value = BloomToken.wordSeed
      var isASCII = true
      while index < count, ASCII.isWord(text[index]) {
        if text[index] >= 0x80 { isASCII = false }
        value = BloomToken.step(value, ASCII.lowered(text[index]))
        index += 1
      }
      if isASCII { insert(BloomToken.mixed(value)) }
    }
  }

  private mutating func grow() {
    slots = Array(repeating: 0, count: slots.count * 4)
    for token in tokens {
      var place = Int(truncatingIfNeeded: token) & (slots.count - 1)
      while slots[place] != 0 { place = (place + 1) & (slots.count - 1) }
      slots[place] = token
    }
  }
}
