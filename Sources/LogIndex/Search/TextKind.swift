/// What characters texts have that are stored together.
enum TextKind {
  case digits, decimal, hex, uuid, letters, any
  /// Those that some text has.
  case of(ByteSet)

  func allows(_ byte: UInt8) -> Bool {
    switch self {
    case .digits: ASCII.isDigit(byte)
    case .decimal: ASCII.isDigit(byte) || byte == 0x2D || byte == 0x2E
    case .hex: Self.isHex(byte)
    case .uuid: Self.isHex(byte) || byte == 0x2D
    case .letters: ASCII.isWord(byte) && byte != 0x5F && byte < 0x80
    case .any: true
    case .of(let set): set.contains(ASCII.lowered(byte))
    }
  }

  private static func isHex(_ byte: UInt8) -> Bool { ASCII.isDigit(byte) || (byte >= 0x61 && byte <= 0x66) }

  /// What characters the values of a list have.
  init(_ list: ListColumn, otherwise: TextKind) {
    switch list {
    case .decimal: self = .decimal
    case .padded: self = .digits
    case .hex: self = .hex
    case .uuid: self = .uuid
    case .dictionary(let distinct, _, _), .recent(let distinct, _, _):
      self.init(distinct, otherwise: otherwise)
    case .constant, .text: self = otherwise
    case .template: self = .any
    }
  }
}

/// A set of bytes, ASCII letters as lower case.
struct ByteSet: Sendable {
  private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  mutating func insert(_ byte: UInt8) {
    let byte = ASCII.lowered(byte)
    let bit: UInt64 = 1 << UInt64(byte & 63)
    switch byte >> 6 {
    case 0: words.0 |= bit
    case 1: words.1 |= bit
    case 2: words.2 |= bit
    default: words.3 |= bit
    }
  }

  func contains(_ byte: UInt8) -> Bool {
    let word =
      switch byte >> 6 {
      case 0: words.0
      case 1: words.1
      case 2: words.2
      default: words.3
      }
    return word >> UInt64(byte & 63) & 1 != 0
  }

  /// Adds the characters of a text that is spelled as in JSON.
  mutating func insert(_ text: some Collection<UInt8>) {
    if text.contains(0x5C) {
      for byte in JSONText.unescaped(Array(text)[...]) { insert(byte) }
    } else {
      for byte in text { insert(byte) }
    }
  }
}

extension Block {
  private static let textsMaximum = 4_096

  /// What characters the values of a column have: by its form, or as its distinct texts and templates say when those are
  /// few.
  func characters(_ number: Int) throws(BlockFault) -> TextKind {
    guard case .any = kind(number), number < columnCounts.count else { return kind(number) }
    var set = ByteSet()
    switch try column(number).body {
    case .constant(let text): set.insert(text)
    case .dictionary(let distinct, let count, _):
      guard count <= Self.textsMaximum else { return .any }
      for index in 0..<count { set.insert(try distinct.text(index, row: 0, of: self)) }
    case .template(let reader):
      let plain = reader.hasPlain ? reader.numbers.reduce(0) { $0 + ($1 == 0 ? 1 : 0) } : 0
      // References of references are not followed.
      guard plain <= Self.textsMaximum, !reader.column.templates.contains(where: \.references) else { return .any }
      for rank in 0..<plain { set.insert(try text(reader.column.firstText + rank)) }
      for template in reader.column.templates {
        for piece in template.pieces {
          if case .literal(let literal) = piece { set.insert(literal) }
        }
      }
      // Only runs of letters and digits become variables.
      for byte: UInt8 in 0x2D...0x39 { set.insert(byte) }
      let isDigits = reader.column.templates.allSatisfy { $0.variables.allSatisfy(Self.isDigits) }
      if !isDigits { for byte: UInt8 in 0x61...0x7A { set.insert(byte) } }
    default: return .any
    }
    return .of(set)
  }

  private static func isDigits(_ list: ListColumn) -> Bool {
    switch TextKind(list, otherwise: .any) {
    case .digits, .decimal: true
    default: false
    }
  }
}
