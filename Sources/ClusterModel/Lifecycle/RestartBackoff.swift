/// How long to wait before a crashed pod is started again.
///
/// The first restart after a healthy run is immediate; then 100 ms doubling to 10 s. A run of 10 s counts as healthy.
package struct RestartBackoff: Hashable, Sendable {
  /// The longest wait, milliseconds.
  package static let longest: Int64 = 10_000
  /// A run this long clears the count, milliseconds.
  package static let healthyRun: Int64 = 10_000
  /// Crashes since the last healthy run.
  package private(set) var crashes = 0

  /// No crash so far.
  package init() {}

  /// Notes a crash after a run and answers the wait in milliseconds before the next start.
  package mutating func crashed(afterRunning milliseconds: Int64) -> Int64 {
    if milliseconds >= Self.healthyRun { crashes = 0 }
    crashes += 1
    if crashes == 1 { return 0 }
    return min(Self.longest, 100 << Int64(min(crashes - 2, 7)))
  }
}
