/// How long the supervisor waits before it starts a process again: 100 ms doubling to 5 s; ten healthy seconds clear it.
struct RestartSchedule: Hashable, Sendable {
  /// The longest wait, milliseconds.
  static let longest: Int64 = 5000
  /// A run this long clears the count, milliseconds.
  static let healthyRun: Int64 = 10_000
  private(set) var failures = 0

  /// Notes an end after a run and answers the wait in milliseconds.
  mutating func ended(afterRunning milliseconds: Int64) -> Int64 {
    if milliseconds >= Self.healthyRun { failures = 0 }
    failures += 1
    return min(Self.longest, 100 << Int64(min(failures - 1, 6)))
  }
}
