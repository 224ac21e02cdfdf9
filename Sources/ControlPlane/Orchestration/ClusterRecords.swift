import ClusterAPI
import ClusterModel
import Planning

/// What of a pod never changes; shared by every copy of its record.
final class PodIdentity: Sendable {
  let uid: String
  let name: String
  let namespace: String
  let function: String
  let functionUID: String
  /// `namespace/function`.
  let functionKey: String
  let revision: String
  let template: FunctionSpec
  let number: Int
  let wantedAt: Timestamp

  init(
    uid: String, name: String, namespace: String, function: String, functionUID: String, revision: String,
    template: FunctionSpec, number: Int, wantedAt: Timestamp
  ) {
    self.uid = uid
    self.name = name
    self.namespace = namespace
    self.function = function
    self.functionUID = functionUID
    functionKey = "\(namespace)/\(function)"
    self.revision = revision
    self.template = template
    self.number = number
    self.wantedAt = wantedAt
  }
}

/// A pod as the control plane holds it.
struct PodRecord: Sendable {
  let identity: PodIdentity
  /// When it was placed first; for the startup breakdown.
  var placedAt: Timestamp?
  var node: String?
  var detail: PodDetail
  /// Gateways that gave the draining pod up.
  var released: Set<String> = []
  /// Gateways to which the ready pod is of no use, until they wish for pods again.
  var unused: Set<String> = []
  /// When a draining pod is stopped whoever still uses it.
  var drainDeadline: Timestamp?
  var stopSent = false
  /// Starts on workers that are no more: a worker counts from 0, and gateways pass over news of a start before the one they
  /// know, its end included.
  var restartsBefore = 0
  /// When it was over.
  var goneAt: Timestamp?

  /// A pod that is wanted or was found.
  init(_ identity: PodIdentity, detail: PodDetail) {
    self.identity = identity
    self.detail = detail
  }

  var uid: String { identity.uid }
  var name: String { identity.name }
  var namespace: String { identity.namespace }
  var function: String { identity.function }
  var functionUID: String { identity.functionUID }
  var functionKey: String { identity.functionKey }
  var revision: String { identity.revision }
  var template: FunctionSpec { identity.template }
  var wantedAt: Timestamp { identity.wantedAt }

  /// Whether it counts towards its function's pods.
  var counts: Bool { detail.life != .gone && detail.life != .draining }
  /// Whether it holds resources of its node.
  var holdsResources: Bool { node != nil && detail.life != .gone && detail.life != .wanted }

  var demand: PodDemand { PodDemand(template) }

  var route: EndpointRoute {
    let state: EndpointRoute.State =
      switch detail.life {
      case .wanted, .placed, .starting: .starting
      case .ready: .ready
      case .draining: .draining
      case .gone: .gone
      }
    return EndpointRoute(
      uid: uid, pod: name, namespace: namespace, function: function, revision: revision, node: node ?? "",
      state: state, endpoint: detail.endpoint, startup: detail.startup, incarnation: detail.restarts)
  }

  var assignment: PodAssignment {
    PodAssignment(
      uid: uid, name: name, namespace: namespace, revision: revision,
      spec: RevisionSpec(function: function, number: identity.number, template: template), wantedAt: wantedAt)
  }

  /// The pod as the API shows it.
  func object(at time: Timestamp) -> Pod {
    var metadata = ObjectMeta(name: name, namespace: namespace)
    metadata.uid = uid
    metadata.creationTimestamp = wantedAt.wholeSeconds
    metadata.labels = [LabelKey.function: function, LabelKey.revision: revision]
    metadata.ownerReferences = [
      OwnerReference(
        apiVersion: ResourceKind.function.apiVersion, kind: ResourceKind.function.rawValue, name: function,
        uid: functionUID)
    ]
    if detail.life == .draining { metadata.deletionTimestamp = (detail.history.last?.at ?? time).wholeSeconds }
    let container = PodSpec.Container(
      name: "function", image: template.image ?? template.source?.digest ?? "",
      resources: .init(memory: template.resources.memory, cpu: template.resources.cpu))
    return Pod(
      metadata: metadata,
      spec: PodSpec(nodeName: node, containers: [container], graceSeconds: template.grace.milliseconds / 1000),
      status: PodStatus(apus: detail, at: time))
  }
}

/// A node as the control plane holds it.
struct NodeRecord: Sendable {
  enum Session: Hashable, Sendable {
    case joined
    case suspect
    /// The connection ended without goodbye, at a time of the orchestrator's `elapsed`; the node has a moment to come back.
    case closed(at: Int64)
    case lost
    case left
  }

  let name: String
  var session: Session = .lost
  var cordoned = false
  var labels: [String: String] = [:]
  var hello: WorkerHello?
  var epoch: UInt64 = 0
  var commandCounter: UInt64 = 0
  var commands: AsyncStream<NodeCommand>.Continuation?
  /// When the node was last heard, for people.
  var heardAt = Timestamp(nanoseconds: 0)
  /// The same on the orchestrator's `elapsed`.
  var silentSince: Int64 = 0
  /// Uids that were declared lost with this node and must not run on after its return.
  var disowned: Set<String> = []
  var artifacts: Set<String> = []
  /// Its worker took no pod, being full or about to stop: it is not asked again before.
  var refusesUntil = Timestamp(nanoseconds: 0)
  /// Pods made ahead that wait, by what they can become.
  var stems: [String: Int] = [:]

  /// Whether new pods may go there.
  var joined: Bool { session == .joined }

  var sessionName: String {
    switch session {
    case .joined: "joined"
    case .suspect: "suspect"
    case .closed: "suspect"
    case .lost: "lost"
    case .left: "left"
    }
  }
}

/// A function as the control plane holds it.
struct FunctionRecord: Sendable {
  var function: Function
  var revisions: [String: Revision] = [:]
  var failure: Failure?

  /// Starts that failed in a row, or a start that no node had room for.
  struct Failure: Hashable, Sendable {
    var revision: String
    /// `start_failed`, or `no_capacity`: what callers are answered until it is tried again.
    var code: CallErrorCode
    var attempts: Int
    var message: String
    var retryAt: Timestamp
  }

  var key: String { "\(function.metadata.namespace ?? "default")/\(function.metadata.name)" }
  var serving: String? { function.status?.servingRevision }
  var latest: String? { function.status?.latestRevision }

  /// The route gateways get.
  var route: FunctionRoute {
    let template = serving.flatMap { revisions[$0]?.spec.template } ?? function.spec
    var reason: String?
    if serving == nil {
      reason =
        function.spec.hasNoCode
        ? "function \"\(function.metadata.name)\" has no code yet; run apus deploy"
        : failure.map { "no revision of \"\(function.metadata.name)\" could start: \($0.message)" }
    }
    return FunctionRoute(function: function, revision: serving, template: template, unavailable: reason)
  }
}
