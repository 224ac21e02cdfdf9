/// How long the supervisor waits before it starts a process again: 100 ms for the first failures that fall together, then
/// doubling to 5 s; each half second it ran takes one failure back.
struct RestartSchedule: Hashable, Sendable {
  /// The longest wait, milliseconds.
  static let longest: Int64 = 5000
  /// A run this long takes back one failure, milliseconds: a process that is killed now and then is back at once, one that
  /// dies at its start waits longer each time. All of ours have started, and serve, after a third of a second.
  static let forgiving: Int64 = 500
  /// Failures after which it still waits the shortest time: someone who is killed several times within a second is not one
  /// who cannot start.
  static let patience = 4
  private(set) var failures = 0

  /// Notes an end after a run and answers the wait in milliseconds.
  mutating func ended(afterRunning milliseconds: Int64) -> Int64 {
    failures = max(0, failures - Int(clamping: milliseconds / Self.forgiving)) + 1
    return min(Self.longest, 100 << Int64(min(max(0, failures - Self.patience), 6)))
  }
}
