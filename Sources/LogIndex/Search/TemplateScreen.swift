/// Whether a text may be in what a template stands for, whatever its variables are.
struct TemplateScreen {
  /// What a place of a template may be.
  private enum Token {
    case byte(UInt8)
    /// Some characters of a kind.
    case some(Kind)
  }

  /// What characters a variable or a reference may have.
  enum Kind {
    case digits, decimal, hex, uuid, letters, any
    /// Those that some text has.
    case of(ByteSet)

    func allows(_ byte: UInt8) -> Bool {
      switch self {
      case .digits: ASCII.isDigit(byte)
      case .decimal: ASCII.isDigit(byte) || byte == 0x2D || byte == 0x2E
      case .hex: JSONText.hexValue(byte) != nil
      case .uuid: JSONText.hexValue(byte) != nil || byte == 0x2D
      case .letters: ASCII.isWord(byte) && byte != 0x5F && byte < 0x80
      case .any: true
      case .of(let set): set.contains(byte)
      }
    }
  }

  private let tokens: [Token]

  /// `kinds` are those of the columns that references point to.
  init(_ template: TemplateColumn.Template, kinds: [Kind]) {
    var tokens: [Token] = []
    for piece in template.pieces {
      switch piece {
      case .literal(let literal):
        let plain = literal.contains(0x5C) ? JSONText.unescaped(literal[...]) : literal
        for byte in plain { tokens.append(.byte(ASCII.lowered(byte))) }
      // Only runs of letters and digits become variables.
      case .variable(let variable): tokens.append(.some(Self.kind(template.variables[variable], otherwise: .letters)))
      case .reference(let reference): tokens.append(.some(kinds[reference]))
      }
    }
    self.tokens = tokens
  }

  /// False when a text, in lower case, is certainly in none.
  func mayHold(_ text: [UInt8]) -> Bool {
    // Where the text read so far may end: before each token.
    var places = Array(repeating: true, count: tokens.count + 1)
    for byte in text {
      var next = Array(repeating: false, count: tokens.count + 1)
      var isAny = false
      for (place, token) in tokens.enumerated() where places[place] {
        switch token {
        case .byte(let literal) where literal == byte:
          next[place + 1] = true
          isAny = true
        case .some(let kind):
          if kind.allows(byte) {
            next[place] = true
            isAny = true
          }
        default: break
        }
      }
      guard isAny else { return false }
      // A variable may end here, or be empty.
      for (place, token) in tokens.enumerated() where next[place] {
        if case .some = token { next[place + 1] = true }
      }
      places = next
    }
    return true
  }

  /// The part of a text, in lower case, that only what never varies can be: without the runs of letters and digits at its
  /// ends, which may go on in a variable. Empty when a variable may be in the midst of it.
  static func core(_ text: [UInt8]) -> [UInt8] {
    var core = text[...]
    while let first = core.first, Kind.letters.allows(first) { core.removeFirst() }
    while let last = core.last, Kind.letters.allows(last) { core.removeLast() }
    for run in core.split(whereSeparator: { !Kind.letters.allows($0) }) {
      // A variable is a run that has a digit, or eight that are hexadecimal.
      let isHex = run.count >= 8 && run.allSatisfy { JSONText.hexValue($0) != nil }
      if isHex || run.contains(where: ASCII.isDigit) { return [] }
    }
    return Array(core)
  }

  /// What characters the values of a list have.
  static func kind(_ list: ListColumn, otherwise: Kind) -> Kind {
    switch list {
    case .decimal: .decimal
    case .padded: .digits
    case .hex: .hex
    case .uuid: .uuid
    case .dictionary(let distinct, _, _), .recent(let distinct, _, _): kind(distinct, otherwise: otherwise)
    case .constant, .text: otherwise
    case .template: .any
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
  func characters(_ number: Int) throws(BlockFault) -> TemplateScreen.Kind {
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
    switch TemplateScreen.kind(list, otherwise: .any) {
    case .digits, .decimal: true
    default: false
    }
  }
}
