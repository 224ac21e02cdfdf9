package import ClusterAPI
package import ClusterModel
import FoundationEssentials
import StateStore
import Synchronization

/// Adds up what gateways report, and writes each function's figures into the soft overlay.
///
/// Durations are kept in 30 windows of 10 s, so that P50 and P99 speak of the last five minutes.
package final class UsageBoard: UsageSink, Sendable {
  static let windows = 30
  static let windowMilliseconds: Int64 = 10_000
  static let coldSamples = 100
  static let decisionsKept = 20
  /// Functions whose figures are kept; of one more, which cannot exist, nothing is.
  static let functionsMaximum = 100_000

  private struct Figures {
    var windows: [(start: Int64, counts: [Int])] = []
    var cold: [Double] = []
    var gateways: [String: (inFlight: Int, queued: Int)] = [:]
    var figures = FunctionFigures()
  }

  /// What is kept of a function's figures over a restart of the server.
  private struct Kept: Codable, Hashable {
    var calls: Int
    var errors: Int
    var cold: [Double]
  }

  /// Where figures are kept in the store.
  static let prefix = "figures/"

  private let state = Mutex<[String: Figures]>([:])
  private let saved = Mutex<[String: Kept]>([:])
  let overlay: SoftOverlay
  private let now: @Sendable () -> Timestamp

  /// A board that writes into an overlay.
  package init(overlay: SoftOverlay, now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }) {
    self.overlay = overlay
    self.now = now
  }

  /// Adds what a gateway saw.
  package func report(_ usage: [FunctionUsage], gateway: String) async {
    let time = now()
    for item in usage.map(\.clamped) {
      let key = "\(item.namespace)/\(item.function)"
      let figures = state.withLock { state -> FunctionFigures? in
        guard state[key] != nil || state.count < Self.functionsMaximum else { return nil }
        var entry = state[key] ?? Figures()
        Self.add(item, gateway, to: &entry, at: time)
        state[key] = entry
        return entry.figures
      }
      if let figures { overlay.update(key) { $0.figures = figures } }
    }
  }

  /// Takes a gateway that is gone out of what runs and waits now.
  func forget(gateway: String) {
    let changed = state.withLock { state -> [(String, FunctionFigures)] in
      var changed: [(String, FunctionFigures)] = []
      for key in state.keys {
        guard state[key]?.gateways.removeValue(forKey: gateway) != nil, var entry = state[key] else { continue }
        Self.addUp(&entry)
        state[key] = entry
        changed.append((key, entry.figures))
      }
      return changed
    }
    for (key, figures) in changed { overlay.update(key) { $0.figures = figures } }
  }

  /// Takes the figures of an earlier server up again; those of functions that are gone are dropped with the next `save`.
  func load(from store: any StateStore, functions: Set<String>) async {
    var after: String?
    repeat {
      guard
        let page = try? await store.list(prefix: Self.prefix, after: after, limit: StoreLimits.pageItemsMax, at: nil)
      else { return }
      for item in page.items {
        guard let kept = try? JSONDecoder().decode(Kept.self, from: Data(item.value)) else { continue }
        let key = String(item.key.dropFirst(Self.prefix.count))
        saved.withLock { $0[key] = kept }
        guard functions.contains(key) else { continue }
        let figures = state.withLock { state -> FunctionFigures in
          var entry = Figures()
          entry.cold = kept.cold
          entry.figures.calls = kept.calls
          entry.figures.errors = kept.errors
          Self.summarizeCold(&entry)
          state[key] = entry
          return entry.figures
        }
        overlay.update(key) { $0.figures = figures }
      }
      after = page.next
    } while after != nil
  }

  /// Keeps what changed since the last time; what a kill in between loses is at most that.
  func save(to store: any StateStore) async {
    let now = state.withLock { state in
      state.mapValues { Kept(calls: $0.figures.calls, errors: $0.figures.errors, cold: $0.cold) }
    }
    let before = saved.withLock { $0 }
    var operations: [StoreOperation] = []
    for (key, kept) in now where before[key] != kept && (kept.calls > 0 || before[key] != nil) {
      guard let bytes = try? JSONCoding.encoder.encode(kept) else { continue }
      operations.append(.put(Self.prefix + key, value: Array(bytes), expires: nil))
    }
    for key in before.keys where now[key] == nil { operations.append(.delete(Self.prefix + key)) }
    for start in stride(from: 0, to: operations.count, by: StoreLimits.operationsMax) {
      let batch = Array(operations[start..<min(operations.count, start + StoreLimits.operationsMax)])
      guard (try? await store.commit([], batch)) != nil else { return }
    }
    saved.withLock { $0 = now.filter { $0.value.calls > 0 || before[$0.key] != nil } }
  }

  /// Notes a scaling decision of the control plane.
  package func note(_ function: String, _ text: String) {
    let time = now()
    let figures = state.withLock { state -> FunctionFigures in
      Self.note(text, in: &state[function, default: Figures()].figures, at: time)
      return state[function]?.figures ?? FunctionFigures()
    }
    overlay.update(function) { $0.figures = figures }
  }

  /// Forgets a deleted function.
  package func remove(_ function: String) {
    state.withLock { $0[function] = nil }
    overlay.remove(function)
  }

  private static func note(_ text: String, in figures: inout FunctionFigures, at time: Timestamp) {
    if figures.decisions.first?.text == text { figures.decisions.removeFirst() }
    figures.decisions.insert(ScalingNote(at: time, text: text), at: 0)
    if figures.decisions.count > decisionsKept { figures.decisions.removeLast() }
  }

  private static func addUp(_ entry: inout Figures) {
    entry.figures.inFlight = entry.gateways.values.reduce(0) { $0 + $1.inFlight }
    entry.figures.queued = entry.gateways.values.reduce(0) { $0 + $1.queued }
  }

  private static func add(_ item: FunctionUsage, _ gateway: String, to entry: inout Figures, at time: Timestamp) {
    // The last report of a gateway that ends has nothing running, and leaves no entry behind.
    entry.gateways[gateway] = item.inFlight + item.queued > 0 ? (item.inFlight, item.queued) : nil
    addUp(&entry)
    entry.figures.calls += item.calls
    entry.figures.errors += item.errors
    if let decision = item.decision { note(decision, in: &entry.figures, at: time) }
    if !item.errorCalls.isEmpty {
      entry.figures.errorCalls = Array((item.errorCalls.reversed() + entry.figures.errorCalls).prefix(5))
    }
    entry.cold = (entry.cold + item.coldMilliseconds).suffix(coldSamples)
    let start = time.milliseconds / windowMilliseconds
    if item.durations.contains(where: { $0 > 0 }) {
      if entry.windows.last?.start != start {
        entry.windows.append((start, [Int](repeating: 0, count: LatencyBuckets.count)))
      }
      let last = entry.windows.count - 1
      for (index, count) in item.durations.enumerated() where index < LatencyBuckets.count {
        entry.windows[last].counts[index] += count
      }
    }
    entry.windows.removeAll { start - $0.start >= Int64(windows) }
    var sums = [Int](repeating: 0, count: LatencyBuckets.count)
    for window in entry.windows {
      for (index, count) in window.counts.enumerated() { sums[index] += count }
    }
    entry.figures.p50Milliseconds = LatencyBuckets.quantile(0.5, of: sums)
    entry.figures.p99Milliseconds = LatencyBuckets.quantile(0.99, of: sums)
    summarizeCold(&entry)
  }

  private static func summarizeCold(_ entry: inout Figures) {
    let sorted = entry.cold.sorted()
    let rank = max(0, Int((Double(sorted.count) * 0.99).rounded(.up)) - 1)
    entry.figures.coldP99Milliseconds = sorted.isEmpty ? nil : sorted[rank]
  }
}
