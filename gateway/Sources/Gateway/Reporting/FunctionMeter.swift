import ClusterAPI
import ClusterModel
import Synchronization

/// What is counted of one function's calls: one meter an event loop, so that loops do not wait for each other.
final class FunctionMeters: Sendable {
  private let meters: [FunctionMeter]

  /// Meters of so many loops.
  init(loops: Int) { meters = (0..<max(1, loops)).map { _ in FunctionMeter() } }

  /// Counts a call that ended on a loop.
  func add(_ record: CallRecord, loop: Int) { meters[min(loop, meters.count - 1)].add(record) }

  /// Everything counted so far.
  var totals: CallTotals {
    meters.reduce(into: CallTotals()) { sum, meter in sum.merge(meter.totals) }
  }

  /// Takes what was counted since the last report; false when no call ended.
  func take(into usage: inout FunctionUsage) -> Bool {
    var since = RecentCalls()
    for meter in meters { since.merge(meter.takeRecent()) }
    guard since.calls > 0 else { return false }
    usage.calls = since.calls
    usage.errors = since.errors
    usage.coldStarts = since.coldStarts
    usage.durations = since.durations
    usage.coldMilliseconds = since.cold
    usage.errorCalls = since.errorCalls
    return true
  }
}

/// The calls one event loop ended for one function.
final class FunctionMeter: Sendable {
  private final class Counts {
    var totals = CallTotals()
    var recent = RecentCalls()
  }

  // Most of many functions are never called on most loops.
  private let state = Mutex<Counts?>(nil)

  /// Counts a call that ended.
  func add(_ record: CallRecord) {
    state.withLock { state in
      let counts = state ?? Counts()
      state = counts
      counts.totals.add(record)
      counts.recent.add(record)
    }
  }

  var totals: CallTotals { state.withLock { $0?.totals ?? CallTotals() } }

  func takeRecent() -> RecentCalls {
    state.withLock { state in
      guard let counts = state, counts.recent.calls > 0 else { return RecentCalls() }
      let taken = counts.recent
      counts.recent = RecentCalls()
      return taken
    }
  }
}

/// Counts since the start of the gateway; empty arrays until the first call.
struct CallTotals {
  /// Upper bounds of the histograms, seconds.
  static let bounds: [Double] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
  ]

  /// Observations by upper bound.
  struct Histogram {
    /// One count a bound and one beyond the last; empty until something is observed.
    var buckets: [Int] = []
    var sum = 0.0
    var count = 0

    mutating func observe(seconds: Double) {
      if buckets.isEmpty { buckets = [Int](repeating: 0, count: CallTotals.bounds.count + 1) }
      var index = 0
      while index < CallTotals.bounds.count, seconds > CallTotals.bounds[index] { index += 1 }
      buckets[index] += 1
      sum += seconds
      count += 1
    }

    mutating func merge(_ other: Histogram) {
      if buckets.isEmpty {
        buckets = other.buckets
      } else {
        for index in other.buckets.indices { buckets[index] += other.buckets[index] }
      }
      sum += other.sum
      count += other.count
    }
  }

  var byClass: [Int] = []
  var duration = Histogram()
  var wait = Histogram()
  var bytesIn: Int64 = 0
  var bytesOut: Int64 = 0
  var cold = 0
  /// By phase: queued, placed, prepared, sandboxed, ready, first_byte. Only of calls that waited for a start.
  var coldPhases: [String: Histogram] = [:]
  var errors: [CallErrorCode: Int] = [:]
  var retries = 0
  var clientGone = 0

  mutating func add(_ record: CallRecord) {
    if byClass.isEmpty { byClass = [Int](repeating: 0, count: 6) }
    byClass[max(0, min(5, record.status / 100))] += 1
    duration.observe(seconds: record.duration / 1000)
    wait.observe(seconds: record.queued / 1000)
    bytesIn += record.bytesIn
    bytesOut += record.bytesOut
    retries += record.retries
    if record.clientGone { clientGone += 1 }
    if let code = record.code { errors[code, default: 0] += 1 }
    if record.cold { addCold(record) }
  }

  private mutating func addCold(_ record: CallRecord) {
    cold += 1
    let started = record.pod?.endpoint.startup?.phases ?? []
    for (phase, value) in [("queued", record.queued)] + started + [("first_byte", record.firstByte)] {
      if let value { coldPhases[phase, default: Histogram()].observe(seconds: value / 1000) }
    }
  }

  /// Adds what another one counted.
  mutating func merge(_ other: CallTotals) {
    if byClass.isEmpty {
      byClass = other.byClass
    } else {
      for index in other.byClass.indices { byClass[index] += other.byClass[index] }
    }
    duration.merge(other.duration)
    wait.merge(other.wait)
    bytesIn += other.bytesIn
    bytesOut += other.bytesOut
    cold += other.cold
    for (phase, value) in other.coldPhases { coldPhases[phase, default: Histogram()].merge(value) }
    errors.merge(other.errors, uniquingKeysWith: +)
    retries += other.retries
    clientGone += other.clientGone
  }
}

/// Counts since the last report to the control plane.
struct RecentCalls {
  /// Cold starts whose time is kept.
  static let coldMax = 100
  /// Failed calls whose id is kept.
  static let errorCallsMax = 5

  var calls = 0
  var errors = 0
  var coldStarts = 0
  var durations: [Int] = []
  var cold: [Double] = []
  var errorCalls: [String] = []

  mutating func add(_ record: CallRecord) {
    calls += 1
    if durations.isEmpty { durations = Array(repeating: 0, count: LatencyBuckets.count) }
    durations[LatencyBuckets.index(milliseconds: record.duration)] += 1
    if record.status >= 500 {
      errors += 1
      if errorCalls.count >= Self.errorCallsMax { errorCalls.removeFirst() }
      errorCalls.append(record.text.callID)
    }
    if record.cold {
      coldStarts += 1
      if cold.count < Self.coldMax, let first = record.firstByte { cold.append(first) }
    }
  }

  mutating func merge(_ other: RecentCalls) {
    calls += other.calls
    errors += other.errors
    coldStarts += other.coldStarts
    if durations.isEmpty {
      durations = other.durations
    } else {
      for index in other.durations.indices { durations[index] += other.durations[index] }
    }
    cold = Array((cold + other.cold).prefix(Self.coldMax))
    errorCalls = (errorCalls + other.errorCalls).suffix(Self.errorCallsMax)
  }
}
