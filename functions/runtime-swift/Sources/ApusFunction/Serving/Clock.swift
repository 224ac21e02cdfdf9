import Glibc

/// The two clocks of the runner.
package enum Clock {
  /// Milliseconds since 1970.
  package static func epochMilliseconds() -> Int {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
  }

  static func monotonicSeconds() -> Int {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec
  }
}

/// The environment of the process.
package enum ProcessEnvironment {
  /// The value of a variable.
  package static subscript(name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
