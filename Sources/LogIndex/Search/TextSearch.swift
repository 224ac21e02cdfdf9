/// Finds messages by their text: templates are looked at once, and only those whose variables could decide are put
/// together.
struct TextSearch {
  private enum Verdict {
    case yes, no, perhaps
  }

  /// Bytes of messages put together between two looks at the clock.
  private static let bytesMaximum = 1 << 16

  private let filter: TextFilter
  private let search: BlockSearch
  /// The runs of ASCII letters and digits of the wanted text; nil when a variable may be part of it.
  private let runs: [[UInt8]]?

  init(_ filter: TextFilter, _ search: BlockSearch) {
    self.filter = filter
    self.search = search
    runs = Self.runs(filter)
  }

  func matches(_ candidates: RowSet) throws(BlockFault) -> RowSet {
    let block = search.block
    let plan = search.plan(.reserved(.msg))
    var template: (Int, TemplateReader)?
    for column in plan.columns.keys.sorted() where template == nil {
      if case .template(let reader) = try block.column(column).body { template = (column, reader) }
    }
    guard let (column, reader) = template, plan.columns[column] == SlotKind.string, filter.isASCII else {
      return try search.leaf(.reserved(.msg), candidates) { filter.matches($0) }
    }
    // All but the templates in the plain way. A message that is absent or null is no match.
    var found = RowSet(rows: block.rowCount)
    if plan.hasMore(than: column) {
      var rest = candidates
      search.values(column, plan, candidates) { row, _ in rest.remove(row) }
      found = try search.leaf(.reserved(.msg), rest) { filter.matches($0) }
    }
    let texts = reader.texts
    var verdicts: [Verdict] = [.perhaps]
    for (number, template) in reader.column.templates.enumerated() {
      verdicts.append(try verdict(template, texts[number], reader.column))
    }
    if !reader.hasPlain, verdicts.dropFirst().allSatisfy({ $0 == .no }) { return found }
    var text: [UInt8] = []
    var left = Self.bytesMaximum
    try search.values(column, plan, candidates) { (row, ordinal) throws(BlockFault) in
      switch verdicts[Int(reader.numbers[ordinal])] {
      case .yes: found.insert(row)
      case .no: break
      case .perhaps:
        text.removeAll(keepingCapacity: true)
        try reader.append(ordinal, row: row, of: block, to: &text)
        if filter.matches(FieldValue(slot: SlotKind.string, raw: text)) { found.insert(row) }
        left -= text.count
        if left < 0 {
          left = Self.bytesMaximum
          try search.deadline.check()
        }
      }
    }
    return found
  }

  /// What a template alone says.
  private func verdict(
    _ template: TemplateColumn.Template, _ text: ArraySlice<UInt8>, _ column: TemplateColumn
  ) throws(BlockFault) -> Verdict {
    if filter.matches(text) { return filter.parts.count > 1 && template.references ? .perhaps : .yes }
    if template.variables.isEmpty, !template.references { return .no }
    guard let runs else { return .perhaps }
    for piece in template.pieces {
      if case .reference(let reference) = piece, try mayHold(column.columns[reference], runs) { return .perhaps }
    }
    return .no
  }

  /// Whether any of the runs, or a text without any run, may be in a referenced column.
  private func mayHold(_ column: Int, _ runs: [[UInt8]]) throws(BlockFault) -> Bool {
    guard column < search.block.columnCounts.count else { return true }
    switch try search.block.column(column).body {
    case .uuid, .hex: return runs.contains { Self.isHex($0) }
    case .constant(let text): return Self.holds(text, runs)
    case .decimal, .padded: return false
    case .dictionary(let distinct, let count, _):
      switch distinct.body {
      case .uuid, .hex: return runs.contains { Self.isHex($0) }
      default:
        for value in 0..<min(count, 4_096) where Self.holds(try distinct.text(value, row: 0, of: search.block), runs) {
          return true
        }
        return count > 4_096
      }
    case .template(let reader):
      let plain = reader.numbers.reduce(0) { $0 + ($1 == 0 ? 1 : 0) }
      if plain > 4_096 { return true }
      for rank in 0..<plain {
        if Self.holds(Array(try search.block.text(reader.column.firstText + rank)), runs) { return true }
      }
      return reader.column.templates.contains { template in
        template.pieces.contains { piece in
          if case .literal(let text) = piece { return Self.holdsRun(text, runs) }
          return false
        }
          || !template.pieces.contains { if case .variable = $0 { true } else { false } }
            && template.pieces.allSatisfy { if case .literal(let text) = $0 { !Self.hasRun(text) } else { true } }
      }
    case .text: return true
    }
  }

  /// The runs of a text without stars that begins and ends with one and holds none that could be a variable's.
  private static func runs(_ filter: TextFilter) -> [[UInt8]]? {
    guard filter.parts.count == 1, let text = filter.parts.first, let first = text.first, let last = text.last,
      isRun(first), isRun(last)
    else { return nil }
    let runs = text.split { !isRun($0) }.map { Array($0) }
    for run in runs where run.contains(where: ASCII.isDigit) || hexRun(run) >= 8 { return nil }
    return runs
  }

  /// The length of the longest run of hexadecimal digits.
  private static func hexRun(_ run: [UInt8]) -> Int {
    var longest = 0
    var length = 0
    for byte in run {
      length = JSONText.hexValue(byte) != nil ? length + 1 : 0
      longest = max(longest, length)
    }
    return longest
  }

  private static func isRun(_ byte: UInt8) -> Bool { ASCII.isWord(byte) && byte != 0x5F && byte < 0x80 }

  private static func isHex(_ run: [UInt8]) -> Bool { run.allSatisfy { JSONText.hexValue($0) != nil } }

  private static func hasRun(_ text: [UInt8]) -> Bool { text.contains { isRun($0) } }

  /// Whether a value has one of the runs, or none at all and so may lie between two of them.
  private static func holds(_ text: [UInt8], _ runs: [[UInt8]]) -> Bool {
    let plain = text.contains(0x5C) ? JSONText.unescaped(text[...]) : text
    return !hasRun(plain) || holdsRun(plain, runs)
  }

  private static func holdsRun(_ text: [UInt8], _ runs: [[UInt8]]) -> Bool {
    if text.contains(0x5C) { return true }
    let slice = text[...]
    return runs.contains { TextFold.find($0, in: slice, from: 0) != nil }
  }
}
