/// The pieces of a column's templates laid out flat.
struct TemplatePieces: Sendable {
  /// What a piece stands for.
  enum Kind: UInt8 {
    case literal, variable, reference
  }

  /// What characters a variable has: letters and digits, one of them a digit unless they are eight hexadecimal digits or more.
  enum Characters: UInt8 {
    case digits, hex, uuid, letters
  }

  struct Piece: Sendable {
    var kind: Kind
    /// Of a variable.
    var characters = Characters.letters
    /// Of a variable; 0 when it is not known or long.
    var length: UInt8 = 0
    /// Of a literal: where it lies. Of another: its number, and 0.
    var start: Int32 = 0
    var end: Int32 = 0

    var number: Int { Int(start) }
  }

  /// Longer variables are taken to be of any length.
  private static let lengthMaximum = 64

  private(set) var bytes: [UInt8] = []
  private(set) var pieces: [Piece] = []
  private var ends: [Int32] = []

  /// Appends a template as a directory spells it.
  mutating func append(_ text: ArraySlice<UInt8>, references: Int) throws(BlockFault) {
    var start = bytes.count
    func flush(_ bytes: [UInt8], _ pieces: inout [Piece]) {
      if bytes.count > start { pieces.append(Piece(kind: .literal, start: Int32(start), end: Int32(bytes.count))) }
      start = bytes.count
    }
    var variables: Int32 = 0
    var index = text.startIndex
    while index < text.endIndex {
      switch text[index] {
      case Tokenizer.variable:
        flush(bytes, &pieces)
        pieces.append(Piece(kind: .variable, start: variables))
        variables += 1
      case Tokenizer.reference:
        flush(bytes, &pieces)
        index += 1
        guard index < text.endIndex, text[index] >= Tokenizer.referenceBase,
          Int(text[index] - Tokenizer.referenceBase) < references
        else { throw BlockFault("a template refers to nothing") }
        pieces.append(Piece(kind: .reference, start: Int32(text[index] - Tokenizer.referenceBase)))
      default: bytes.append(text[index])
      }
      index += 1
    }
    flush(bytes, &pieces)
    ends.append(Int32(pieces.count))
  }

  /// Notes what a variable's list says of its characters.
  mutating func describe(_ place: Int, _ list: ListColumn) {
    let (characters, length) = Self.characters(list)
    pieces[place].characters = characters
    pieces[place].length = length <= Self.lengthMaximum ? UInt8(length) : 0
  }

  /// The same with literal text as readers see it.
  var unescaped: TemplatePieces {
    guard bytes.contains(0x5C) else { return self }
    var made = self
    made.bytes = []
    for (place, piece) in pieces.enumerated() where piece.kind == .literal {
      made.pieces[place].start = Int32(made.bytes.count)
      let literal = text(piece)
      if literal.contains(0x5C) { made.bytes += JSONText.unescaped(literal) } else { made.bytes += literal }
      made.pieces[place].end = Int32(made.bytes.count)
    }
    return made
  }

  var heldBytes: Int { bytes.count + pieces.count * MemoryLayout<Piece>.stride + ends.count * 4 }

  /// Where the pieces of a template lie, by its place from 0.
  @inline(__always) func range(_ template: Int) -> Range<Int> {
    (template == 0 ? 0 : Int(ends[template - 1]))..<Int(ends[template])
  }

  /// The text of a literal.
  @inline(__always) func text(_ piece: Piece) -> ArraySlice<UInt8> { bytes[Int(piece.start)..<Int(piece.end)] }

  /// What is known of a variable's characters, and how many they are; 0 when that is not known.
  private static func characters(_ list: ListColumn) -> (Characters, Int) {
    switch list {
    case .decimal: (.digits, 0)
    case .padded(let width, _): (.digits, width)
    case .hex(let digits, _): (.hex, digits)
    case .uuid: (.uuid, 36)
    case .dictionary(let distinct, _, _), .recent(let distinct, _, _): characters(distinct)
    case .constant, .text, .template: (.letters, 0)
    }
  }
}
