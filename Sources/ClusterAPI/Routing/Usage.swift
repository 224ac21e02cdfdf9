internal import ClusterModel

/// What one gateway saw of one function since its last report.
package struct FunctionUsage: Codable, Hashable, Sendable {
  /// The namespace.
  package var namespace: String
  /// The function's name.
  package var function: String
  /// Calls running now.
  package var inFlight: Int
  /// Calls waiting now.
  package var queued: Int
  /// Calls that ended since the last report.
  package var calls: Int
  /// Of those, answered with 5xx.
  package var errors: Int
  /// Of those, had to wait for a pod to start.
  package var coldStarts: Int
  /// Durations in bucket counts of `LatencyBuckets`.
  package var durations: [Int]
  /// Milliseconds from request to first byte of the cold starts since the last report (at most 100).
  package var coldMilliseconds: [Double]
  /// The last scaling decision, for `describe`.
  package var decision: String?
  /// Call ids of the last errors (at most 5).
  package var errorCalls: [String]

  /// Usage of a function with nothing in it.
  package init(namespace: String, function: String) {
    self.namespace = namespace
    self.function = function
    inFlight = 0
    queued = 0
    calls = 0
    errors = 0
    coldStarts = 0
    durations = []
    coldMilliseconds = []
    errorCalls = []
  }

  /// The same with numbers that can be added up and texts that can be kept: what a gateway tells is summed, stored and shown.
  package var clamped: FunctionUsage {
    func count(_ number: Int) -> Int { min(max(number, 0), Self.countMaximum) }
    var clamped = self
    (clamped.inFlight, clamped.queued) = (count(inFlight), count(queued))
    (clamped.calls, clamped.errors, clamped.coldStarts) = (count(calls), count(errors), count(coldStarts))
    clamped.durations = durations.prefix(LatencyBuckets.count).map(count)
    clamped.coldMilliseconds = coldMilliseconds.suffix(100)
      .map { $0.isFinite ? min(max($0, 0), StartupBreakdown.longest) : 0 }
    clamped.decision = decision?.shortened(to: Limits.messageBytes)
    clamped.errorCalls = errorCalls.prefix(5).map { $0.shortened(to: 64) }
    return clamped
  }

  /// The largest number of calls that one report is believed.
  package static let countMaximum = 1_000_000_000
}

/// Buckets of call durations: four to each doubling, from 0.05 ms; the last is open.
package enum LatencyBuckets {
  /// How many buckets there are.
  package static let count = 96
  private static let first = 0.05

  /// The bucket of a duration in milliseconds.
  package static func index(milliseconds: Double) -> Int {
    guard milliseconds > first else { return 0 }
    var bound = first
    var index = 0
    // Four steps a doubling; a loop of at most 96 multiplications keeps this free of libm.
    while bound < milliseconds, index < count - 1 {
      bound *= 1.189207115002721
      index += 1
    }
    return index
  }

  /// The upper bound of a bucket in milliseconds.
  package static func bound(_ index: Int) -> Double {
    var bound = first
    for _ in 0..<max(0, index) { bound *= 1.189207115002721 }
    return bound
  }

  /// A quantile (0…1) of counts, in milliseconds; nil without samples.
  package static func quantile(_ quantile: Double, of counts: [Int]) -> Double? {
    let total = counts.reduce(0, +)
    guard total > 0 else { return nil }
    let rank = Int((Double(total) * quantile).rounded(.up))
    var seen = 0
    for (index, count) in counts.enumerated() {
      seen += count
      if seen >= max(1, rank) { return bound(index) }
    }
    return bound(counts.count - 1)
  }
}

/// Takes gateways' reports, one each second.
package protocol UsageSink: Sendable {
  /// Adds what a gateway saw.
  func report(_ usage: [FunctionUsage], gateway: String) async
}
