internal import Synchronization

/// A regular expression made ready to be run over bytes, in time that grows with the text and never faster.
final class RegexProgram: Sendable {
  /// One step; the raw expression becomes at most `stepsMaximum` of them.
  enum Step: Sendable {
    /// A byte of a range, then the next step.
    case bytes(ClosedRange<UInt8>, next: Int)
    /// Either of two.
    case fork(Int, Int)
    case edge(RegexNode.Edge, next: Int)
    case found
  }

  static let stepsMaximum = 4_000

  let steps: [Step]
  let start: Int
  /// Whether the order of the characters beside a place matters: `^`, `$`, `\b`, `\B`.
  let hasEdges: Bool
  let literals: RegexLiterals
  /// The class of each byte: bytes of one class are never told apart.
  let classes: [UInt8]
  let classCount: Int
  /// Matchers that are not in use; each keeps what it has learnt.
  private let idle = Mutex<[RegexMatcher]>([])
  private static let idleMaximum = 4

  /// Compiles an expression; throws where it is wrong, or at its start when it would be too large.
  convenience init(_ text: [UInt8], isFolded: Bool) throws(RegexFault) {
    try self.init(try RegexParser.parse(text, isFolded: isFolded))
  }

  /// The same of an expression that is taken apart.
  init(_ node: RegexNode) throws(RegexFault) {
    var maker = RegexMaker()
    // Anything may come before what is looked for.
    let loop = try maker.reserve()
    let first = try maker.add(node, then: try maker.add(.found))
    let any = try maker.add(.bytes(0...0xFF, next: loop))
    maker.steps[loop] = .fork(first, any)
    steps = maker.steps
    start = loop
    hasEdges = maker.hasEdges
    literals = RegexLiterals(node)
    (classes, classCount) = Self.classes(maker.steps, hasEdges: maker.hasEdges)
  }

  /// Whether the expression matches anywhere in a text.
  func matches(_ text: ArraySlice<UInt8>) -> Bool { withMatcher { $0.matches(text) } }

  /// Lends a matcher, so that many texts share what it learns.
  func withMatcher<T, E: Error>(_ body: (inout RegexMatcher) throws(E) -> T) throws(E) -> T {
    var matcher = idle.withLock { $0.popLast() } ?? RegexMatcher(self)
    defer { idle.withLock { if $0.count < Self.idleMaximum { $0.append(matcher) } } }
    return try body(&matcher)
  }

  private static func classes(_ steps: [Step], hasEdges: Bool) -> ([UInt8], Int) {
    var begins = Array(repeating: false, count: 257)
    for step in steps {
      guard case .bytes(let range, _) = step else { continue }
      begins[Int(range.lowerBound)] = true
      begins[Int(range.upperBound) + 1] = true
    }
    if hasEdges {
      for byte in 1...255 where ASCII.isWord(UInt8(byte)) != ASCII.isWord(UInt8(byte - 1)) { begins[byte] = true }
    }
    var classes: [UInt8] = []
    var number = 0
    for byte in 0...255 {
      if byte > 0, begins[byte] { number += 1 }
      classes.append(UInt8(number))
    }
    return (classes, number + 1)
  }
}

/// Makes the steps of an expression, back to front.
private struct RegexMaker {
  var steps: [RegexProgram.Step] = []
  var hasEdges = false

  /// A place that is filled later.
  mutating func reserve() throws(RegexFault) -> Int { try add(.found) }

  mutating func add(_ step: RegexProgram.Step) throws(RegexFault) -> Int {
    guard steps.count < RegexProgram.stepsMaximum else {
      throw RegexFault(offset: 0, message: "a regular expression that is too large", hint: "repeat fewer times")
    }
    steps.append(step)
    return steps.count - 1
  }

  /// The first step of a node after which `next` comes.
  mutating func add(_ node: RegexNode, then next: Int) throws(RegexFault) -> Int {
    switch node {
    case .empty: return next
    case .set(let set): return try add(set, then: next)
    case .edge(let edge):
      hasEdges = true
      return try add(.edge(edge, next: next))
    case .sequence(let nodes):
      var place = next
      for node in nodes.reversed() { place = try add(node, then: place) }
      return place
    case .either(let choices):
      var place: Int?
      for choice in choices.reversed() {
        let first = try add(choice, then: next)
        place = try place.map { other throws(RegexFault) in try add(.fork(first, other)) } ?? first
      }
      return place ?? next
    case .repeated(let node, let least, let most):
      var place = next
      if let most {
        for _ in 0..<(most - least) { place = try add(.fork(try add(node, then: place), next)) }
      } else {
        place = try reserve()
        steps[place] = .fork(try add(node, then: place), next)
      }
      for _ in 0..<least {
        let first = try add(node, then: place)
        // What has no steps has none however often it comes; only steps are counted.
        if first == place { break }
        place = first
      }
      return place
    }
  }

  private mutating func add(_ set: ScalarSet, then next: Int) throws(RegexFault) -> Int {
    var place: Int?
    var ranges = set.ranges
    if let tail = ranges.last, tail.lowerBound <= 0x80, tail.upperBound == ScalarSet.last {
      // All of what is beyond ASCII: texts are UTF-8, so that the first byte says how many follow.
      ranges.removeLast()
      if tail.lowerBound < 0x80 { ranges.append(tail.lowerBound...0x7F) }
      var rest = next
      for lead: ClosedRange<UInt8> in [0xC2...0xDF, 0xE0...0xEF, 0xF0...0xF4] {
        rest = try add(.bytes(0x80...0xBF, next: rest))
        let first = try add(.bytes(lead, next: rest))
        place = try place.map { other throws(RegexFault) in try add(.fork(first, other)) } ?? first
      }
    }
    for range in ranges {
      for sequence in UTF8Ranges.sequences(range) {
        var first = next
        for bytes in sequence.reversed() { first = try add(.bytes(bytes, next: first)) }
        place = try place.map { other throws(RegexFault) in try add(.fork(first, other)) } ?? first
      }
    }
    // A set without characters never matches: a loop that is never left.
    guard let place else {
      let never = try reserve()
      steps[never] = .fork(never, never)
      return never
    }
    return place
  }
}
