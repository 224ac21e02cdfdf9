/// Finds values that a regular expression matches: a template is looked at once, and values of it are put together only
/// where their variables decide.
struct RegexSearch {
  private enum Verdict {
    case yes, no, perhaps
  }

  /// Matches between two looks at the clock, in bytes or as much work.
  private static let workMaximum = 1 << 20

  private let filter: RegexFilter
  private let search: BlockSearch
  /// Of the texts that every match holds, what no variable can be part of.
  private let cores: [[[UInt8]]]

  init(_ filter: RegexFilter, _ search: BlockSearch) {
    self.filter = filter
    self.search = search
    cores = filter.program.literals.lists.map { $0.map(TemplateScreen.core) }.filter { !$0.contains([]) }
  }

  func matches(_ candidates: RowSet) throws(BlockFault) -> RowSet {
    let block = search.block
    let plan = search.plan(filter.field)
    var rest = candidates
    var found = RowSet(rows: block.rowCount)
    var isAll = false
    for (column, kind) in plan.columns.sorted(by: { $0.key < $1.key }) where kind == SlotKind.string {
      guard case .template(let reader) = try block.column(column).body, filter.field != .reserved(.level) else {
        continue
      }
      isAll = !plan.hasMore(than: column)
      if !isAll { search.values(column, plan, candidates) { row, _ in rest.remove(row) } }
      try addMatches(reader, column, plan, candidates, to: &found)
    }
    // All but the templates, one value after another. A field that is absent or null is no match.
    if !isAll, !rest.isEmpty {
      let others = try filter.program.withMatcher { (matcher: inout RegexMatcher) throws(BlockFault) -> RowSet in
        try search.leaf(filter.field, rest) { filter.matches($0, &matcher) }
      }
      found.formUnion(others)
    }
    return found
  }

  private func addMatches(
    _ reader: TemplateReader, _ column: Int, _ plan: BlockSearch.FieldPlan, _ candidates: RowSet, to found: inout RowSet
  ) throws(BlockFault) {
    let block = search.block
    try filter.program.withMatcher { (matcher: inout RegexMatcher) throws(BlockFault) in
      let verdicts = try [.perhaps] + self.verdicts(reader, &matcher)
      if !reader.hasPlain, verdicts.dropFirst().allSatisfy({ $0 == .no }) { return }
      var text: [UInt8] = []
      var checked = matcher.work
      try search.values(column, plan, candidates) { (row, ordinal) throws(BlockFault) in
        switch verdicts[Int(reader.numbers[ordinal])] {
        case .yes: found.insert(row)
        case .no: break
        case .perhaps:
          text.removeAll(keepingCapacity: true)
          try reader.append(ordinal, row: row, of: block, to: &text)
          if filter.matches(FieldValue(slot: SlotKind.string, raw: text), &matcher) { found.insert(row) }
          if matcher.work - checked > Self.workMaximum {
            checked = matcher.work
            try search.deadline.check()
          }
        }
      }
    }
  }

  private func verdicts(_ reader: TemplateReader, _ matcher: inout RegexMatcher) throws(BlockFault) -> [Verdict] {
    var kinds: [TemplateScreen.Kind] = []
    for column in reader.column.columns { kinds.append(try search.block.characters(column)) }
    let texts = reader.texts
    return reader.column.templates.enumerated().map { number, template in
      // What no value can hold rules most templates out.
      for choices in cores {
        guard choices.allSatisfy({ TextFold.find($0, in: texts[number], from: texts[number].startIndex) == nil }) else {
          continue
        }
        if !template.references { return .no }
      }
      return verdict(template, kinds, &matcher)
    }
  }

  /// What a template alone says.
  private func verdict(
    _ template: TemplateColumn.Template, _ kinds: [TemplateScreen.Kind], _ matcher: inout RegexMatcher
  ) -> Verdict {
    var isFirst = true
    for piece in template.pieces {
      if case .literal(let literal) = piece {
        let plain = literal.contains(0x5C) ? JSONText.unescaped(literal[...])[...] : literal[...]
        if template.pieces.count == 1 { return matcher.matches(plain) ? .yes : .no }
        // What matches a part matches the whole, unless it asks what stands beside it.
        if isFirst || !filter.program.hasEdges, matcher.matches(beginning: plain) { return .yes }
      }
      isFirst = false
    }
    let screen = TemplateScreen(template, kinds: kinds)
    for choices in filter.program.literals.lists where !choices.contains(where: { screen.mayHold($0) }) { return .no }
    return .perhaps
  }
}
