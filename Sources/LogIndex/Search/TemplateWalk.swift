/// Decides about the values of one template one by one, and reads of each only the variables that matter: what is known from a
/// piece and a state on is kept.
struct TemplateWalk {
  private static let unknown: Int32 = -1
  private static let no: Int32 = 0
  private static let yes: Int32 = 1
  /// Above these two: the piece to read, and the state before it in so many bits.
  private static let first: Int32 = 2
  private static let stateBits: Int32 = 12

  private let reader: TemplateReader
  private let template: Int
  private let start: Int
  /// By piece and state.
  private var known: [[Int32]]
  private var lists: [ListReader?]
  private var text: [UInt8] = []
  private var generation: Int

  init(_ reader: TemplateReader, _ template: Int, pieces: Range<Int>, _ matcher: RegexMatcher) {
    self.reader = reader
    self.template = template
    start = pieces.lowerBound
    known = Array(repeating: [], count: pieces.count + 1)
    lists = Array(repeating: nil, count: pieces.count)
    generation = matcher.generation
  }

  /// Whether the expression matches the value of this number; nil when the matcher forgot its states on the way.
  mutating func matches(
    _ ordinal: Int, row: Int, of block: Block, _ judge: inout TemplateJudge, _ matcher: inout RegexMatcher
  ) throws(BlockFault) -> Bool? {
    if generation != matcher.generation {
      known = Array(repeating: [], count: known.count)
      generation = matcher.generation
    }
    var place = 0
    var state = matcher.start
    while true {
      let slot = Int(state)
      if known[place].count <= slot {
        known[place] += repeatElement(Self.unknown, count: slot + 1 - known[place].count)
      }
      if known[place][slot] == Self.unknown {
        switch try judge.outcome(template, from: start + place, state, &matcher) {
        case .no: known[place][slot] = Self.no
        case .yes: known[place][slot] = Self.yes
        case .read(let next, let state):
          known[place][slot] = Self.first + (Int32(next - start) << Self.stateBits | state)
        case nil: return nil
        }
      }
      let outcome = known[place][slot]
      if outcome < Self.first { return outcome == Self.yes }
      place = Int((outcome - Self.first) >> Self.stateBits)
      state = (outcome - Self.first) & (1 << Self.stateBits - 1)
      let piece = judge.pieces.pieces[start + place]
      let seen = piece.kind == .reference ? try judge.state(behind: piece.number, of: row, from: state, &matcher) : nil
      if let seen {
        state = seen
      } else {
        try read(piece, at: place, ordinal, row, block)
        state = matcher.advance(state, text.contains(0x5C) ? JSONText.unescaped(text[...])[...] : text[...])
      }
      place += 1
      if matcher.generation != generation { return nil }
    }
  }

  private mutating func read(
    _ piece: TemplatePieces.Piece, at place: Int, _ ordinal: Int, _ row: Int, _ block: Block
  ) throws(BlockFault) {
    text.removeAll(keepingCapacity: true)
    guard piece.kind == .variable else {
      return try TemplateReader.append(reader.column.columns[piece.number], row: row, of: block, to: &text)
    }
    let list: ListReader
    if let known = lists[place] {
      list = known
    } else {
      list = try reader.variables(template, piece.number, block)
      lists[place] = list
    }
    try list.append(Int(reader.ranks[ordinal]), row: row, of: block, to: &text)
  }
}

/// The states behind the values of a column that templates refer to: a text that many records have is read once.
final class ReferenceStates {
  /// States before a value of which those behind are kept, at most.
  private static let statesMaximum = 8
  private static let unknown: Int32 = -1

  private let block: Block
  private let rows: BlockRows
  private let column: Int
  private let presence: Presence
  private let texts: ListReader
  private let count: Int
  private let numbers: Numbers
  /// By number of the text: the state behind it.
  private var known: [(before: Int32, behind: [Int32])] = []
  private var generation = 0

  /// Nil when the column has no dictionary.
  init?(_ column: Int, of block: Block) throws(BlockFault) {
    guard column < block.columnCounts.count,
      case .dictionary(let texts, let count, let numbers) = try block.column(column).body
    else { return nil }
    self.block = block
    self.column = column
    (self.texts, self.count, self.numbers) = (texts, count, numbers)
    rows = try block.rows()
    presence = rows.presence(column)
  }

  /// The state behind a record's value; nil when it is to be read as any other.
  func state(of row: Int, from before: Int32, _ matcher: inout RegexMatcher) throws(BlockFault) -> Int32? {
    if generation != matcher.generation {
      known = []
      generation = matcher.generation
    }
    guard rows.has(rows.shapes[row], column) else { return nil }
    let place: Int
    if let found = known.firstIndex(where: { $0.before == before }) {
      place = found
    } else {
      guard known.count < Self.statesMaximum else { return nil }
      place = known.count
      known.append((before, Array(repeating: Self.unknown, count: count)))
    }
    let number = Int(numbers[presence.ordinal(row)])
    if known[place].behind[number] != Self.unknown { return known[place].behind[number] }
    let raw = try texts.text(number, row: row, of: block)
    let behind = matcher.advance(before, raw.contains(0x5C) ? JSONText.unescaped(raw[...])[...] : raw[...])
    known[place].behind[number] = behind
    return behind
  }
}
