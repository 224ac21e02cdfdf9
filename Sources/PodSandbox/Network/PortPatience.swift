/// How often a port inside a pod is asked whether something listens there already: an attempt takes 10 µs of a processor
/// that the pod may need for its start.
package struct PortPatience: Hashable, Sendable {
  /// The longest pause, nanoseconds.
  static let longest: UInt64 = 20_000_000
  /// The shortest, for each pod that waits, nanoseconds: however many do, asking takes a tenth of a processor.
  static let share: UInt64 = 100_000
  /// The first question when nothing is known, nanoseconds: the quickest native functions need more.
  static let beginning: UInt64 = 500_000
  /// The first question at the latest, nanoseconds: what took long in a burst, when many started at once, need not take long
  /// now.
  static let latestBeginning: UInt64 = 1_000_000
  /// As many that wait are a crowd.
  static let crowd = 8
  /// In a crowd, one that has not begun yet is passed over so often in a row.
  static let passedOverMaximum = 3
  /// A crowd is asked at multiples of this time, nanoseconds: several at each, and the thread wakes less often.
  static let beat: UInt64 = 250_000

  /// Nanoseconds after which something listened there when this was started before; nil when it never was.
  package var expected: UInt64?

  /// Patience with a pod that is expected to listen after so many nanoseconds.
  package init(expected: UInt64? = nil) { self.expected = expected }

  /// The nanoseconds until the next question, `waited` after the start, one of `waiting` pods: none until half of what is
  /// expected, then often, and the more rarely the later it is.
  func pause(after waited: UInt64, waiting: Int) -> UInt64 {
    let begin = min(expected.map { $0 / 2 } ?? Self.beginning, Self.latestBeginning)
    guard waited >= begin else { return begin - waited }
    let overdue = max((waited - begin) / 4, waited / 50, Self.share * UInt64(max(1, waiting)))
    return min(overdue, Self.longest)
  }

  /// When the next question is due, on the clock of `now` and `begun`: after the pause, and for a crowd at the next beat.
  func next(now: UInt64, begun: UInt64, waiting: Int) -> UInt64 {
    let due = now + pause(after: now - begun, waiting: waiting)
    return waiting < Self.crowd ? due : (due + Self.beat - 1) / Self.beat * Self.beat
  }

  /// Whether one that has not begun may be passed over, which happened `times` since it was asked.
  func mayPassOver(_ times: Int, waiting: Int) -> Bool { waiting >= Self.crowd && times < Self.passedOverMaximum }
}
