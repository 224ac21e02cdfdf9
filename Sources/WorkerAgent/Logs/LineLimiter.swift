import ClusterModel

/// Bounds how many lines a function may log in a second, and counts what it dropped; pure.
struct LineLimiter: Sendable {
  /// Lines admitted in one second.
  let limit: Int
  private var second: Int64 = .min
  private var admitted = 0
  private var dropped = 0

  /// A limiter that admitted nothing yet.
  init(limit: Int = Limits.logLinesPerSecond) { self.limit = limit }

  /// Whether one more line may pass at a monotonic time; if not, it is counted.
  mutating func admit(uptime: Int64) -> Bool {
    let now = uptime / 1_000_000_000
    if now != second {
      second = now
      admitted = 0
    }
    guard admitted < limit else {
      dropped += 1
      return false
    }
    admitted += 1
    return true
  }

  /// Lines dropped in a second that is over, to be told once; nil while there is nothing to tell yet.
  mutating func overdue(uptime: Int64) -> Int? {
    guard dropped > 0, uptime / 1_000_000_000 != second else { return nil }
    defer { dropped = 0 }
    return dropped
  }

  /// Lines dropped and not told yet, whenever: the function's last pod ended.
  mutating func takeDropped() -> Int? {
    guard dropped > 0 else { return nil }
    defer { dropped = 0 }
    return dropped
  }

  /// Milliseconds until `overdue` has something to tell, or nil when nothing was dropped.
  func due(uptime: Int64) -> Int32? {
    guard dropped > 0 else { return nil }
    return Int32(clamping: max(0, ((second + 1) * 1_000_000_000 - uptime) / 1_000_000 + 1))
  }
}
