import Foundation

/// How long the harnesses run: seconds in `make test`, minutes in `make soak AREA=… MINUTES=…`.
///
/// `APUS_TEST_SEED` brings a printed seed back.
package enum Soak {
  /// The minutes a soak was given; nil in an ordinary run.
  package static let minutes: Double? = ProcessInfo.processInfo.environment["APUS_SOAK_MINUTES"].flatMap(Double.init)

  /// Whether this is a soak.
  package static var runs: Bool { minutes != nil }

  /// The seed of ordinary runs, so that they all do the same.
  static let ordinarySeed: UInt64 = 20_261_121

  /// A seed that is new with every soak, unless the environment names one; printed, so that the run can be repeated.
  package static func seed(_ harness: String) -> UInt64 {
    let given = ProcessInfo.processInfo.environment["APUS_TEST_SEED"].flatMap(UInt64.init)
    let seed = given ?? (runs ? UInt64.random(in: 0...UInt64.max) : ordinarySeed)
    print("\(harness): seed \(seed) (APUS_TEST_SEED=\(seed) repeats it)")
    return seed
  }

  /// When this process's soak is over; its harnesses share the time.
  private static let end = ContinuousClock.now + .seconds(60 * (minutes ?? 0))

  /// The numbers of a fuzz's rounds: `short` of them, and on until the soak's time is over; others run in between.
  package static func repeats(_ short: Int) -> Repeats { Repeats(short: short, end: end) }

  /// What `repeats` gives.
  package struct Repeats: AsyncSequence, AsyncIteratorProtocol {
    fileprivate let short: Int
    fileprivate let end: ContinuousClock.Instant
    private var round = 0

    fileprivate init(short: Int, end: ContinuousClock.Instant) {
      self.short = short
      self.end = end
    }

    /// The sequence is its own iterator.
    package func makeAsyncIterator() -> Repeats { self }

    /// The next round's number; nil when there were enough.
    package mutating func next() async -> Int? {
      if round % 256 == 255 {
        await Task.yield()
        if round >= short, ContinuousClock.now >= end { return nil }
      } else if round >= short, !Soak.runs {
        return nil
      }
      defer { round += 1 }
      return round
    }
  }

  /// Rounds of a harness: `short` in an ordinary run, as many times that as the soak has minutes otherwise.
  package static func rounds(_ short: Int) -> Int { Int(Double(short) * max(1, minutes ?? 1)) }
}
