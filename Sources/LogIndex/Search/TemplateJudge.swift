/// What an expression makes of templates, whatever their variables are: the expression is run over the literal text, and over
/// a variable from all states to all that the characters it may have can lead to.
struct TemplateJudge {
  enum Verdict: UInt8 {
    case no, yes, perhaps
  }

  /// States looked at together, at most; where there would be more nothing is known.
  private static let statesMaximum = 64
  /// Longer variables are taken to be of any length.
  private static let lengthMaximum = 64

  /// Characters that stand in a place: which, and how many when that is known; else whether there may be none.
  private struct Run: Hashable {
    var kind: Int
    var length: Int?
    var isEmpty = false
  }

  /// The kinds that variables have.
  private static let plain: [TextKind] = [.digits, .hex, .uuid, .letters, .any]

  private struct Step: Hashable {
    var run: Run
    var state: Int32
  }

  /// By kind: the classes of bytes it has.
  private var classes: [[Int]] = []
  private let referenceKinds: [TextKind]
  private var ways: [Step: [Int32]] = [:]
  private var generation: Int
  private let program: RegexProgram

  /// `references` are what the columns have that references point to.
  init(_ program: RegexProgram, references: [TextKind], _ matcher: RegexMatcher) {
    self.program = program
    referenceKinds = references
    generation = matcher.generation
    classes = (Self.plain + references).map { kind in
      var found = Array(repeating: false, count: program.classCount)
      for byte: UInt8 in 0...0xFF where kind.allows(byte) { found[Int(program.classes[Int(byte)])] = true }
      return found.indices.filter { found[$0] }
    }
  }

  /// What all texts of a template have in common.
  mutating func verdict(_ template: TemplateColumn.Template, _ matcher: inout RegexMatcher) -> Verdict {
    if matcher.generation != generation {
      ways = [:]
      generation = matcher.generation
    }
    var states = [matcher.start]
    for piece in template.pieces {
      switch piece {
      case .literal(let literal):
        let plain = literal.contains(0x5C) ? JSONText.unescaped(literal[...])[...] : literal[...]
        for place in states.indices { states[place] = matcher.advance(states[place], plain) }
        if states.count > 1 { Self.settle(&states) }
      case .variable(let variable):
        guard let next = after(Self.run(template.variables[variable]), states, &matcher) else { return .perhaps }
        states = next
      case .reference(let reference):
        // The plain kinds come first.
        let run = Run(kind: Self.plain.count + reference, isEmpty: true)
        guard reference < referenceKinds.count, let next = after(run, states, &matcher) else { return .perhaps }
        states = next
      }
      if states.count == 1, RegexMatcher.isFound(states[0]) { return .yes }
      if states.count == 1, RegexMatcher.isDead(states[0]) { return .no }
    }
    var hits = 0
    for state in states where matcher.matches(endingIn: state) { hits += 1 }
    // Of states of before nothing is known.
    guard matcher.generation == generation else { return .perhaps }
    return hits == 0 ? .no : hits == states.count ? .yes : .perhaps
  }

  /// The states behind a run from any of some states; nil when there are too many.
  private mutating func after(_ run: Run, _ states: [Int32], _ matcher: inout RegexMatcher) -> [Int32]? {
    var all: [Int32] = []
    for state in states {
      let step = Step(run: run, state: state)
      if let known = ways[step] {
        all += known
        continue
      }
      guard let made = way(run, state, &matcher), matcher.generation == generation else { return nil }
      ways[step] = made
      all += made
    }
    if states.count > 1 { Self.settle(&all) }
    return all.count <= Self.statesMaximum ? all : nil
  }

  private func way(_ run: Run, _ state: Int32, _ matcher: inout RegexMatcher) -> [Int32]? {
    var reached = [state]
    if let length = run.length {
      for _ in 0..<length {
        reached = onward(run.kind, reached, &matcher)
        guard reached.count <= Self.statesMaximum, matcher.generation == generation else { return nil }
      }
      return reached
    }
    // Of any length: until nothing new is reached.
    if !run.isEmpty { reached = onward(run.kind, reached, &matcher) }
    var next = 0
    while next < reached.count {
      for kind in classes[run.kind] {
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

  private static func settle(_ states: inout [Int32]) {
    states.sort()
    var kept = 0
    for state in states where kept == 0 || states[kept - 1] != state {
      states[kept] = state
      kept += 1
    }
    states.removeLast(states.count - kept)
  }

  /// What is known of a variable's characters: a run of letters and digits, never empty.
  private static func run(_ list: ListColumn) -> Run {
    switch list {
    case .decimal: Run(kind: 0)
    case .padded(let width, _): Run(kind: 0, length: width)
    case .hex(let digits, _): Run(kind: 1, length: digits <= lengthMaximum ? digits : nil)
    case .uuid: Run(kind: 2, length: 36)
    case .dictionary(let distinct, _, _), .recent(let distinct, _, _): run(distinct)
    case .constant, .text: Run(kind: 3)
    case .template: Run(kind: 4, isEmpty: true)
    }
  }
}
