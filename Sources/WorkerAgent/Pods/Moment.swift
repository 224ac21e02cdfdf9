import ClusterModel
import Glibc

/// A reading of both clocks: decisions take one as a parameter, only their callers ask for it.
struct Moment: Hashable, Sendable {
  /// For people and for other machines.
  var wall: Timestamp
  /// Nanoseconds on the monotonic clock, for lengths of time.
  var uptime: Int64

  /// Both clocks now.
  static func now() -> Moment {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Moment(wall: .now(), uptime: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }

  /// Milliseconds since an earlier moment, with their fraction.
  func milliseconds(since earlier: Moment) -> Double { Double(uptime - earlier.uptime) / 1_000_000 }
}
