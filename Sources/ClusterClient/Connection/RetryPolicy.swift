/// Whether and when a failed request is sent again. Pure: chance is a parameter.
package struct RetryPolicy: Sendable, Hashable {
  /// Times a request is sent at most, the first included.
  package var attempts: Int
  /// The wait before the second attempt; it doubles each time.
  package var firstDelay: Duration
  /// The longest wait between two attempts.
  package var longestDelay: Duration

  /// Up to `attempts` sends with waits from `firstDelay` to `longestDelay`.
  package init(attempts: Int = 5, firstDelay: Duration = .milliseconds(50), longestDelay: Duration = .seconds(1)) {
    self.attempts = attempts
    self.firstDelay = firstDelay
    self.longestDelay = longestDelay
  }

  /// Every request is sent once.
  package static let never = RetryPolicy(attempts: 1)

  /// How far a failed request got.
  package enum Progress: Sendable, Hashable {
    /// The server certainly did not see it.
    case unsent
    /// The server may have acted on it.
    case uncertain
    /// The server answered that it cannot now (503).
    case refused
    /// Sending again gives the same answer.
    case final
  }

  /// How long to wait after failure number `failures` (from 1), or nil to give up; `chance` is 0…1.
  ///
  /// What may have been acted on is sent again only if it is `idempotent`. The wait is between half and all of the
  /// doubled delay, so that clients of a server that comes back do not move in step.
  package func delay(afterFailure failures: Int, progress: Progress, idempotent: Bool, chance: Double) -> Duration? {
    guard failures < attempts else { return nil }
    switch progress {
    case .unsent: break
    case .uncertain, .refused: guard idempotent else { return nil }
    case .final: return nil
    }
    var delay = firstDelay
    for _ in 1..<max(1, failures) where delay < longestDelay { delay = delay * 2 }
    return min(delay, longestDelay) * (0.5 + 0.5 * min(1, max(0, chance)))
  }
}
