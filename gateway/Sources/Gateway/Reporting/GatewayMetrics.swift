import ClusterAPI
import ClusterModel
import Synchronization

/// The gateway's instruments, written as Prometheus text. Labels are bounded: known functions, closed lists of codes.
final class GatewayMetrics: Sendable {
  private struct State {
    var connections = 0
    var connectionsTotal = 0
    var upstreamConnects = 0
    var unrouted = CallTotals()
  }

  private let state = Mutex(State())

  /// Counts a request that was for no function.
  func addUnrouted(_ record: CallRecord) { state.withLock { $0.unrouted.add(record) } }

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

  /// One function as it is now.
  struct Row {
    var route: FunctionRoute
    var figures: FunctionDispatcher.Figures
    var totals: CallTotals
  }

  /// Totals by label: functions that were called, sorted, those beyond the bound as `other`; requests for none as "".
  private func totals(_ rows: [Row], _ unrouted: CallTotals) -> [(key: String, value: CallTotals)] {
    var functions: [(key: String, value: CallTotals)] = []
    if !unrouted.byClass.isEmpty { functions.append(("", unrouted)) }
    var other = CallTotals()
    var called = 0
    for row in rows where !row.totals.byClass.isEmpty {
      called += 1
      if called <= GatewayLimits.meteredFunctions {
        functions.append((row.route.key, row.totals))
      } else {
        other.merge(row.totals)
      }
    }
    if !other.byClass.isEmpty { functions.append(("other", other)) }
    return functions
  }

  /// All instruments as Prometheus text; `rows` are the functions as they are now, sorted by key.
  func text(_ rows: [Row], log: AccessLog?) -> String {
    let state = state.withLock { $0 }
    var out = MetricsText()
    let functions = totals(rows, state.unrouted)
    let figures = rows.map { ($0.route, $0.figures) }
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
    let phases = "apus_gateway_cold_start_seconds"
    out.family(phases, "histogram", "Phases of the starts that calls waited for.")
    for (key, metrics) in functions {
      for (phase, histogram) in metrics.coldPhases.sorted(by: { $0.key < $1.key }) {
        out.samples(phases, [("function", key), ("phase", phase)], histogram)
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

extension MetricsText {
  mutating func counter<M>(_ name: String, _ help: String, _ rows: [(key: String, value: M)], _ value: (M) -> Double) {
    family(name, "counter", help)
    for row in rows { sample(name, [("function", row.key)], value(row.value)) }
  }

  mutating func histogram<M>(
    _ name: String, _ help: String, _ rows: [(key: String, value: M)], _ value: (M) -> CallTotals.Histogram
  ) {
    family(name, "histogram", help)
    for row in rows { samples(name, [("function", row.key)], value(row.value)) }
  }

  /// One histogram of a family.
  mutating func samples(_ name: String, _ labels: [(String, String)], _ histogram: CallTotals.Histogram) {
    var total = 0
    for (index, count) in histogram.buckets.enumerated() {
      total += count
      let bound = index < CallTotals.bounds.count ? "\(CallTotals.bounds[index])" : "+Inf"
      sample("\(name)_bucket", labels + [("le", bound)], Double(total))
    }
    sample("\(name)_sum", labels, histogram.sum)
    sample("\(name)_count", labels, Double(histogram.count))
  }
}
