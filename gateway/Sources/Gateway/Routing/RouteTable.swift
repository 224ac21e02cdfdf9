import ClusterAPI
import Synchronization

/// The functions this gateway knows, each with its dispatcher; changed only by the route follower.
final class RouteTable: Sendable {
  private struct State {
    var dispatchers: [String: FunctionDispatcher] = [:]
    var loaded = false
    var keys: InvokeKeys?
  }

  private let state = Mutex(State())
  private let changes = Atomic(0)
  private let load: AsyncStream<Void>
  private let loadInput: AsyncStream<Void>.Continuation
  private let make: @Sendable (FunctionRoute) -> FunctionDispatcher
  private let releaseUnknown: @Sendable (String) -> Void

  /// An empty table; `make` builds the dispatcher of a function seen for the first time, `releaseUnknown` confirms a
  /// draining pod of a function that is not known any more.
  init(
    make: @escaping @Sendable (FunctionRoute) -> FunctionDispatcher,
    releaseUnknown: @escaping @Sendable (String) -> Void
  ) {
    self.make = make
    self.releaseUnknown = releaseUnknown
    (load, loadInput) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
  }

  /// Waits for the first snapshot, at most so long.
  func waitUntilLoaded(milliseconds: Int64) async {
    guard !loaded else { return }
    await withTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in self.load { return } }
      group.addTask { try? await Task.sleep(for: .milliseconds(milliseconds)) }
      await group.next()
      group.cancelAll()
    }
  }

  /// Whether a snapshot was ever received.
  var loaded: Bool { state.withLock { $0.loaded } }

  /// The tokens that may call functions; nil while the control plane has not told.
  var keys: InvokeKeys? { state.withLock { $0.keys } }

  /// Rises whenever a function comes or goes.
  var generation: Int { changes.load(ordering: .acquiring) }

  /// All dispatchers, in no order.
  var dispatchers: [FunctionDispatcher] { state.withLock { Array($0.dispatchers.values) } }

  /// The dispatcher of `namespace/function`.
  func dispatcher(_ key: String) -> FunctionDispatcher? { state.withLock { $0.dispatchers[key] } }

  /// Applies one step of the feed. Only one thread at a time may call.
  func apply(_ update: RouteUpdate) {
    switch update {
    case .snapshot(let functions, let endpoints): replace(functions, endpoints)
    case .function(let route): change(route)
    case .functionRemoved(let namespace, let function):
      remove("\(namespace)/\(function)")
      sweep()
    case .endpoint(let endpoint):
      if let dispatcher = dispatcher("\(endpoint.namespace)/\(endpoint.function)") {
        dispatcher.endpointChanged(endpoint)
        if endpoint.state == .gone, dispatcher.isOver { sweep() }
      } else if endpoint.state == .draining {
        releaseUnknown(endpoint.uid)
      }
    case .startFailed(let failure):
      dispatcher("\(failure.namespace)/\(failure.function)")?.startFailed(failure)
    case .credentials(let credentials):
      let keys = InvokeKeys(credentials)
      state.withLock { $0.keys = keys }
    }
  }

  private func change(_ route: FunctionRoute) {
    if let known = dispatcher(route.key) { return known.routeChanged(route) }
    let made = make(route)
    state.withLock { $0.dispatchers[route.key] = made }
    changes.add(1, ordering: .releasing)
  }

  /// A removed function's dispatcher stays until its pods are gone, because they wait for its word.
  private func remove(_ key: String) { dispatcher(key)?.functionRemoved() }

  /// Forgets removed functions of which nothing is left. Only the follower calls, so that no function comes back between
  /// the look and the removal.
  private func sweep() {
    for dispatcher in dispatchers where dispatcher.isOver {
      state.withLock { $0.dispatchers[dispatcher.key] = nil }
      changes.add(1, ordering: .releasing)
    }
  }

  private func replace(_ functions: [FunctionRoute], _ endpoints: [EndpointRoute]) {
    let named = Set(functions.map(\.key))
    for dispatcher in dispatchers where !named.contains(dispatcher.key) { remove(dispatcher.key) }
    for route in functions { change(route) }
    var byFunction: [String: [EndpointRoute]] = [:]
    for endpoint in endpoints where endpoint.state != .gone {
      byFunction["\(endpoint.namespace)/\(endpoint.function)", default: []].append(endpoint)
    }
    for dispatcher in dispatchers {
      let current = byFunction[dispatcher.key] ?? []
      for endpoint in current { dispatcher.endpointChanged(endpoint, inSnapshot: true) }
      dispatcher.keepOnly(Set(current.map(\.uid)))
    }
    state.withLock { $0.loaded = true }
    loadInput.yield()
  }
}
