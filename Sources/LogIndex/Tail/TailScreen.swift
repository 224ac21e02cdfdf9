/// What the bytes of a record must have to match a tail's query: cheap to look for, and most records of others end here.
struct TailScreen {
  private let levels: UInt8
  /// Texts that the bytes of every match hold, unless they hold an escape.
  private let texts: [[UInt8]]
  /// The same in lower case, for what is found in either.
  private let folded: [[UInt8]]

  init(_ query: LogQuery, scope: LogScope) {
    levels = Pruning(query, scope: scope).levels ?? .max
    var (texts, folded): ([[UInt8]], [[UInt8]]) = ([], [])
    Self.gather(query.filter, &texts, &folded)
    self.texts = texts
    self.folded = folded
  }

  private static func gather(_ filter: LogFilter, _ texts: inout [[UInt8]], _ folded: inout [[UInt8]]) {
    switch filter {
    case .all(let filters):
      for filter in filters { gather(filter, &texts, &folded) }
    case .equals(let filter):
      // The level is spelled as its sender likes it.
      if filter.isText, filter.field != .reserved(.level), isSpelledSo(filter.text) { texts.append(filter.text) }
    case .text(let filter):
      guard filter.isASCII, let longest = filter.parts.max(by: { $0.count < $1.count }) else { return }
      if isSpelledSo(longest) { folded.append(longest) }
    case .everything, .any, .not, .pattern, .regex, .exists, .range, .level, .time: break
    }
  }

  /// Whether JSON spells a text as it is, when it has no escape.
  private static func isSpelledSo(_ text: [UInt8]) -> Bool {
    !text.isEmpty && !text.contains { $0 < 0x20 || $0 == 0x22 || $0 == 0x5C }
  }

  /// False when the record certainly does not match.
  func mayMatch(_ row: Memtable.Row, of table: Memtable) -> Bool {
    if levels & (1 << row.level) == 0 { return false }
    if row.hasEscape { return true }
    let line = UnsafeBufferPointer(start: table.base + Int(row.start), count: Int(row.length))
    return texts.allSatisfy { Self.holds($0, line) } && folded.allSatisfy { Self.holdsFolded($0, line) }
  }

  private static func holds(_ text: [UInt8], _ line: UnsafeBufferPointer<UInt8>) -> Bool {
    text.withUnsafeBufferPointer { text in
      guard let start = text.baseAddress, let base = line.baseAddress else { return true }
      return ByteSearch.find(start, text.count, in: base, line.count) != nil
    }
  }

  private static func holdsFolded(_ text: [UInt8], _ line: UnsafeBufferPointer<UInt8>) -> Bool {
    guard let first = text.first, text.count <= line.count else { return text.isEmpty }
    for start in 0...(line.count - text.count) where ASCII.lowered(line[start]) == first {
      if text.indices.allSatisfy({ ASCII.lowered(line[start + $0]) == text[$0] }) { return true }
    }
    return false
  }
}
