internal import Synchronization

/// Lets a bounded number of queries run at once.
final class QueryPermits: Sendable {
  private let running = Mutex(0)
  let maximum: Int

  init(maximum: Int) { self.maximum = maximum }

  /// A permit, given back when it is released; nil when all are taken.
  func take() -> QueryPermit? {
    let isFree = running.withLock { running in
      guard running < maximum else { return false }
      running += 1
      return true
    }
    return isFree ? QueryPermit(permits: self) : nil
  }

  /// Queries that run now.
  var taken: Int { running.withLock { $0 } }

  fileprivate func giveBack() { running.withLock { $0 -= 1 } }
}

/// The right to run one query, for as long as this lives.
final class QueryPermit: Sendable {
  private let permits: QueryPermits

  fileprivate init(permits: QueryPermits) { self.permits = permits }

  deinit { permits.giveBack() }
}
