import ClusterAPI
import ClusterModel

@testable import Gateway

/// Decodes a route from the wire form, as a gateway gets it.
func makeRoute(
  _ name: String = "echo", uid: String = "f1", revision: String? = "echo-00001", unavailable: String? = nil,
  concurrency: Int = 1, timeout: TimeSpan = .seconds(30), min: Int = 0, max: Int = 10,
  idleAfter: TimeSpan = .seconds(120), queueLimit: Int = 1000, queueTimeout: TimeSpan = .seconds(10),
  maxBody: Int64 = 100 << 20, idempotent: Bool = false, isPublic: Bool = false, needsToken: Bool = false,
  responseStart: TimeSpan? = nil, responseIdle: TimeSpan? = nil
) -> FunctionRoute {
  var fields: [String: JSONValue] = [
    "namespace": .string("default"), "function": .string(name), "uid": .string(uid),
    "concurrency": .int(Int64(concurrency)), "timeout": .string(timeout.description), "minPods": .int(Int64(min)),
    "maxPods": .int(Int64(max)), "idleAfter": .string(idleAfter.description), "queueLimit": .int(Int64(queueLimit)),
    "queueTimeout": .string(queueTimeout.description), "maxBody": .int(maxBody), "idempotent": .bool(idempotent),
    "isPublic": .bool(isPublic),
  ]
  if needsToken { fields["needsToken"] = .bool(true) }
  if let responseStart { fields["responseStart"] = .string(responseStart.description) }
  if let responseIdle { fields["responseIdle"] = .string(responseIdle.description) }
  if let revision { fields["revision"] = .string(revision) }
  if let unavailable { fields["unavailable"] = .string(unavailable) }
  do {
    return try JSONValue.object(fields).decoded()
  } catch {
    preconditionFailure("the route's wire form changed: \(error)")
  }
}

/// An endpoint as the feed sends it; `listens`: one that is starting has its socket.
func makeEndpoint(
  _ uid: String, _ state: EndpointRoute.State, function: String = "echo", revision: String = "echo-00001",
  incarnation: Int = 1, socket: String = "/nowhere", host: String = "here", worker: String? = nil,
  listens: Bool = false
) -> EndpointRoute {
  var startup = StartupBreakdown()
  startup.placed = 1
  startup.prepared = 2
  startup.sandboxed = 3
  startup.ready = 4
  return EndpointRoute(
    uid: uid, pod: "\(revision)-\(uid)", namespace: "default", function: function, revision: revision, node: "n1",
    state: state,
    endpoint: state == .starting && !listens ? nil : PodEndpoint(socket: socket, host: host, worker: worker),
    startup: startup, incarnation: incarnation)
}

/// A machine on a virtual clock, driven as a script.
struct Script {
  var machine: DispatchState
  var now: Int64 = 1_000_000_000
  var actions: [DispatchState.Action] = []
  /// Whether the short ways are tried first, as a dispatcher does.
  var short = false

  init(_ route: FunctionRoute = makeRoute(), host: String? = nil) { machine = DispatchState(route: route, host: host) }

  mutating func arrive(whole: Bool = false) -> RequestID {
    actions = []
    if short, let (id, assignment) = machine.reserve(now: now) {
      actions = [.dispatch(id, assignment)]
      return id
    }
    return machine.arrive(now: now, whole: whole, actions: &actions)
  }

  mutating func event(_ body: (inout DispatchState, Int64, inout [DispatchState.Action]) -> Void) {
    actions = []
    body(&machine, now, &actions)
  }

  mutating func endpoint(_ endpoint: EndpointRoute) {
    event { $0.endpointChanged(endpoint, now: $1, actions: &$2) }
  }

  @discardableResult
  mutating func finish(_ id: RequestID, suspect: Bool = false) -> Bool {
    actions = []
    if short, !suspect, let done = machine.finishAlone(id, now: now) { return done.keep }
    return machine.finish(id, suspect: suspect, now: now, actions: &actions)
  }

  mutating func advance(milliseconds: Int64) {
    now += milliseconds * 1_000_000
    event { $0.tick(now: $1, actions: &$2) }
  }

  mutating func wantAnswered(_ delivered: Bool) {
    event { $0.wantAnswered(delivered: delivered, now: $1, actions: &$2) }
  }

  var dispatched: [(RequestID, String)] {
    actions.compactMap { if case .dispatch(let id, let slot) = $0 { (id, slot.key.uid) } else { nil } }
  }

  /// Requests that were sent to a pod that is still starting.
  var early: [RequestID] {
    actions.compactMap { if case .dispatch(let id, let slot) = $0, slot.isEarly { id } else { nil } }
  }

  var failed: [(RequestID, CallErrorCode)] {
    actions.compactMap { if case .fail(let id, let code, _) = $0 { (id, code) } else { nil } }
  }

  var wanted: [Int] { actions.compactMap { if case .want(_, let pods, _) = $0 { pods } else { nil } } }

  var givenUp: [String] { actions.compactMap { if case .podIdle(let uid, _) = $0 { uid } else { nil } } }
}
