import ClusterModel
import Synchronization

/// The instruments of asynchronous calls and schedules, written as Prometheus text. Labels are bounded: functions up to
/// `Limits.asyncMeteredFunctions`, closed lists of outcomes.
final class CallMetrics: Sendable {
  /// What an attempt came to.
  enum Attempt: String {
    case done, retried, dead, unreached
  }

  /// What became of sending a callback.
  enum Callback: String {
    case sent, retried
    case givenUp = "given_up"
  }

  private struct Row {
    var taken = 0
    var attempts: [Attempt: Int] = [:]
    var callbacks: [Callback: Int] = [:]
    var scheduled = 0
    var missed = 0
    var skipped = 0
  }

  /// The calls of a function as they are now.
  struct Standing {
    var waiting = 0
    var running = 0
    var dead = 0
    /// When the call was taken that waits or runs the longest.
    var oldest: Timestamp?
  }

  private let rows = Mutex<[String: Row]>([:])

  private func change(_ function: String, _ body: (inout Row) -> Void) {
    rows.withLock { rows in
      let isKnown = rows[function] != nil || rows.count < Limits.asyncMeteredFunctions
      body(&rows[isKnown ? function : "other", default: Row()])
    }
  }

  /// A call was taken; functions are `NAMESPACE/NAME`.
  func taken(_ function: String) { change(function) { $0.taken += 1 } }
  /// An attempt ended.
  func ended(_ function: String, _ what: Attempt) { change(function) { $0.attempts[what, default: 0] += 1 } }
  /// A callback was sent, or not.
  func called(_ function: String, _ what: Callback) { change(function) { $0.callbacks[what, default: 0] += 1 } }
  /// A scheduled run was queued.
  func scheduled(_ function: String) { change(function) { $0.scheduled += 1 } }
  /// Runs were missed.
  func missed(_ function: String, _ count: Int) { change(function) { $0.missed += count } }
  /// A run was left out.
  func skipped(_ function: String) { change(function) { $0.skipped += 1 } }

  /// All instruments; `standing` are the functions with calls that are not over, or dead.
  func text(_ standing: [String: Standing], results: Int, resultBytes: Int, at now: Timestamp) -> String {
    let rows = rows.withLock { $0 }.sorted { $0.key < $1.key }
    var out = MetricsText()
    let bounded = standing.sorted { $0.key < $1.key }.prefix(Limits.asyncMeteredFunctions)
    func gauge(_ name: String, _ help: String, _ value: (Standing) -> Int64?) {
      out.family(name, "gauge", help)
      for (function, calls) in bounded {
        if let value = value(calls) { out.sample(name, [("function", function)], Double(value)) }
      }
    }
    func counter(_ name: String, _ help: String, _ value: (Row) -> Int) {
      out.family(name, "counter", help)
      for (function, row) in rows { out.sample(name, [("function", function)], Double(value(row))) }
    }
    gauge("apus_async_queue_depth", "Calls that wait, those for another attempt too.") { Int64($0.waiting) }
    gauge("apus_async_running", "Calls that are being run.") { Int64($0.running) }
    gauge("apus_async_dead_letters", "Calls that were given up and are kept.") { Int64($0.dead) }
    gauge("apus_async_oldest_seconds", "Age of the oldest call that waits or runs.") { calls in
      calls.oldest.map { max(0, now.milliseconds(since: $0)) / 1000 }
    }
    counter("apus_async_calls_total", "Calls taken.") { $0.taken }
    out.family("apus_async_attempts_total", "counter", "Attempts that ended, by what they came to.")
    for (function, row) in rows {
      for (what, count) in row.attempts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        out.sample(
          "apus_async_attempts_total", [("function", function), ("outcome", what.rawValue)], Double(count))
      }
    }
    out.family("apus_async_callbacks_total", "counter", "Callbacks sent, by what became of them.")
    for (function, row) in rows {
      for (what, count) in row.callbacks.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        out.sample(
          "apus_async_callbacks_total", [("function", function), ("outcome", what.rawValue)], Double(count))
      }
    }
    out.single("apus_async_results", "gauge", "Results kept.", Double(results))
    out.single(
      "apus_async_result_bytes", "gauge", "Bytes of results kept, with their requests.", Double(resultBytes))
    counter("apus_schedule_runs_total", "Scheduled runs that were queued.") { $0.scheduled }
    counter("apus_schedule_missed_total", "Scheduled times that passed without a run.") { $0.missed }
    counter("apus_schedule_skipped_total", "Scheduled runs left out because the one before was not over.") {
      $0.skipped
    }
    return out.text
  }
}

extension CallService {
  /// Metrics of the calls and schedules of this server as Prometheus text.
  package func metricsText() -> String {
    let (standing, results, bytes) = board.withLock { ($0.standing(), $0.resultCount, $0.resultBytes) }
    return metrics.text(standing, results: results, resultBytes: bytes, at: clock())
  }
}

extension CallBoard {
  /// The calls of each function (`NAMESPACE/NAME`) that are not done.
  func standing() -> [String: CallMetrics.Standing] {
    var oldest: [Name: Timestamp] = [:]
    for entry in entries.values where entry.phase != .done && entry.phase != .dead {
      let name = Name(namespace: entry.namespace, function: entry.function)
      oldest[name] = min(oldest[name] ?? entry.enqueued, entry.enqueued)
    }
    var found: [String: CallMetrics.Standing] = [:]
    for (key, lane) in lanes {
      found[key] = CallMetrics.Standing(waiting: lane.queued - lane.running, running: lane.running, dead: lane.dead)
    }
    for (name, time) in oldest { found["\(name.namespace)/\(name.function)"]?.oldest = time }
    return found
  }

  private struct Name: Hashable {
    let namespace: String
    let function: String
  }
}
