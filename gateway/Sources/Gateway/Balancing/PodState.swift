import ClusterAPI

/// One pod as the dispatcher of its function sees it.
struct PodState {
  /// Where it is in its life.
  enum Phase { case starting, ready, draining }

  let key: PodKey
  var endpoint: EndpointRoute
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
    key = PodKey(uid: endpoint.uid, incarnation: endpoint.incarnation)
    self.endpoint = endpoint
    self.phase = phase
  }

  /// Slots free for requests of a revision.
  func freeSlots(_ revision: String, _ concurrency: Int) -> Int {
    guard phase == .ready, !givenUp, suspectUntil == nil, quarantined.isEmpty, endpoint.revision == revision else {
      return 0
    }
    return max(0, concurrency - inFlight)
  }

  /// Packing: fuller first, then used more recently; the uid makes it a total order.
  func isBetter(than other: PodState) -> Bool {
    (inFlight, lastUsed, other.key.uid) > (other.inFlight, other.lastUsed, key.uid)
  }

  /// Leaves the pod alone for a while that doubles with each refusal in a row.
  mutating func suspect(now: Int64) {
    refusals += 1
    let milliseconds = GatewayLimits.suspectMilliseconds << Int64(min(refusals - 1, 10))
    suspectUntil = now &+ min(milliseconds, GatewayLimits.suspectMaximum) &* 1_000_000
  }
}
