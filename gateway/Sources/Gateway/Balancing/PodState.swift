import ClusterAPI
import ClusterModel
import Synchronization

/// A function's route as it was at one moment; shared, so that passing it on copies one reference.
final class RouteInfo: Sendable, Equatable {
  let route: FunctionRoute
  /// Time of a call, nanoseconds.
  let timeout: Int64
  /// Time from the end of the request to the head of the answer, nanoseconds; `Int64.max` bounds nothing.
  let responseStart: Int64
  /// Time between two pieces of the answer, nanoseconds; `Int64.max` bounds nothing.
  let responseIdle: Int64
  /// How long an idle pod is kept, nanoseconds.
  let idleAfter: Int64
  /// Whether callers must show a token.
  let needsToken: Bool

  init(_ route: FunctionRoute) {
    self.route = route
    timeout = route.timeout.milliseconds &* 1_000_000
    responseStart = route.responseStart.map { $0.milliseconds &* 1_000_000 } ?? .max
    responseIdle = route.responseIdle.map { $0.milliseconds &* 1_000_000 } ?? .max
    idleAfter = route.idleAfter.milliseconds &* 1_000_000
    needsToken = route.needsToken ?? false
  }

  static func == (one: RouteInfo, other: RouteInfo) -> Bool { one.route == other.route }
}

/// One start of a pod as calls need it; shared, so that passing it on copies one reference.
final class PodStart: Sendable, Equatable {
  private static let starts = Atomic<Int>(0)

  /// The pod's start.
  let key: PodKey
  /// Names it in this process, in place of the key.
  let number: Int
  /// The pod, and where it listens.
  let endpoint: EndpointRoute
  /// The members of an access record between its time and its level.
  let recordMembers: [UInt8]

  /// A start seen for the first time, or again with another endpoint under the number it had.
  init(_ endpoint: EndpointRoute, number: Int? = nil) {
    key = PodKey(uid: endpoint.uid, incarnation: endpoint.incarnation)
    self.number = number ?? Self.starts.add(1, ordering: .relaxed).newValue
    self.endpoint = endpoint
    recordMembers = CallRecord.members(
      namespace: endpoint.namespace, function: endpoint.function, revision: endpoint.revision, pod: endpoint.pod,
      node: endpoint.node)
  }

  static func == (one: PodStart, other: PodStart) -> Bool { one.endpoint == other.endpoint }
}

/// One pod as the dispatcher of its function sees it.
struct PodState {
  /// Where it is in its life.
  enum Phase { case starting, ready, draining }

  private(set) var start: PodStart
  var phase: Phase
  /// Requests inside, abandoned ones too; at most the function's concurrency.
  var inFlight = 0
  /// Those inside which the gateway gave up and the pod did not.
  var quarantined: Set<RequestID> = []
  /// Nothing more is sent to it unless the control plane offers it again.
  var givenUp = false
  /// When it became ready, nanoseconds.
  var readyAt: Int64 = 0
  /// When it got its last request.
  var lastUsed: Int64 = 0
  /// Since when nothing is inside.
  var idleSince: Int64?
  /// Until when it is left alone because it broke a connection off.
  var suspectUntil: Int64?
  /// Connections in a row it broke off.
  var refusals = 0

  init(_ endpoint: EndpointRoute, phase: Phase) {
    start = PodStart(endpoint)
    self.phase = phase
  }

  var key: PodKey { start.key }

  /// The pod; what is set is of the same start.
  var endpoint: EndpointRoute {
    get { start.endpoint }
    set { if newValue != start.endpoint { start = PodStart(newValue, number: start.number) } }
  }

  /// Slots free for requests of a revision.
  func freeSlots(_ revision: String, _ concurrency: Int) -> Int {
    guard phase == .ready, !givenUp, suspectUntil == nil, quarantined.isEmpty, start.endpoint.revision == revision
    else { return 0 }
    return max(0, concurrency - inFlight)
  }

  /// Slots for requests that may wait in the socket of a pod that is still starting: one that listens already, as its
  /// worker said, on this host.
  func earlySlots(_ revision: String, _ concurrency: Int, on host: String) -> Int {
    guard phase == .starting, !givenUp, suspectUntil == nil, quarantined.isEmpty,
      start.endpoint.revision == revision, start.endpoint.endpoint?.host == host
    else { return 0 }
    return max(0, concurrency - inFlight)
  }

  /// Packing: fuller first, then used more recently; the uid makes it a total order.
  func isBetter(than other: PodState) -> Bool {
    if inFlight != other.inFlight { return inFlight > other.inFlight }
    if lastUsed != other.lastUsed { return lastUsed > other.lastUsed }
    return key.uid < other.key.uid
  }

  /// Leaves the pod alone for a while that doubles with each refusal in a row.
  mutating func suspect(now: Int64) {
    refusals += 1
    let milliseconds = GatewayLimits.suspectMilliseconds << Int64(min(refusals - 1, 10))
    suspectUntil = now &+ min(milliseconds, GatewayLimits.suspectMaximum) &* 1_000_000
  }
}
