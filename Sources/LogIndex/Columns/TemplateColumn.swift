/// A column of templates and variables: what its directory says.
struct TemplateColumn: Sendable {
  struct Template: Sendable {
    /// Where its variables begin among all of the column.
    var firstVariable: Int
    /// How many values each variable has; as many as one likes when there is none.
    var count: Int
  }

  /// The columns references point to.
  let columns: [Int]
  let templates: [Template]
  /// The templates' pieces, their literal text as JSON spells it.
  let pieces: TemplatePieces
  /// The variables of all templates, one template's behind another's.
  let variables: [ListColumn]
  /// The template of each value, from 1; 0 for a text of the heap.
  let numbers: IntColumn
  let firstText: Int
  let count: Int

  init(_ reader: inout ByteReader, count: Int, size: Int, texts: Int) throws(BlockFault) {
    self.count = count
    var columns: [Int] = []
    for _ in 0..<(try reader.int(64)) { columns.append(try reader.int(1 << 16)) }
    self.columns = columns
    var pieces = TemplatePieces()
    let templateCount = try reader.int(TemplateWriter.templatesMaximum)
    for _ in 0..<templateCount { try pieces.append(try reader.blob(), references: columns.count) }
    numbers = try IntColumn(&reader, size: size, most: count)
    guard numbers.count == count else { throw BlockFault("a column's templates are missing") }
    firstText = try reader.int(texts)
    var templates: [Template] = []
    templates.reserveCapacity(templateCount)
    var variables: [ListColumn] = []
    variables.reserveCapacity(pieces.pieces.count { $0.kind == .variable })
    for number in 0..<templateCount {
      var total: Int?
      let first = variables.count
      for place in pieces.range(number) where pieces.pieces[place].kind == .variable {
        let (list, length) = try ListColumn.read(&reader, size: size, most: count, texts: texts)
        if case .template = list { throw BlockFault("a template inside a template") }
        guard total == nil || total == length else { throw BlockFault("a template's variables are uneven") }
        total = length
        pieces.describe(place, list)
        variables.append(list)
      }
      templates.append(Template(firstVariable: first, count: total ?? .max))
    }
    self.templates = templates
    self.pieces = pieces
    self.variables = variables
  }

  /// Bytes it takes beside what it lies in.
  var heldBytes: Int {
    variables.reduce(MemoryLayout<TemplateColumn>.stride + pieces.heldBytes) {
      $0 + $1.heldBytes + MemoryLayout<ListColumn>.stride
    } + templates.count * MemoryLayout<Template>.stride
  }
}
