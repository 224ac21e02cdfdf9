/// What a filter says about the indexed columns: every match satisfies all of it.
struct Pruning: Equatable {
  /// The text columns, in the order of the table.
  static let columns: [ReservedField] = [.namespace, .function, .stream, .call, .pod, .node]

  var range = TimeRange()
  /// The texts a column may have; a column that is not there may have any.
  var texts: [ReservedField: Set<[UInt8]>] = [:]
  /// The levels a record may have; nil for any or none.
  var levels: UInt8?
  /// Whether the converse holds too: whatever satisfies all of it matches.
  var isExact = true

  /// Derives the columns' constraints from a query and its scope.
  init(_ query: LogQuery, scope: LogScope) {
    self.init(query.filter)
    range = range.intersection(query.range)
    if let namespaces = scope.namespaces {
      restrict(.namespace, Set(namespaces.map { Array($0.utf8) }))
    }
  }

  init(_ filter: LogFilter) {
    switch filter {
    case .everything: break
    case .all(let filters):
      for other in filters { intersect(Pruning(other)) }
    case .any(let filters): unite(filters.map { Pruning($0) })
    case .time(let range): self.range = range
    case .level(let filter): levels = filter.mask
    case .equals(let filter):
      if case .reserved(let field) = filter.field, Self.columns.contains(field) {
        texts[field] = [filter.text]
      } else {
        isExact = false
      }
    case .not, .text, .pattern, .regex, .exists, .range: isExact = false
    }
  }

  private mutating func restrict(_ field: ReservedField, _ allowed: Set<[UInt8]>) {
    texts[field] = texts[field].map { $0.intersection(allowed) } ?? allowed
  }

  private mutating func intersect(_ other: Pruning) {
    range = range.intersection(other.range)
    for (field, allowed) in other.texts { restrict(field, allowed) }
    if let mask = other.levels { levels = (levels ?? mask) & mask }
    isExact = isExact && other.isExact
  }

  /// Keeps what every choice constrains; exact only when all choices constrain the same one column.
  private mutating func unite(_ choices: [Pruning]) {
    guard let first = choices.first else { return }
    for (field, allowed) in first.texts where choices.allSatisfy({ $0.texts[field] != nil }) {
      texts[field] = choices.reduce(allowed) { $0.union($1.texts[field] ?? []) }
    }
    if choices.allSatisfy({ $0.levels != nil }) { levels = choices.reduce(0) { $0 | ($1.levels ?? 0) } }
    if choices.allSatisfy({ $0.range.since != nil }) { range.since = choices.compactMap(\.range.since).min() }
    if choices.allSatisfy({ $0.range.until != nil }) { range.until = choices.compactMap(\.range.until).max() }
    isExact =
      choices.allSatisfy { $0.isExact && $0.constrained == first.constrained } && first.constrained.count == 1
      && range == TimeRange()
  }

  private var constrained: Set<String> {
    var names = Set(texts.keys.map(\.rawValue))
    if levels != nil { names.insert("level") }
    if range != TimeRange() { names.insert("time") }
    return names
  }
}
