import Synchronization

/// Counts connections against a bound.
final class ConnectionCount: Sendable {
  private let count = Atomic<Int>(0)

  /// One more, unless the bound is reached.
  func enter(limit: Int) -> Bool {
    if count.add(1, ordering: .relaxed).newValue <= limit { return true }
    count.subtract(1, ordering: .relaxed)
    return false
  }

  /// One less.
  func leave() { count.subtract(1, ordering: .relaxed) }
}
