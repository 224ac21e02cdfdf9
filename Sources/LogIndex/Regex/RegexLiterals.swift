/// Texts that every match of an expression holds: of each list at least one, upper and lower case alike.
struct RegexLiterals: Sendable, Equatable {
  static let listsMaximum = 16
  static let choicesMaximum = 16

  /// In lower case as far as they are ASCII.
  private(set) var lists: [[[UInt8]]] = []

  init(_ node: RegexNode) {
    let found = Self.found(node)
    lists = found.lists
    if let exact = found.exact, !exact.isEmpty { lists.append([exact]) }
    lists = Array(lists.prefix(Self.listsMaximum))
  }

  private struct Found {
    /// The one text the node stands for.
    var exact: [UInt8]?
    var lists: [[[UInt8]]] = []

    /// The list that says most: whose shortest text is the longest.
    var best: [[UInt8]]? {
      if let exact { return exact.isEmpty ? nil : [exact] }
      return lists.max { ($0.map(\.count).min() ?? 0) < ($1.map(\.count).min() ?? 0) }
    }
  }

  private static func found(_ node: RegexNode) -> Found {
    switch node {
    case .empty, .edge: return Found(exact: [])
    case .set(let set): return Found(exact: letter(set))
    case .sequence(let nodes): return sequence(nodes.map(found))
    case .either(let choices):
      let bests = choices.map { found($0).best }
      var list: [[UInt8]] = []
      for best in bests {
        guard let best else { return Found() }
        list += best
      }
      return list.count <= choicesMaximum ? Found(lists: [list]) : Found()
    case .repeated(let node, let least, let most):
      guard least > 0 else { return Found() }
      let inner = found(node)
      if least == most, let exact = inner.exact, exact.count * least <= 64 {
        return Found(exact: Array(repeatElement(exact, count: least).joined()))
      }
      return Found(lists: inner.best.map { [$0] } ?? [])
    }
  }

  private static func sequence(_ parts: [Found]) -> Found {
    var result = Found()
    var run: [UInt8] = []
    var isExact = true
    for part in parts {
      if let exact = part.exact {
        run += exact
        continue
      }
      isExact = false
      if !run.isEmpty { result.lists.append([run]) }
      run = []
      result.lists += part.lists
    }
    if isExact { return Found(exact: run) }
    if !run.isEmpty { result.lists.append([run]) }
    return result
  }

  /// The UTF-8 of a set of one character, or of one ASCII letter in both cases; nil for other sets.
  private static func letter(_ set: ScalarSet) -> [UInt8]? {
    if let single = set.single {
      guard let scalar = Unicode.Scalar(single), let bytes = UTF8.encode(scalar) else { return nil }
      return bytes.map(ASCII.lowered)
    }
    guard set.ranges.count == 2, let upper = set.ranges.first, let lower = set.ranges.last, upper.count == 1,
      lower.count == 1, upper.lowerBound >= 0x41, upper.lowerBound <= 0x5A, lower.lowerBound == upper.lowerBound + 0x20
    else { return nil }
    return [UInt8(lower.lowerBound)]
  }
}
