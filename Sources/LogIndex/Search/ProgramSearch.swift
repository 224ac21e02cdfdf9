/// Finds values that an expression matches: a template is judged once, and values of it are read only where their
/// variables decide, from the first of these on.
struct ProgramSearch {
  /// Matches between two looks at the clock, in bytes or as much work.
  private static let workMaximum = 1 << 20

  private let field: LogField
  private let program: RegexProgram
  private let search: BlockSearch

  init(_ program: RegexProgram, of field: LogField, _ search: BlockSearch) {
    self.field = field
    self.program = program
    self.search = search
  }

  func matches(_ candidates: RowSet) throws(BlockFault) -> RowSet {
    try program.withMatcher { (matcher: inout RegexMatcher) throws(BlockFault) in try matches(candidates, &matcher) }
  }

  private func matches(_ candidates: RowSet, _ matcher: inout RegexMatcher) throws(BlockFault) -> RowSet {
    let plan = search.plan(field)
    var rest = candidates
    var found = RowSet(rows: search.block.rowCount)
    for (column, kind) in plan.columns.sorted(by: { $0.key < $1.key }) where kind == SlotKind.string {
      guard case .template(let reader) = try search.block.column(column).body, field != .reserved(.level) else {
        continue
      }
      let holders = search.holders(column, plan, candidates)
      rest.subtract(holders)
      try addMatches(reader, column, holders, &matcher, to: &found)
    }
    // All but the templates, one value after another. A field that is absent or null is no match.
    if !rest.isEmpty {
      found.formUnion(
        try search.leaf(field, rest) { value in
          guard let value, value.kind != .null else { return false }
          return matcher.matches(field == .reserved(.level) ? FieldValue.canonicalLevel(value) : value.text)
        })
    }
    return found
  }

  private func addMatches(
    _ reader: TemplateReader, _ column: Int, _ holders: RowSet, _ matcher: inout RegexMatcher, to found: inout RowSet
  ) throws(BlockFault) {
    let block = search.block
    var kinds: [TextKind] = []
    for column in reader.column.columns { kinds.append(try block.characters(column)) }
    var judge = TemplateJudge(program, references: kinds, matcher)
    var verdicts = [TemplateJudge.Verdict.perhaps]
    for template in reader.column.templates { verdicts.append(judge.verdict(template, &matcher)) }
    if verdicts.contains(.yes) {
      found.formUnion(search.select(column, holders, reader.numbers, verdicts.map { $0 == .yes }))
    }
    if reader.hasPlain { try addPlain(reader, column, holders, &matcher, to: &found) }
    verdicts[0] = .no
    guard verdicts.contains(.perhaps) else { return }
    let open = search.select(column, holders, reader.numbers, verdicts.map { $0 == .perhaps })
    var tails: [TemplateTail?] = Array(repeating: nil, count: verdicts.count)
    var checked = matcher.work
    let presence = search.rows.presence(column)
    try open.forEach { row throws(BlockFault) in
      let ordinal = presence.ordinal(row)
      let number = Int(reader.numbers[ordinal])
      if tails[number]?.generation != matcher.generation {
        tails[number] = try TemplateTail(reader, number - 1, block, &matcher)
      }
      if try tails[number]?.matches(Int(reader.ranks[ordinal]), row: row, of: block, &matcher) ?? false {
        found.insert(row)
      }
      try check(matcher, &checked)
    }
  }

  /// Looks at the values without a template: at those that hold what every match does.
  private func addPlain(
    _ reader: TemplateReader, _ column: Int, _ holders: RowSet, _ matcher: inout RegexMatcher, to found: inout RowSet
  ) throws(BlockFault) {
    let block = search.block
    let templates = reader.column.templates.count
    let plain = search.select(
      column, holders, reader.numbers, [true] + Array(repeating: false, count: templates))
    let first = reader.column.firstText
    let finder = LiteralFinder(program.literals)
    let near = try finder.map { finder throws(BlockFault) in
      try block.texts(first..<(first + reader.plainCount), holding: finder)
    }
    if let near, near.isEmpty { return }
    let presence = search.rows.presence(column)
    var checked = matcher.work
    try plain.forEach { row throws(BlockFault) in
      let rank = Int(reader.ranks[presence.ordinal(row)])
      if let near, !near.contains(rank) { return }
      let raw = try block.text(first + rank)
      if matcher.matches(raw.contains(0x5C) ? JSONText.unescaped(raw)[...] : raw) { found.insert(row) }
      try check(matcher, &checked)
    }
  }

  /// Looks at the clock now and then.
  @inline(__always) private func check(_ matcher: RegexMatcher, _ checked: inout Int) throws(BlockFault) {
    guard matcher.work - checked > Self.workMaximum else { return }
    checked = matcher.work
    try search.deadline.check()
  }
}

/// What follows the first variable of a template, and the state of an expression before it.
private struct TemplateTail {
  private enum Piece {
    case literal([UInt8])
    case variable(ListReader)
    case column(Int)
  }

  /// That of the matcher when this was made.
  let generation: Int
  private let state: Int32
  private var pieces: [Piece] = []
  private var text: [UInt8] = []

  init(
    _ reader: TemplateReader, _ template: Int, _ block: Block, _ matcher: inout RegexMatcher
  ) throws(BlockFault) {
    var state = matcher.start
    for piece in reader.column.templates[template].pieces {
      switch piece {
      case .literal(let literal):
        let plain = literal.contains(0x5C) ? JSONText.unescaped(literal[...]) : literal
        if pieces.isEmpty { state = matcher.advance(state, plain[...]) } else { pieces.append(.literal(plain)) }
      case .variable(let variable): pieces.append(.variable(try reader.variables(template, variable, block)))
      case .reference(let reference): pieces.append(.column(reader.column.columns[reference]))
      }
    }
    self.state = state
    generation = matcher.generation
  }

  /// Whether the expression matches the template with the variables of this number.
  mutating func matches(
    _ rank: Int, row: Int, of block: Block, _ matcher: inout RegexMatcher
  ) throws(BlockFault) -> Bool {
    var state = state
    for piece in pieces {
      if RegexMatcher.isFound(state) || RegexMatcher.isDead(state) { break }
      switch piece {
      case .literal(let literal): state = matcher.advance(state, literal[...])
      case .variable(let list):
        text.removeAll(keepingCapacity: true)
        try list.append(rank, row: row, of: block, to: &text)
        state = matcher.advance(state, text[...])
      case .column(let column):
        text.removeAll(keepingCapacity: true)
        try TemplateReader.append(column, row: row, of: block, to: &text)
        state = matcher.advance(state, text.contains(0x5C) ? JSONText.unescaped(text[...])[...] : text[...])
      }
    }
    return matcher.matches(endingIn: state)
  }
}
