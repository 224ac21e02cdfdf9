/// What an expression makes of templates, whatever their variables are: the expression is run over the literal text, and over
/// a variable from a state to all that the characters it may have can lead to.
struct TemplateJudge {
  /// What is known from a piece of a template on.
  enum Outcome {
    case no, yes
    /// It depends on the piece at this place, before which the expression is in this state.
    case read(place: Int, state: Int32)
  }

  /// States looked at together, at most; where there would be more nothing is known.
  private static let statesMaximum = 64
  /// Columns with more texts than this may hold anything.
  private static let textsMaximum = 4_096

  private let program: RegexProgram
  private let block: Block
  private let reader: TemplateReader
  let pieces: TemplatePieces
  /// By what varies and the state before it: the states behind it.
  private var ways: [UInt64: [Int32]] = [:]
  /// Classes of bytes: digits, hexadecimal digits, those and the dash, letters and digits, what decimals have, any.
  private let classes: [[Int]]
  private static let digits = 0
  private static let hex = 1
  private static let decimals = 4
  private static let any = 5
  private var generation: Int
  /// By number of the reference, as far as they were asked for.
  private var references: [Int: ReferenceStates?] = [:]

  init(_ program: RegexProgram, _ reader: TemplateReader, of block: Block, _ matcher: RegexMatcher) {
    self.program = program
    self.block = block
    self.reader = reader
    pieces = reader.pieces
    generation = matcher.generation
    func isHex(_ byte: UInt8) -> Bool { ASCII.isDigit(byte) || (byte >= 0x61 && byte <= 0x66) }
    let kinds: [(UInt8) -> Bool] = [
      ASCII.isDigit, isHex, { isHex($0) || $0 == 0x2D }, { ASCII.isWord($0) && $0 != 0x5F && $0 < 0x80 },
      { ASCII.isDigit($0) || $0 == 0x2D || $0 == 0x2E }, { _ in true },
    ]
    classes = kinds.map { holds in
      var found = Array(repeating: false, count: program.classCount)
      for byte: UInt8 in 0...0xFF where holds(byte) { found[Int(program.classes[Int(byte)])] = true }
      return found.indices.filter { found[$0] }
    }
  }

  /// What all texts of a template have in common from a piece on, before which the expression is in a state. Where the matcher
  /// forgot its states meanwhile nothing is known of those of before: nil.
  mutating func outcome(
    _ template: Int, from first: Int, _ before: Int32, _ matcher: inout RegexMatcher
  ) throws(BlockFault) -> Outcome? {
    if matcher.generation != generation {
      ways = [:]
      generation = matcher.generation
    }
    let end = pieces.range(template).upperBound
    var (place, state) = (first, before)
    while place < end, !RegexMatcher.isFound(state), !RegexMatcher.isDead(state) {
      let piece = pieces.pieces[place]
      if piece.kind == .literal {
        state = matcher.advance(state, pieces.text(piece))
        place += 1
        continue
      }
      // On with all states there may be, until they are one again.
      var next = place
      var states: [Int32]? = [state]
      repeat {
        states = try after(pieces.pieces[next], states ?? [], &matcher)
        next += 1
      } while next < end && states?.count ?? 0 > 1
      guard matcher.generation == generation else { return nil }
      guard let states else { return .read(place: place, state: state) }
      if states.count == 1 {
        (place, state) = (next, states[0])
        continue
      }
      var hits = 0
      for state in states where matcher.matches(endingIn: state) { hits += 1 }
      guard matcher.generation == generation else { return nil }
      return hits == 0 ? .no : hits == states.count ? .yes : .read(place: place, state: state)
    }
    let isMatch = matcher.matches(endingIn: state)
    return matcher.generation == generation ? isMatch ? .yes : .no : nil
  }

  /// The states behind a piece from any of some states; nil when there are too many.
  private mutating func after(
    _ piece: TemplatePieces.Piece, _ states: [Int32], _ matcher: inout RegexMatcher
  ) throws(BlockFault) -> [Int32]? {
    var all: [Int32] = []
    for state in states {
      if piece.kind == .literal {
        all.append(matcher.advance(state, pieces.text(piece)))
        continue
      }
      let what = (UInt64(piece.number) << 1 | 1) << 9
      let kind = UInt64(piece.characters.rawValue) << 8 | UInt64(piece.length)
      let key = (piece.kind == .variable ? kind << 1 : what) << 32 | UInt64(UInt32(bitPattern: state))
      if let known = ways[key] {
        all += known
        continue
      }
      let found =
        piece.kind == .variable
        ? variable(piece, state, &matcher) : try refer(reader.column.columns[piece.number], state, &matcher)
      guard let found else { return nil }
      ways[key] = found
      all += found
    }
    if states.count > 1 { Self.settle(&all) }
    return all.count <= Self.statesMaximum && matcher.generation == generation ? all : nil
  }

  /// The states behind any variable of a kind.
  private func variable(_ piece: TemplatePieces.Piece, _ state: Int32, _ matcher: inout RegexMatcher) -> [Int32]? {
    let kind = Int(piece.characters.rawValue)
    guard piece.characters == .letters else {
      return run(kind, length: Int(piece.length), isEmpty: false, state, &matcher)
    }
    // It has a digit, or is eight hexadecimal digits at least.
    guard let before = closure(kind, [state], &matcher),
      var reached = closure(kind, onward(Self.digits, before, &matcher), &matcher),
      let first = run(Self.hex, length: 8, isEmpty: false, state, &matcher),
      let others = closure(Self.hex, first, &matcher)
    else { return nil }
    reached += others
    Self.settle(&reached)
    return reached
  }

  /// The states behind characters of a kind, so many or, without a length, any number.
  private func run(
    _ kind: Int, length: Int, isEmpty: Bool, _ state: Int32, _ matcher: inout RegexMatcher
  ) -> [Int32]? {
    var reached = [state]
    for _ in 0..<(length > 0 ? length : isEmpty ? 0 : 1) {
      reached = onward(kind, reached, &matcher)
      guard reached.count <= Self.statesMaximum, matcher.generation == generation else { return nil }
    }
    return length > 0 ? reached : closure(kind, reached, &matcher)
  }

  /// The states that any number of characters of a kind lead to, none too.
  private func closure(_ kind: Int, _ states: [Int32], _ matcher: inout RegexMatcher) -> [Int32]? {
    var reached = states
    var next = 0
    while next < reached.count {
      for kind in classes[kind] {
        let state = matcher.advance(reached[next], class: kind)
        if !reached.contains(state) { reached.append(state) }
      }
      next += 1
      guard reached.count <= Self.statesMaximum, matcher.generation == generation else { return nil }
    }
    Self.settle(&reached)
    return reached
  }

  private func onward(_ kind: Int, _ states: [Int32], _ matcher: inout RegexMatcher) -> [Int32] {
    var reached: [Int32] = []
    for state in states {
      for kind in classes[kind] {
        let state = matcher.advance(state, class: kind)
        if !reached.contains(state) { reached.append(state) }
      }
    }
    return reached
  }

  /// The state behind what a record has where a template refers to another column; nil when that is to be read.
  mutating func state(
    behind reference: Int, of row: Int, from state: Int32, _ matcher: inout RegexMatcher
  ) throws(BlockFault) -> Int32? {
    if let known = references[reference] { return try known?.state(of: row, from: state, &matcher) }
    let made = try ReferenceStates(reader.column.columns[reference], of: block)
    references[reference] = .some(made)
    return try made?.state(of: row, from: state, &matcher)
  }

  /// The states behind any value of a column that a template refers to.
  private mutating func refer(
    _ column: Int, _ state: Int32, _ matcher: inout RegexMatcher
  ) throws(BlockFault) -> [Int32]? {
    guard column < block.columnCounts.count else { return nil }
    if case .template = block.columns[column], case .template(let inner) = try block.column(column).body {
      // A reference of a reference is damage, and shows when a value is read.
      guard inner.column.columns.isEmpty, inner.plainCount <= Self.textsMaximum else {
        return run(Self.any, length: 0, isEmpty: true, state, &matcher)
      }
      let first = inner.column.firstText
      var reached = try texts(inner.plainCount, state, &matcher) { rank throws(BlockFault) in
        Array(try block.text(first + rank))
      }
      for template in inner.column.templates.indices {
        var states = [state]
        for piece in inner.pieces.pieces[inner.pieces.range(template)] {
          guard let next = try after(piece, in: inner.pieces, states, &matcher) else { return nil }
          states = next
        }
        reached += states
        Self.settle(&reached)
      }
      return reached.count <= Self.statesMaximum ? reached : nil
    }
    return try values(block.columns[column], block.columnCounts[column], state, &matcher)
  }

  /// The same of pieces of another column, which have no references.
  private mutating func after(
    _ piece: TemplatePieces.Piece, in pieces: TemplatePieces, _ states: [Int32], _ matcher: inout RegexMatcher
  ) throws(BlockFault) -> [Int32]? {
    guard piece.kind == .literal else { return try after(piece, states, &matcher) }
    var all = states
    for place in all.indices { all[place] = matcher.advance(all[place], pieces.text(piece)) }
    Self.settle(&all)
    return matcher.generation == generation ? all : nil
  }

  /// The column is not opened: which record has which value is not asked.
  private func values(
    _ list: ListColumn, _ count: Int, _ state: Int32, _ matcher: inout RegexMatcher
  ) throws(BlockFault) -> [Int32]? {
    switch list {
    case .dictionary(let distinct, let count, _), .recent(let distinct, let count, _):
      return try values(distinct, count, state, &matcher)
    case .decimal: return run(Self.decimals, length: 0, isEmpty: false, state, &matcher)
    case .padded(let width, _): return run(Self.digits, length: width, isEmpty: true, state, &matcher)
    case .hex(let digits, _): return run(Self.hex, length: digits, isEmpty: true, state, &matcher)
    case .uuid: return run(2, length: 36, isEmpty: false, state, &matcher)
    case .constant(let text): return try texts(1, state, &matcher) { _ throws(BlockFault) in text }
    case .text(let first):
      guard count <= Self.textsMaximum else { return run(Self.any, length: 0, isEmpty: true, state, &matcher) }
      return try texts(count, state, &matcher) { place throws(BlockFault) in Array(try block.text(first + place)) }
    case .template: return run(Self.any, length: 0, isEmpty: true, state, &matcher)
    }
  }

  private func texts(
    _ count: Int, _ state: Int32, _ matcher: inout RegexMatcher, _ text: (Int) throws(BlockFault) -> [UInt8]
  ) throws(BlockFault) -> [Int32] {
    var reached: [Int32] = []
    for place in 0..<count {
      let raw = try text(place)
      let state = matcher.advance(state, raw.contains(0x5C) ? JSONText.unescaped(raw[...])[...] : raw[...])
      // Of states of before nothing is known; the caller sees it.
      guard matcher.generation == generation else { return [] }
      if !reached.contains(state) { reached.append(state) }
    }
    return reached
  }

  private static func settle(_ states: inout [Int32]) {
    states.sort()
    var kept = 0
    for state in states where kept == 0 || states[kept - 1] != state {
      states[kept] = state
      kept += 1
    }
    states.removeLast(states.count - kept)
  }
}
