/// A column of templates and variables: what its directory says.
struct TemplateColumn: Sendable {
  /// A piece of a template.
  enum Piece: Sendable, Equatable {
    case literal([UInt8])
    case variable(Int)
    /// The value of another column of the same row: its place in `columns`.
    case reference(Int)
  }

  struct Template: Sendable {
    var pieces: [Piece]
    var variables: [ListColumn]
    /// How many values each variable has.
    var count: Int
    var references: Bool { pieces.contains { if case .reference = $0 { true } else { false } } }
  }

  /// The columns references point to.
  let columns: [Int]
  private(set) var templates: [Template]
  /// The template of each value, from 1; 0 for a text of the heap.
  let numbers: IntColumn
  let firstText: Int
  let count: Int

  init(_ reader: inout ByteReader, count: Int, size: Int, texts: Int) throws(BlockFault) {
    self.count = count
    var columns: [Int] = []
    for _ in 0..<(try reader.int(64)) { columns.append(try reader.int(1 << 16)) }
    self.columns = columns
    var templates: [Template] = []
    for _ in 0..<(try reader.int(TemplateWriter.templatesMaximum)) {
      let pieces = try Self.pieces(try reader.blob(), references: columns.count)
      templates.append(Template(pieces: pieces, variables: [], count: 0))
    }
    numbers = try IntColumn(&reader, size: size, most: count)
    guard numbers.count == count else { throw BlockFault("a column's templates are missing") }
    firstText = try reader.int(texts)
    for number in templates.indices {
      var total: Int?
      for piece in templates[number].pieces {
        guard case .variable = piece else { continue }
        let (list, length) = try ListColumn.read(&reader, size: size, most: count, texts: texts)
        if case .template = list { throw BlockFault("a template inside a template") }
        guard total == nil || total == length else { throw BlockFault("a template's variables are uneven") }
        total = length
        templates[number].variables.append(list)
      }
      templates[number].count = total ?? .max
    }
    self.templates = templates
  }

  private static func pieces(_ text: ArraySlice<UInt8>, references: Int) throws(BlockFault) -> [Piece] {
    var pieces: [Piece] = []
    var literal: [UInt8] = []
    var variables = 0
    var index = text.startIndex
    func flush() {
      if !literal.isEmpty { pieces.append(.literal(literal)) }
      literal = []
    }
    while index < text.endIndex {
      switch text[index] {
      case Tokenizer.variable:
        flush()
        pieces.append(.variable(variables))
        variables += 1
      case Tokenizer.reference:
        flush()
        index += 1
        guard index < text.endIndex, text[index] >= Tokenizer.referenceBase,
          Int(text[index] - Tokenizer.referenceBase) < references
        else { throw BlockFault("a template refers to nothing") }
        pieces.append(.reference(Int(text[index] - Tokenizer.referenceBase)))
      default: literal.append(text[index])
      }
      index += 1
    }
    flush()
    return pieces
  }
}
