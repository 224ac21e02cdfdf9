import ClusterAPI
import ClusterModel
import Synchronization

/// The gateway's instruments, written as Prometheus text. Labels are bounded: known functions, closed lists of codes.
final class GatewayMetrics: Sendable {
  /// Upper bounds of the histograms, seconds.
  static let bounds: [Double] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
  ]

  struct Histogram {
    var buckets = [Int](repeating: 0, count: GatewayMetrics.bounds.count + 1)
    var sum = 0.0
    var count = 0

    mutating func observe(seconds: Double) {
      buckets[GatewayMetrics.bounds.firstIndex { seconds <= $0 } ?? GatewayMetrics.bounds.count] += 1
      sum += seconds
      count += 1
    }
  }

  private struct FunctionMetrics {
    var byClass = [Int](repeating: 0, count: 6)
    var duration = Histogram()
    var wait = Histogram()
    var bytesIn: Int64 = 0
    var bytesOut: Int64 = 0
    var cold = 0
    var coldPhases: [String: (sum: Double, count: Int)] = [:]
    var errors: [CallErrorCode: Int] = [:]
    var retries = 0
    var clientGone = 0
  }

  private struct State {
    var functions: [String: FunctionMetrics] = [:]
    var connections = 0
    var connectionsTotal = 0
    var upstreamConnects = 0
  }

  private let state = Mutex(State())

  /// Counts a call that ended.
  func add(_ record: CallRecord) {
    state.withLock { state in
      var key = record.function.isEmpty ? "" : "\(record.namespace)/\(record.function)"
      if state.functions[key] == nil, state.functions.count >= GatewayLimits.meteredFunctions { key = "other" }
      var metrics = state.functions.removeValue(forKey: key) ?? FunctionMetrics()
      metrics.byClass[max(0, min(5, record.status / 100))] += 1
      metrics.duration.observe(seconds: record.duration / 1000)
      metrics.wait.observe(seconds: record.queued / 1000)
      metrics.bytesIn += record.bytesIn
      metrics.bytesOut += record.bytesOut
      metrics.retries += record.retries
      if record.clientGone { metrics.clientGone += 1 }
      if let code = record.code { metrics.errors[code, default: 0] += 1 }
      if record.cold {
        metrics.cold += 1
        let phases = [
          ("placed", record.startup?.placed), ("prepared", record.startup?.prepared),
          ("sandboxed", record.startup?.sandboxed), ("ready", record.startup?.ready), ("total", record.firstByte),
        ]
        for (phase, value) in phases {
          guard let value else { continue }
          let known = metrics.coldPhases[phase] ?? (0, 0)
          metrics.coldPhases[phase] = (known.sum + value / 1000, known.count + 1)
        }
      }
      state.functions[key] = metrics
    }
  }

  /// Counts a connection; answers how many are open with it.
  func clientConnected() -> Int {
    state.withLock {
      $0.connections += 1
      $0.connectionsTotal += 1
      return $0.connections
    }
  }

  func clientDisconnected() { state.withLock { $0.connections -= 1 } }

  func upstreamConnected() { state.withLock { $0.upstreamConnects += 1 } }

  /// Client connections open now.
  var connections: Int { state.withLock { $0.connections } }

  /// All instruments as Prometheus text; `figures` are the queues as they are now.
  func text(figures: [(FunctionRoute, FunctionDispatcher.Figures)], log: AccessLog?) -> String {
    let state = state.withLock { $0 }
    var out = MetricsText()
    let functions = state.functions.sorted { $0.key < $1.key }
    out.family("apus_gateway_requests_total", "counter", "Calls that ended, by function and class of status.")
    for (key, metrics) in functions {
      for (index, count) in metrics.byClass.enumerated() where count > 0 {
        out.sample("apus_gateway_requests_total", [("function", key), ("code", "\(index)xx")], Double(count))
      }
    }
    out.family("apus_gateway_errors_total", "counter", "Calls answered by the platform itself, by code.")
    for (key, metrics) in functions {
      for (code, count) in metrics.errors.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        out.sample("apus_gateway_errors_total", [("function", key), ("reason", code.rawValue)], Double(count))
      }
    }
    out.counter("apus_gateway_retries_total", "Times a call was sent to another pod.", functions) { Double($0.retries) }
    out.counter("apus_gateway_client_gone_total", "Calls whose client left early.", functions) { Double($0.clientGone) }
    out.counter("apus_gateway_request_bytes_total", "Bytes of request bodies.", functions) { Double($0.bytesIn) }
    out.counter("apus_gateway_response_bytes_total", "Bytes of answer bodies.", functions) { Double($0.bytesOut) }
    out.counter("apus_gateway_cold_starts_total", "Calls that waited for a pod to start.", functions) {
      Double($0.cold)
    }
    out.family("apus_gateway_cold_start_seconds", "summary", "Phases of the starts that calls waited for.")
    for (key, metrics) in functions {
      for (phase, value) in metrics.coldPhases.sorted(by: { $0.key < $1.key }) {
        let labels = [("function", key), ("phase", phase)]
        out.sample("apus_gateway_cold_start_seconds_sum", labels, value.sum)
        out.sample("apus_gateway_cold_start_seconds_count", labels, Double(value.count))
      }
    }
    out.histogram("apus_gateway_request_duration_seconds", "Head in to answer out.", functions) { $0.duration }
    out.histogram("apus_gateway_queue_wait_seconds", "Time waited for a pod.", functions) { $0.wait }
    gauges(&out, figures)
    out.single("apus_gateway_connections", "gauge", "Client connections open.", Double(state.connections))
    out.single(
      "apus_gateway_connections_total", "counter", "Client connections accepted.", Double(state.connectionsTotal))
    out.single(
      "apus_gateway_upstream_connects_total", "counter", "Connections made to pods.", Double(state.upstreamConnects))
    out.single(
      "apus_gateway_log_records_dropped_total", "counter", "Access records dropped.", Double(log?.dropped ?? 0))
    out.single(
      "apus_gateway_log_records_waiting", "gauge", "Access records not acknowledged.", Double(log?.waiting ?? 0))
    return out.text
  }

  private func gauges(_ out: inout MetricsText, _ figures: [(FunctionRoute, FunctionDispatcher.Figures)]) {
    let bounded = figures.prefix(GatewayLimits.meteredFunctions)
    out.family("apus_gateway_in_flight", "gauge", "Calls inside pods.")
    for (route, value) in bounded {
      out.sample("apus_gateway_in_flight", [("function", route.key)], Double(value.inFlight))
    }
    out.family("apus_gateway_queue_depth", "gauge", "Calls waiting for a pod.")
    for (route, value) in bounded {
      out.sample("apus_gateway_queue_depth", [("function", route.key)], Double(value.queued))
    }
    out.family("apus_gateway_pods", "gauge", "Pods as this gateway knows them, by state.")
    for (route, value) in bounded {
      for (state, count) in [("ready", value.ready), ("starting", value.starting), ("draining", value.draining)] {
        out.sample("apus_gateway_pods", [("function", route.key), ("state", state)], Double(count))
      }
    }
  }
}

/// Builds Prometheus text.
struct MetricsText {
  private(set) var text = ""

  mutating func family(_ name: String, _ kind: String, _ help: String) {
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
  }

  mutating func sample(_ name: String, _ labels: [(String, String)], _ value: Double) {
    text += name
    if !labels.isEmpty {
      text += "{" + labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",") + "}"
    }
    let whole = value.rounded() == value && abs(value) < 1e15
    text += whole ? " \(Int64(value))\n" : " \(value)\n"
  }

  mutating func single(_ name: String, _ kind: String, _ help: String, _ value: Double) {
    family(name, kind, help)
    sample(name, [], value)
  }

  mutating func counter<M>(_ name: String, _ help: String, _ rows: [(key: String, value: M)], _ value: (M) -> Double) {
    family(name, "counter", help)
    for row in rows { sample(name, [("function", row.key)], value(row.value)) }
  }

  mutating func histogram<M>(
    _ name: String, _ help: String, _ rows: [(key: String, value: M)], _ value: (M) -> GatewayMetrics.Histogram
  ) {
    family(name, "histogram", help)
    for row in rows {
      let histogram = value(row.value)
      var total = 0
      for (index, count) in histogram.buckets.enumerated() {
        total += count
        let bound = index < GatewayMetrics.bounds.count ? "\(GatewayMetrics.bounds[index])" : "+Inf"
        sample("\(name)_bucket", [("function", row.key), ("le", bound)], Double(total))
      }
      sample("\(name)_sum", [("function", row.key)], histogram.sum)
      sample("\(name)_count", [("function", row.key)], Double(histogram.count))
    }
  }

  private static func escaped(_ value: String) -> String {
    guard value.utf8.contains(where: { $0 == 34 || $0 == 92 || $0 == 10 }) else { return value }
    var out = ""
    for character in value.unicodeScalars {
      switch character {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      default: out.unicodeScalars.append(character)
      }
    }
    return out
  }
}
