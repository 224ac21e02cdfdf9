import ClusterAPI

/// Tells the control plane once a second what each function did, while it did something.
struct UsageReporter: Sendable {
  let sink: any UsageSink
  let gateway: String
  let table: RouteTable

  /// Reports until cancelled; the last report is made on the way out.
  func run() async {
    var last: [String: FunctionDispatcher.Figures] = [:]
    while !Task.isCancelled {
      do { try await Task.sleep(for: .seconds(1)) } catch { break }
      await report(&last)
    }
    // In a task of its own, because a sink may send nothing for one that is cancelled.
    await Task { [last] in
      var last = last
      await report(&last)
    }.value
  }

  private func report(_ last: inout [String: FunctionDispatcher.Figures]) async {
    var usages: [FunctionUsage] = []
    var seen: [String: FunctionDispatcher.Figures] = [:]
    for dispatcher in table.dispatchers {
      let route = dispatcher.route
      let figures = dispatcher.figures
      var usage = FunctionUsage(namespace: route.namespace, function: route.function)
      let ended = dispatcher.meters.take(into: &usage)
      seen[dispatcher.key] = figures
      guard ended || last[dispatcher.key] != figures else { continue }
      usage.inFlight = figures.inFlight
      usage.queued = figures.queued
      usage.decision = figures.decision
      usages.append(usage)
    }
    last = seen
    if !usages.isEmpty { await sink.report(usages, gateway: gateway) }
  }
}
