/// How statistics are answered from the counts in the catalogue. Pure; nil when the records themselves are needed.
struct RollupPlan: Sendable {
  private let filter: LogFilter
  private let range: TimeRange
  private let scope: LogScope

  /// Every function only counts, every key and filter is one of the rollups' fields, every edge of time a minute's.
  init?(_ query: LogQuery, _ all: [LogStats], scope: LogScope) {
    guard query.after == nil, Self.isSupported(query.filter) else { return nil }
    for stats in all {
      guard stats.functions.allSatisfy({ $0.kind == .count && $0.field == nil }),
        stats.keys.allSatisfy({ Rollup.fields.contains($0) }), (stats.bucket ?? 0) % Rollup.minute == 0
      else { return nil }
    }
    filter = query.filter
    range = query.range
    self.scope = scope
  }

  /// Whether the query's span of time takes or leaves each minute of a block as a whole.
  func covers(_ entry: BlockEntry) -> Bool {
    (range.since.map { $0 <= entry.oldest || $0 % Rollup.minute == 0 } ?? true)
      && (range.until.map { $0 > entry.newest || $0 % Rollup.minute == 0 } ?? true)
  }

  /// Adds the counts of a block that is covered.
  func add(_ rollup: Rollup, _ stats: LogStats, to table: inout StatsTable) {
    let places = stats.keys.compactMap { Rollup.fields.firstIndex(of: $0) }
    let verdicts = rollup.keys.map { admits($0.texts) ? Self.verdict(filter, $0.texts) : .no }
    // A span that begins inside the block's first minute, but before its records, takes all of it.
    let first = range.since.map { $0 < .min + Rollup.minute ? .min : $0 - Rollup.minute + 1 } ?? .min
    let end = range.until ?? .max
    var combination: Int?
    var key = -1
    for cell in rollup.cells {
      let start = cell.minute &* Rollup.minute
      guard start >= first, start < end else { continue }
      switch verdicts[cell.key] {
      case .no: continue
      case .yes: break
      case .perhaps: if !Self.matches(filter, rollup.keys[cell.key].texts, start) { continue }
      }
      if key != cell.key {
        key = cell.key
        combination = table.combination(places.lazy.map { rollup.keys[cell.key].texts[$0] })
      }
      let bucket = stats.bucket == Rollup.minute ? start : table.bucket(start)
      guard let group = table.group(bucket: bucket, keys: combination) else { continue }
      for function in stats.functions.indices { table.count(group, function: function, cell.count) }
    }
  }

  /// What a filter says of all cells of a key.
  private enum Verdict {
    case yes, no
    /// It depends on their time.
    case perhaps
  }

  private static func verdict(_ filter: LogFilter, _ texts: [[UInt8]?]) -> Verdict {
    switch filter {
    case .all(let filters):
      let verdicts = filters.map { verdict($0, texts) }
      return verdicts.contains(.no) ? .no : verdicts.contains(.perhaps) ? .perhaps : .yes
    case .any(let filters):
      let verdicts = filters.map { verdict($0, texts) }
      return verdicts.contains(.yes) ? .yes : verdicts.contains(.perhaps) ? .perhaps : .no
    case .not(let filter):
      switch verdict(filter, texts) {
      case .yes: return .no
      case .no: return .yes
      case .perhaps: return .perhaps
      }
    case .time: return .perhaps
    default: return matches(filter, texts, 0) ? .yes : .no
    }
  }

  private func admits(_ texts: [[UInt8]?]) -> Bool {
    guard let namespaces = scope.namespaces else { return true }
    return namespaces.contains { $0.utf8.elementsEqual(texts[0] ?? []) }
  }

  private static func isSupported(_ filter: LogFilter) -> Bool {
    switch filter {
    case .everything, .level: true
    case .all(let filters), .any(let filters): filters.allSatisfy(isSupported)
    case .not(let filter): isSupported(filter)
    case .equals(let filter): Rollup.fields.contains(filter.field)
    case .pattern(let filter): Rollup.fields.contains(filter.field)
    case .exists(let filter): Rollup.fields.contains(filter.field)
    case .time(let range): (range.since ?? 0) % Rollup.minute == 0 && (range.until ?? 0) % Rollup.minute == 0
    // The empty text, which an expression may match, and one that is absent are one there.
    case .regex, .text, .range: false
    }
  }

  private static func matches(_ filter: LogFilter, _ texts: [[UInt8]?], _ start: Int64) -> Bool {
    func value(_ field: LogField) -> FieldValue? {
      Rollup.fields.firstIndex(of: field).flatMap { texts[$0] }.map { FieldValue(kind: .plain, text: $0[...]) }
    }
    switch filter {
    case .everything: return true
    case .all(let filters): return filters.allSatisfy { matches($0, texts, start) }
    case .any(let filters): return filters.contains { matches($0, texts, start) }
    case .not(let filter): return !matches(filter, texts, start)
    case .equals(let filter): return filter.matches(value(filter.field))
    case .pattern(let filter): return filter.matches(value(filter.field))
    case .exists(let filter): return value(filter.field)?.isPresent ?? false
    case .level(let filter): return filter.matches(value(.reserved(.level)))
    case .time(let range): return range.contains(start)
    case .regex, .text, .range: return false
    }
  }
}
