package import ClusterModel

/// What the gateway needs to know of one function.
package struct FunctionRoute: Codable, Hashable, Sendable {
  /// The namespace.
  package var namespace: String
  /// The function's name.
  package var function: String
  /// The function's uid; a new one means a new function of the same name.
  package var uid: String
  /// The revision that takes traffic; nil while none was ever ready.
  package var revision: String?
  /// Why no revision takes traffic, for the caller.
  package var unavailable: String?
  /// Calls one pod runs at once.
  package var concurrency: Int
  /// Time one call may take in all.
  package var timeout: TimeSpan
  /// Time from the end of the request to the head of the answer; nil leaves it to `timeout`.
  package var responseStart: TimeSpan?
  /// Time between two pieces of the answer; nil leaves it to `timeout`.
  package var responseIdle: TimeSpan?
  /// Pods kept without traffic.
  package var minPods: Int
  /// Pods at most.
  package var maxPods: Int
  /// How long an idle pod is kept.
  package var idleAfter: TimeSpan
  /// Requests that may wait.
  package var queueLimit: Int
  /// How long one may wait.
  package var queueTimeout: TimeSpan
  /// Bytes of a request body at most.
  package var maxBody: Int64
  /// Whether a call may be run again.
  package var idempotent: Bool
  /// Whether a gateway that listens beyond its own machine answers for it.
  package var isPublic: Bool
  /// Whether callers must show a token that covers it; nil is no.
  package var needsToken: Bool?

  /// A route from a function and the revision that serves.
  package init(function: Function, revision: String?, template: FunctionSpec, unavailable: String?) {
    namespace = function.metadata.namespace ?? "default"
    self.function = function.metadata.name
    uid = function.metadata.uid ?? ""
    self.revision = revision
    self.unavailable = unavailable
    concurrency = template.concurrency
    timeout = template.timeout
    responseStart = template.timeouts?.responseStart
    responseIdle = template.timeouts?.responseIdle
    minPods = function.spec.scale.min
    maxPods = function.spec.scale.max
    idleAfter = function.spec.scale.idleAfter
    queueLimit = function.spec.queue.limit
    queueTimeout = function.spec.queue.timeout
    maxBody = template.maxBody.value
    idempotent = template.idempotent
    isPublic = function.spec.public ?? false
    needsToken = function.spec.auth == .token ? true : nil
  }

  /// `namespace/function`.
  package var key: String { "\(namespace)/\(function)" }
}

/// A pod as the gateway sees it.
package struct EndpointRoute: Codable, Hashable, Sendable {
  /// The pod's uid.
  package var uid: String
  /// The pod's name.
  package var pod: String
  /// The pod's namespace.
  package var namespace: String
  /// The function's name.
  package var function: String
  /// The revision's name.
  package var revision: String
  /// The node's name.
  package var node: String
  /// Where it is in its life.
  package var state: State
  /// Where its requests go; present once it listens.
  package var endpoint: PodEndpoint?
  /// How its last start went.
  package var startup: StartupBreakdown?
  /// Counts its starts, so that a restart is not mistaken for the process before.
  package var incarnation: Int

  /// Where a pod is in its life, in the gateway's terms.
  package enum State: String, Codable, Hashable, Sendable {
    /// It was asked for and is not ready.
    case starting
    /// It takes requests.
    case ready
    /// It takes no new ones; answer `podIdle` when its last call ended.
    case draining
    /// It is over; calls inside it are lost.
    case gone
  }

  /// An endpoint of all parts.
  package init(
    uid: String, pod: String, namespace: String, function: String, revision: String, node: String, state: State,
    endpoint: PodEndpoint?, startup: StartupBreakdown?, incarnation: Int
  ) {
    self.uid = uid
    self.pod = pod
    self.namespace = namespace
    self.function = function
    self.revision = revision
    self.node = node
    self.state = state
    self.endpoint = endpoint
    self.startup = startup
    self.incarnation = incarnation
  }
}

/// Why pods of a function cannot start, or cannot be placed.
package struct StartFailure: Codable, Hashable, Sendable {
  /// The namespace.
  package var namespace: String
  /// The function's name.
  package var function: String
  /// `start_failed`, or `no_capacity` when no node can take a pod.
  package var code: CallErrorCode
  /// What went wrong, with the last lines written.
  package var message: String
  /// Starts that failed in a row.
  package var attempts: Int

  /// A failure of a function.
  package init(namespace: String, function: String, code: CallErrorCode, message: String, attempts: Int) {
    self.namespace = namespace
    self.function = function
    self.code = code
    self.message = message
    self.attempts = attempts
  }
}

/// One step of the route feed.
package enum RouteUpdate: Codable, Hashable, Sendable {
  /// First on every subscription: all there is.
  case snapshot(functions: [FunctionRoute], endpoints: [EndpointRoute])
  /// A function is new or changed.
  case function(FunctionRoute)
  /// A function is gone.
  case functionRemoved(namespace: String, function: String)
  /// A pod is new or changed.
  case endpoint(EndpointRoute)
  /// Pods of a function cannot start; from `Limits.startAttempts` attempts on, waiting requests are answered.
  case startFailed(StartFailure)
  /// All tokens with which functions may be called: behind each snapshot, and whenever one comes or goes.
  case credentials([InvokeCredential])
}

/// The control plane's routes, as a gateway follows them.
package protocol RouteFeed: Sendable {
  /// Follows the routes: a snapshot, then every change in order. The stream ends when the feed is lost.
  ///
  /// `gateway` is the subscriber's identity, one for each process (`ID.START`); draining pods wait for the `podIdle` of every subscriber.
  func subscribe(gateway: String) async throws(APIStatus) -> AsyncStream<RouteUpdate>
}

/// What a gateway asks of the control plane.
package protocol Activation: Sendable {
  /// Asks for `pods` pods of a function in all (starting and ready together); idempotent.
  func want(_ want: PodsWanted) async throws(APIStatus)
  /// Gives a pod up: this gateway sends it nothing any more and has no call in it that anybody waits for.
  func podIdle(uid: String, gateway: String, why: PodRelease) async throws(APIStatus)
}

/// Why a gateway gives a pod up.
package enum PodRelease: String, Codable, Hashable, Sendable {
  /// Nothing runs in it. The control plane keeps it when its function needs it (`spec.scale.min`).
  case idle
  /// It did not end a cancelled call; it is replaced whatever the function needs.
  case stuck
}

/// A gateway's wish for pods.
package struct PodsWanted: Codable, Hashable, Sendable {
  /// The gateway that asks.
  package var gateway: String
  /// The namespace.
  package var namespace: String
  /// The function's name.
  package var function: String
  /// The revision the wish is for; nil for the one that serves.
  package var revision: String?
  /// Pods in all.
  package var pods: Int
  /// Why, for `describe`: `2 queued, 0 free slots`.
  package var reason: String

  /// A wish.
  package init(gateway: String, namespace: String, function: String, revision: String?, pods: Int, reason: String) {
    self.gateway = gateway
    self.namespace = namespace
    self.function = function
    self.revision = revision
    self.pods = pods
    self.reason = reason
  }
}
