import ClusterAPI
import Synchronization

/// What was counted of one function's calls since the last report.
final class UsageCounters: Sendable {
  private struct Counts {
    var calls = 0
    var errors = 0
    var coldStarts = 0
    var durations: [Int] = []
    var cold: [Double] = []
    var errorCalls: [String] = []
  }

  private let counts = Mutex(Counts())

  /// Counts a call that ended.
  func add(_ record: CallRecord) {
    counts.withLock { counts in
      counts.calls += 1
      if counts.durations.isEmpty { counts.durations = Array(repeating: 0, count: LatencyBuckets.count) }
      counts.durations[LatencyBuckets.index(milliseconds: record.duration)] += 1
      if record.status >= 500 {
        counts.errors += 1
        if counts.errorCalls.count >= 5 { counts.errorCalls.removeFirst() }
        counts.errorCalls.append(record.call)
      }
      if record.cold {
        counts.coldStarts += 1
        if counts.cold.count < 100, let first = record.firstByte { counts.cold.append(first) }
      }
    }
  }

  /// Takes the counts and starts anew; nil when no call ended.
  func take(into usage: inout FunctionUsage) -> Bool {
    counts.withLock { counts in
      guard counts.calls > 0 else { return false }
      usage.calls = counts.calls
      usage.errors = counts.errors
      usage.coldStarts = counts.coldStarts
      usage.durations = counts.durations
      usage.coldMilliseconds = counts.cold
      usage.errorCalls = counts.errorCalls
      counts = Counts()
      return true
    }
  }
}
