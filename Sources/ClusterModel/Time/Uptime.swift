/// A clock for how long something takes: it is never set, and stands while the machine sleeps.
package enum Uptime {
  /// A clock that begins now, in milliseconds.
  package static func clock() -> @Sendable () -> Int64 {
    let clock = SuspendingClock()
    let origin = clock.now
    return {
      let (seconds, attoseconds) = (clock.now - origin).components
      return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }
  }
}
