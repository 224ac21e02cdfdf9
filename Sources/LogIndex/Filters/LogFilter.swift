/// What a record must be to match: a tree of small filters, one file each.
package indirect enum LogFilter: Sendable, Equatable {
  /// Every record.
  case everything
  /// Records that match all of these.
  case all([LogFilter])
  /// Records that match at least one of these.
  case any([LogFilter])
  /// Records that do not match.
  case not(LogFilter)
  /// Words, a phrase or a pattern in the message.
  case text(TextFilter)
  /// A field that equals a value.
  case equals(EqualsFilter)
  /// A field whose whole value matches a pattern with `*`.
  case pattern(PatternFilter)
  /// A field that a regular expression matches.
  case regex(RegexFilter)
  /// A field that is there.
  case exists(ExistsFilter)
  /// A field between two numbers, sizes or durations.
  case range(RangeFilter)
  /// A set of levels.
  case level(LevelFilter)
  /// A span of time.
  case time(TimeRange)

  /// Whether a record matches; pure.
  package func matches(_ record: IndexedRecord) -> Bool {
    switch self {
    case .everything: true
    case .all(let filters): filters.allSatisfy { $0.matches(record) }
    case .any(let filters): filters.contains { $0.matches(record) }
    case .not(let filter): !filter.matches(record)
    case .text(let filter): filter.matches(record)
    case .equals(let filter): filter.matches(record)
    case .pattern(let filter): filter.matches(record)
    case .regex(let filter): filter.matches(record)
    case .exists(let filter): filter.matches(record)
    case .range(let filter): filter.matches(record)
    case .level(let filter): filter.matches(record)
    case .time(let range): range.contains(record.time)
    }
  }
}
