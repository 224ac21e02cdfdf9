/// A span of time in nanoseconds since 1970: from `since` on, before `until`.
package struct TimeRange: Sendable, Equatable {
  /// The first moment inside; nil for no beginning.
  package var since: Int64?
  /// The first moment after; nil for no end.
  package var until: Int64?

  /// A span; nil leaves a side open.
  package init(since: Int64? = nil, until: Int64? = nil) {
    self.since = since
    self.until = until
  }

  /// Whether a moment lies inside.
  package func contains(_ time: Int64) -> Bool {
    (since.map { time >= $0 } ?? true) && (until.map { time < $0 } ?? true)
  }

  /// The moments in both spans.
  func intersection(_ other: TimeRange) -> TimeRange {
    var result = self
    if let since = other.since { result.since = max(since, self.since ?? since) }
    if let until = other.until { result.until = min(until, self.until ?? until) }
    return result
  }
}
