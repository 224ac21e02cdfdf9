/// What a block's filter is asked before the block is looked at: of every list, one token must be there.
struct BloomProbes: Sendable {
  let lists: [[UInt64]]

  init(_ filter: LogFilter) {
    lists = Self.lists(filter).map { $0 + [BloomToken.openRecords] }
  }

  func allow(_ bloom: BloomFilter) -> Bool {
    lists.allSatisfy { list in list.contains { bloom.mayHold($0) } }
  }

  private static func lists(_ filter: LogFilter) -> [[UInt64]] {
    switch filter {
    case .all(let filters): return filters.flatMap { lists($0) }
    case .any(let filters):
      let choices = filters.map { lists($0) }
      // Each choice gives one of its demands; a choice that demands nothing makes the whole demand nothing.
      guard !choices.isEmpty, choices.allSatisfy({ !$0.isEmpty }) else { return [] }
      return [choices.compactMap(\.first).flatMap { $0 }]
    case .equals(let filter):
      // An empty text also stands for nothing at all in some answers, and numbers have many spellings.
      guard filter.isText, !filter.text.isEmpty, filter.field != .reserved(.msg), filter.field != .reserved(.time),
        filter.field != .reserved(.level)
      else { return [] }
      if filter.text.elementsEqual("null".utf8) { return [] }
      // The filter holds no numbers, and a number too large for arithmetic is found by its text.
      if filter.text.allSatisfy({ ASCII.isDigit($0) || "+-.eE".utf8.contains($0) }) { return [] }
      return [[BloomToken.value(filter.field, filter.text), BloomToken.open(filter.field)]]
    case .text(let filter): return words(filter).map { [BloomToken.word($0), BloomToken.openWords] }
    case .regex(let filter): return filter.field == .reserved(.msg) ? words(filter.program.literals) : []
    case .everything, .not, .pattern, .exists, .range, .level, .time: return []
    }
  }

  /// What stands between the first and the last word of each text that a match must hold: those may go on beside it.
  private static func words(_ literals: RegexLiterals) -> [[UInt64]] {
    literals.lists.flatMap { choices -> [[UInt64]] in
      let inside = choices.map { words(TextFilter(parts: [[], $0, []])) }
      guard inside.allSatisfy({ !$0.isEmpty }) else { return [] }
      // Of one text every word is there; of several, at least the longest word of one.
      if let only = inside.first, inside.count == 1 { return only.map { [BloomToken.word($0), BloomToken.openWords] } }
      return [inside.compactMap { $0.max { $0.count < $1.count } }.map { BloomToken.word($0) } + [BloomToken.openWords]]
    }
  }

  /// The whole words of a text: those that do not touch a star.
  private static func words(_ filter: TextFilter) -> [[UInt8]] {
    guard filter.isASCII else { return [] }
    var words: [[UInt8]] = []
    for (number, part) in filter.parts.enumerated() {
      for word in part.split(whereSeparator: { !ASCII.isWord($0) }) {
        if number > 0, word.startIndex == part.startIndex { continue }
        if number < filter.parts.count - 1, word.endIndex == part.endIndex { continue }
        words.append(Array(word))
      }
    }
    return words
  }
}
