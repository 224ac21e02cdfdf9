/// The pieces of a column's templates laid out flat, their literal text as readers see it.
struct TemplatePieces: Sendable {
  /// What a piece stands for.
  enum Kind: UInt8 {
    case literal, variable, reference
  }

  /// What characters a variable has: letters and digits, one of them a digit unless they are eight hexadecimal digits or more.
  enum Characters: UInt8 {
    case digits, hex, uuid, letters
  }

  struct Piece {
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

  init(_ templates: [TemplateColumn.Template]) {
    ends.reserveCapacity(templates.count)
    for template in templates {
      for piece in template.pieces {
        switch piece {
        case .literal(let literal):
          let start = bytes.count
          if literal.contains(0x5C) { bytes += JSONText.unescaped(literal[...]) } else { bytes += literal }
          pieces.append(Piece(kind: .literal, start: Int32(start), end: Int32(bytes.count)))
        case .variable(let variable):
          let (characters, length) = Self.characters(template.variables[variable])
          pieces.append(
            Piece(
              kind: .variable, characters: characters, length: length <= Self.lengthMaximum ? UInt8(length) : 0,
              start: Int32(variable)))
        case .reference(let reference): pieces.append(Piece(kind: .reference, start: Int32(reference)))
        }
      }
      ends.append(Int32(pieces.count))
    }
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
