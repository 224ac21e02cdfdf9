/// Finds values that an expression matches: a template is judged once, and of its values only the variables are read that
/// decide.
struct ProgramSearch {
  /// Matches between two looks at the clock, in bytes or as much work.
  private static let workMaximum = 1 << 20
  /// So often a matcher may forget its states in one block before its values are read as a whole.
  private static let generationsMaximum = 16

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
    var judge = TemplateJudge(program, reader, of: search.block, matcher)
    var isSure = [false]
    var isOpen = [false]
    for template in reader.column.templates.indices {
      let first = judge.pieces.range(template).lowerBound
      let outcome = try judge.outcome(template, from: first, matcher.start, &matcher)
      switch outcome {
      case .yes: isSure.append(true)
      case .no, .read, nil: isSure.append(false)
      }
      switch outcome {
      case .read, nil: isOpen.append(true)
      case .no, .yes: isOpen.append(false)
      }
    }
    if isSure.contains(true) { found.formUnion(search.select(column, holders, reader.numbers, isSure)) }
    if reader.hasPlain { try addPlain(reader, column, holders, &matcher, to: &found) }
    guard isOpen.contains(true) else { return }
    let open = search.select(column, holders, reader.numbers, isOpen)
    var walks: [TemplateWalk?] = Array(repeating: nil, count: isOpen.count)
    let (begun, presence) = (matcher.generation, search.rows.presence(column))
    var checked = matcher.work
    var text: [UInt8] = []
    try open.forEach { row throws(BlockFault) in
      let ordinal = presence.ordinal(row)
      let number = Int(reader.numbers[ordinal])
      var isMatch: Bool?
      // An expression of very many states makes what is known of them worth little.
      if matcher.generation - begun <= Self.generationsMaximum {
        if walks[number] == nil {
          walks[number] = TemplateWalk(reader, number - 1, pieces: judge.pieces.range(number - 1), matcher)
        }
        isMatch = try walks[number]?.matches(ordinal, row: row, of: search.block, &judge, &matcher)
      }
      if isMatch == nil {
        text.removeAll(keepingCapacity: true)
        try reader.append(ordinal, row: row, of: search.block, to: &text)
        isMatch = matcher.matches(text.contains(0x5C) ? JSONText.unescaped(text[...])[...] : text[...])
      }
      if isMatch == true { found.insert(row) }
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
