package import ClusterModel
import Synchronization

/// Soft status of functions: what is known in memory and merged into answers, never written to the store.
package final class SoftOverlay: Sendable {
  /// What is merged into one function's status.
  package struct Entry: Hashable, Sendable {
    /// Pods that take requests.
    package var readyPods = 0
    /// Pods that are ready or on their way.
    package var wantedPods = 0
    /// What gateways measured.
    package var figures = FunctionFigures()
    /// What its schedules did and will do.
    package var schedules: [ScheduleStatus] = []
  }

  /// Watchers that may wait for changes at once.
  static let watchersMax = 10_000

  private struct State {
    var entries: [String: Entry] = [:]
    var nodes: [String: NodeStatus] = [:]
    var watchers: [Int: SoftChanges] = [:]
    var nextWatcher = 0
  }

  private let state = Mutex(State())

  /// Nothing known.
  package init() {}

  /// Changes the entry of a function (`namespace/name`) and tells watchers when it really changed.
  package func update(_ function: String, _ change: (inout Entry) -> Void) {
    let watchers: [SoftChanges] = state.withLock { state in
      var entry = state.entries[function] ?? Entry()
      let before = entry
      change(&entry)
      guard entry != before else { return [] }
      state.entries[function] = entry
      return Array(state.watchers.values)
    }
    for watcher in watchers { watcher.note("\(ResourceKind.function.plural)/\(function)") }
  }

  /// Sets the status of a node and tells watchers when its condition, not just its load, changed.
  package func update(node: String, _ status: NodeStatus) {
    let watchers: [SoftChanges] = state.withLock { state in
      let before = state.nodes[node]
      state.nodes[node] = status
      return before?.conditions == status.conditions ? [] : Array(state.watchers.values)
    }
    for watcher in watchers { watcher.note("\(ResourceKind.node.plural)/_/\(node)") }
  }

  /// Whether a node's worker is joined now.
  func isJoined(node: String) -> Bool {
    state.withLock { $0.nodes[node]?.conditions?.contains { $0.type == "Ready" && $0.status == "True" } ?? false }
  }

  /// How many wait for changes.
  var watching: Int { state.withLock { $0.watchers.count } }

  /// Forgets a deleted function.
  package func remove(_ function: String) {
    state.withLock { $0.entries[function] = nil }
  }

  /// The entry of a function.
  package func entry(_ function: String) -> Entry? { state.withLock { $0.entries[function] } }

  /// The objects whose soft status changes from now on, until nobody waits for their signals.
  func changes() -> SoftChanges {
    let changes = SoftChanges()
    let id = state.withLock { state -> Int in
      state.nextWatcher += 1
      if state.watchers.count < Self.watchersMax { state.watchers[state.nextWatcher] = changes }
      return state.nextWatcher
    }
    changes.whenEnded { [weak self] in self?.state.withLock { $0.watchers[id] = nil } }
    return changes
  }

  /// A node's object with its soft status merged in.
  func merged(intoNode object: JSONValue) -> JSONValue {
    guard let name = object.at(path: "metadata.name")?.stringValue,
      let status = state.withLock({ $0.nodes[name] }), let tree = try? JSONValue(encoding: status)
    else { return object }
    var object = object
    object["status"] = tree
    return object
  }

  /// A function's object with its soft status merged in.
  func merged(into object: JSONValue) -> JSONValue {
    guard let name = object.at(path: "metadata.name")?.stringValue,
      let entry = entry("\(object.at(path: "metadata.namespace")?.stringValue ?? "default")/\(name)")
    else { return object }
    var object = object
    var status = object["status"] ?? .object([:])
    status["readyPods"] = .int(Int64(entry.readyPods))
    status["wantedPods"] = .int(Int64(entry.wantedPods))
    status["figures"] = try? JSONValue(encoding: entry.figures)
    if !entry.schedules.isEmpty { status["schedules"] = try? JSONValue(encoding: entry.schedules) }
    object["status"] = status
    return object
  }
}
