/// Runs an expression: each set of steps that can be reached together is a state, made when it is first met.
///
/// A byte costs a look into a table; one that leads to a new state costs at most the number of steps. States beyond
/// `statesMaximum` make it forget those it has, so that memory is bounded too.
struct RegexMatcher {
  static let statesMaximum = 512
  private static let dead: Int32 = 0
  private static let found: Int32 = 1
  private static let unknown: Int32 = -1

  /// What is known of a place in the text before its next byte is.
  private struct State: Hashable {
    /// In rising order.
    var steps: [Int32]
    var isStart: Bool
    var isAfterWord: Bool
  }

  private let program: RegexProgram
  /// By state and class of the next byte; the last class is the end of the text.
  private var table: [Int32] = []
  private var states: [State] = []
  private var numbers: [State: Int32] = [:]
  private let stride: Int
  private var marks: [UInt32]
  private var mark: UInt32 = 0
  /// One byte of each class.
  private let samples: [UInt8]
  /// Rises when states are forgotten: the numbers of those before mean nothing then.
  private(set) var generation = 0
  /// Rises with the work done, roughly a unit a nanosecond.
  private(set) var work = 0

  init(_ program: RegexProgram) {
    self.program = program
    stride = program.classCount + 1
    marks = Array(repeating: 0, count: program.steps.count)
    var samples = Array(repeating: UInt8(0), count: program.classCount)
    for (byte, number) in program.classes.enumerated() { samples[Int(number)] = UInt8(byte) }
    self.samples = samples
    clear()
  }

  /// Whether the expression matches anywhere in a text.
  mutating func matches(_ text: ArraySlice<UInt8>) -> Bool { matches(endingIn: run(text, from: start)) }

  /// The state before any byte.
  let start: Int32 = 2
  /// No match is possible any more.
  static func isDead(_ state: Int32) -> Bool { state == dead }
  /// There is a match, whatever follows.
  static func isFound(_ state: Int32) -> Bool { state == found }

  /// The state that a text leads to.
  mutating func advance(_ state: Int32, _ text: ArraySlice<UInt8>) -> Int32 {
    state <= Self.found ? state : run(text, from: state)
  }

  /// The state that a byte of a class leads to.
  mutating func advance(_ state: Int32, class kind: Int) -> Int32 {
    state <= Self.found ? state : next(state, kind)
  }

  /// Whether there is a match when the text ends in a state.
  mutating func matches(endingIn state: Int32) -> Bool {
    state == Self.found || (state != Self.dead && next(state, program.classCount) == Self.found)
  }

  private mutating func clear() {
    generation += 1
    states = [
      State(steps: [], isStart: false, isAfterWord: false), State(steps: [-1], isStart: false, isAfterWord: false),
    ]
    table = Array(repeating: Self.dead, count: stride) + Array(repeating: Self.found, count: stride)
    numbers = [:]
    var steps: [Int32] = []
    nextMark()
    let isFound = close(program.start, &steps)
    _ = number(State(steps: steps.sorted(), isStart: true, isAfterWord: false), isFound: isFound)
    if isFound {
      // The empty text matches already: the first state leads nowhere else.
      for place in (2 * stride)..<(3 * stride) { table[place] = Self.found }
    }
  }

  /// The state behind a text.
  private mutating func run(_ text: ArraySlice<UInt8>, from first: Int32) -> Int32 {
    work += text.count
    var state = first
    var index = text.startIndex
    while index < text.endIndex {
      var known = Self.unknown
      // Without a call or a check of uniqueness as long as the way is known.
      (state, index, known) = table.withUnsafeBufferPointer { table in
        program.classes.withUnsafeBufferPointer { classes in
          text.withUnsafeBufferPointer { bytes in
            let base = text.startIndex
            var (here, place) = (state, index - base)
            while place < bytes.count {
              let next = table[Int(here) * stride + Int(classes[Int(bytes[place])])]
              if next <= Self.found { return (here, place + base, next) }
              here = next
              place += 1
            }
            return (here, place + base, here)
          }
        }
      }
      if index == text.endIndex { return state }
      if known != Self.unknown { return known }
      state = next(state, Int(program.classes[Int(text[index])]))
      if state <= Self.found { return state }
      index += 1
    }
    return state
  }

  /// The state after a byte of a class, or at the end.
  private mutating func next(_ number: Int32, _ kind: Int) -> Int32 {
    let known = table[Int(number) * stride + kind]
    if known != Self.unknown { return known }
    let state = states[Int(number)]
    let byte = kind < program.classCount ? samples[kind] : nil
    let isWord = byte.map(ASCII.isWord) ?? false
    work += state.steps.count * 8
    var here = state.steps
    var isFound = false
    if program.hasEdges {
      nextMark()
      here = []
      for step in state.steps {
        if cross(Int(step), state, byte, isWord, &here) { isFound = true }
      }
    }
    var steps: [Int32] = []
    if !isFound, let byte {
      nextMark()
      for step in here {
        guard case .bytes(let range, let next) = program.steps[Int(step)], range.contains(byte) else { continue }
        if close(next, &steps) { isFound = true }
      }
    }
    let made = self.number(
      State(steps: steps.sorted(), isStart: false, isAfterWord: program.hasEdges && isWord), isFound: isFound)
    // Forgetting leaves the state itself no place.
    if Int(number) < states.count, states[Int(number)] == state { table[Int(number) * stride + kind] = made }
    return made
  }

  private mutating func number(_ state: State, isFound: Bool) -> Int32 {
    if isFound, !states.isEmpty, states.count > 2 { return Self.found }
    if state.steps.isEmpty { return Self.dead }
    if let number = numbers[state] { return number }
    if states.count >= Self.statesMaximum { clear() }
    if let number = numbers[state] { return number }
    numbers[state] = Int32(states.count)
    states.append(state)
    table += Array(repeating: Self.unknown, count: stride)
    return Int32(states.count - 1)
  }

  private mutating func nextMark() {
    mark &+= 1
    if mark == 0 {
      marks = Array(repeating: 0, count: marks.count)
      mark = 1
    }
  }

  /// Adds the steps that a step leads to without a byte, up to edges; answers whether the end is one of them.
  private mutating func close(_ first: Int, _ steps: inout [Int32]) -> Bool {
    var stack = [first]
    var isFound = false
    while let step = stack.popLast() {
      if marks[step] == mark { continue }
      marks[step] = mark
      switch program.steps[step] {
      case .fork(let left, let right):
        stack.append(right)
        stack.append(left)
      case .bytes, .edge: steps.append(Int32(step))
      case .found: isFound = true
      }
    }
    return isFound
  }

  /// The same, across the edges that are where the next byte is known.
  private mutating func cross(
    _ first: Int, _ state: State, _ byte: UInt8?, _ isWord: Bool, _ steps: inout [Int32]
  ) -> Bool {
    var stack = [first]
    while let step = stack.popLast() {
      if marks[step] == mark { continue }
      marks[step] = mark
      switch program.steps[step] {
      case .fork(let left, let right): stack += [right, left]
      case .bytes: steps.append(Int32(step))
      case .found: return true
      case .edge(let edge, let next):
        let holds =
          switch edge {
          case .start: state.isStart
          case .end: byte == nil
          case .word: state.isAfterWord != isWord
          case .notWord: state.isAfterWord == isWord
          }
        if holds { stack.append(next) }
      }
    }
    return false
  }
}
