import ClusterModel

/// What `get`, `describe` and `delete` take as KIND [NAME].
enum KindArgument {
  /// The kinds a comma-separated word names; `all` means functions, revisions and pods.
  static func kinds(_ word: String) throws(Failure) -> [ResourceKind] {
    var kinds: [ResourceKind] = []
    for part in word.split(separator: ",").map(String.init) {
      if part.lowercased() == "all" {
        kinds += [.function, .revision, .pod]
      } else {
        kinds.append(try kind(part))
      }
    }
    guard !kinds.isEmpty else { throw Failure.usage("no kind was given", next: known) }
    return kinds
  }

  /// The kind a word names, or a failure with the nearest one.
  static func kind(_ word: String) throws(Failure) -> ResourceKind {
    if let kind = ResourceKind(named: word) { return kind }
    let names = ResourceKind.allCases.flatMap { [$0.plural, $0.singular] }
    let near = Suggestion.nearest(to: word.lowercased(), in: names).map { " Did you mean `\($0)`?" } ?? ""
    throw .usage("no such kind: \(word).\(near)", next: known)
  }

  private static let known = "Kinds: \(ResourceKind.allCases.map(\.plural).sorted().joined(separator: ", "))."

  /// Kind and names from `KIND NAME…` or `KIND/NAME…`; nil when the first word is no kind and no pair.
  static func split(_ words: [String]) throws(Failure) -> (kind: ResourceKind, names: [String]) {
    guard let first = words.first else { throw Failure.usage("no kind was given", next: known) }
    guard let slash = first.firstIndex(of: "/") else { return (try kind(first), Array(words.dropFirst())) }
    let kind = try kind(String(first[..<slash]))
    return (kind, [String(first[first.index(after: slash)...])] + words.dropFirst())
  }
}
