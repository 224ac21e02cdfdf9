import ClusterModel

/// Bounds how many lines and bytes a function may log in a second, and counts what it dropped; pure.
struct LineLimiter: Sendable {
  /// Lines admitted in one second.
  let limit: Int
  /// Bytes admitted in one second; the line that reaches it is the last.
  let bytesLimit: Int
  private var second: Int64 = .min
  private var admitted = 0
  private var admittedBytes = 0
  /// Dropped in the current second.
  private var dropped = 0
  /// Dropped in seconds that are over, and not told yet.
  private var untold = 0

  /// A limiter that admitted nothing yet.
  init(limit: Int = Limits.logLinesPerSecond, bytesLimit: Int = Limits.logBytesPerSecond) {
    self.limit = limit
    self.bytesLimit = bytesLimit
  }

  /// Whether one more line of so many bytes may pass at a monotonic time; if not, it is counted.
  mutating func admit(uptime: Int64, bytes: Int = 0) -> Bool {
    turn(uptime)
    guard admitted < limit, admittedBytes < bytesLimit else {
      dropped += 1
      return false
    }
    admitted += 1
    admittedBytes += bytes
    return true
  }

  /// Lines dropped in seconds that are over, to be told once; nil while there is nothing to tell.
  mutating func overdue(uptime: Int64) -> Int? {
    turn(uptime)
    guard untold > 0 else { return nil }
    defer { untold = 0 }
    return untold
  }

  private mutating func turn(_ uptime: Int64) {
    let now = uptime / 1_000_000_000
    guard now != second else { return }
    second = now
    untold += dropped
    admitted = 0
    admittedBytes = 0
    dropped = 0
  }

  /// Lines dropped and not told yet, whenever: the function's last pod ended.
  mutating func takeDropped() -> Int? {
    let all = untold + dropped
    untold = 0
    dropped = 0
    return all > 0 ? all : nil
  }

  /// Milliseconds until `overdue` has something to tell, or nil when nothing was dropped.
  func due(uptime: Int64) -> Int32? {
    if untold > 0 { return 0 }
    guard dropped > 0 else { return nil }
    return Int32(clamping: max(0, ((second + 1) * 1_000_000_000 - uptime) / 1_000_000 + 1))
  }
}
