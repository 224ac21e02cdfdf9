package import ClusterModel

/// What a worker says when it opens a session.
package struct WorkerHello: Codable, Hashable, Sendable {
  /// The node's name.
  package var name: String
  /// A random id of this session; the command stream names it.
  package var session: String
  /// Labels the worker was started with.
  package var labels: [String: String]
  /// CPU for pods, thousandths of a core.
  package var milliCPU: Int64
  /// Memory for pods, bytes.
  package var memory: Int64
  /// Pods at most.
  package var pods: Int
  /// `HOST:PORT` under which other machines reach its pods; nil when it listens to none.
  package var address: String?
  /// The identity of the host's kernel and network namespace; equal ones may share unix sockets.
  package var host: String
  /// Kernel, system, version.
  package var info: NodeInfo
  /// What isolation the host gives, in words.
  package var isolation: [String]
  /// What functions may ask for in `spec.egress`; nil is nothing.
  package var egress: [Egress]?
  /// Digests of artifacts already unpacked here (bounded at 1,000, newest first).
  package var artifacts: [String]
  /// Every pod it has.
  package var running: [PodReport]

  /// A hello of all parts.
  package init(
    name: String, session: String, labels: [String: String], milliCPU: Int64, memory: Int64, pods: Int,
    address: String?, host: String, info: NodeInfo, isolation: [String],
    egress: [Egress]? = nil, artifacts: [String], running: [PodReport]
  ) {
    self.name = name
    self.session = session
    self.labels = labels
    self.milliCPU = milliCPU
    self.memory = memory
    self.pods = pods
    self.address = address
    self.host = host
    self.info = info
    self.isolation = isolation
    self.egress = egress
    self.artifacts = artifacts
    self.running = running
  }
}

/// The state of one pod as its worker sees it.
package struct PodReport: Codable, Hashable, Sendable {
  /// The pod's uid.
  package var uid: String
  /// The pod's name.
  package var name: String
  /// Its namespace.
  package var namespace: String
  /// Everything else.
  package var detail: PodDetail

  /// A report of a pod.
  package init(uid: String, name: String, namespace: String, detail: PodDetail) {
    self.uid = uid
    self.name = name
    self.namespace = namespace
    self.detail = detail
  }
}

/// One message of a worker to the server; a line of JSON of at most `NodeLines.bytesMax`.
package enum WorkerMessage: Codable, Hashable, Sendable {
  /// First on every session.
  case hello(WorkerHello)
  /// Every 500 ms.
  case heartbeat
  /// A pod changed.
  case pod(PodReport)
  /// Something worth an event happened.
  case event(ReportedEvent)
  /// How many pods made ahead wait, by what they can become; after the hello and when it changed.
  case stems([String: Int])
  /// The worker leaves on purpose; its pods are stopped.
  case goodbye
}

/// An event that a worker saw.
package struct ReportedEvent: Codable, Hashable, Sendable {
  /// The object it happened to.
  package var object: ObjectReference
  /// A one-word cause.
  package var reason: String
  /// A sentence, of about `Limits.messageBytes` at most.
  package var message: String
  /// Whether someone should look.
  package var warning: Bool

  /// An event about an object.
  package init(object: ObjectReference, reason: String, message: String, warning: Bool) {
    self.object = object
    self.reason = reason
    self.message = message.shortened(to: Limits.messageBytes)
    self.warning = warning
  }
}

/// A pod that a worker is to run.
package struct PodAssignment: Codable, Hashable, Sendable {
  /// The pod's uid.
  package var uid: String
  /// Its name.
  package var name: String
  /// Its namespace.
  package var namespace: String
  /// The revision's name.
  package var revision: String
  /// What to run; `source` is present.
  package var spec: RevisionSpec
  /// When it was wanted.
  package var wantedAt: Timestamp

  /// An assignment of all parts.
  package init(
    uid: String, name: String, namespace: String, revision: String, spec: RevisionSpec, wantedAt: Timestamp
  ) {
    self.uid = uid
    self.name = name
    self.namespace = namespace
    self.revision = revision
    self.spec = spec
    self.wantedAt = wantedAt
  }
}

/// One command of the server to a worker; a line of JSON of at most `NodeLines.bytesMax`. All are idempotent.
package struct NodeCommand: Codable, Hashable, Sendable {
  /// Counts the commands of a session.
  package var id: UInt64
  /// The session's epoch; the worker ignores commands of an older one.
  package var epoch: UInt64
  /// What to do.
  package var action: Action

  /// A command.
  package init(id: UInt64, epoch: UInt64, action: Action) {
    self.id = id
    self.epoch = epoch
    self.action = action
  }

  /// What to do.
  package enum Action: Codable, Hashable, Sendable {
    /// Run a pod.
    case start(PodAssignment)
    /// Take no new work; report `draining`.
    case drain(uid: String)
    /// Send SIGTERM, and SIGKILL after the grace.
    case stop(uid: String, graceMilliseconds: Int64)
    /// First on every session: the uids to keep; every other pod is stopped.
    case keep(uids: [String])
    /// An idle sign of life, so that both ends notice a dead connection.
    case ping
  }
}
