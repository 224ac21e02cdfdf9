/// One running copy of a revision on a node: soft state, shaped so that Kubernetes clients can decode it.
package struct Pod: Resource {
  /// `Pod`.
  package static let kind = ResourceKind.pod
  /// `v1`.
  package var apiVersion = ResourceKind.pod.apiVersion
  /// `Pod`.
  package var kind = ResourceKind.pod.rawValue
  /// `NAME-00001-abcde`, labelled with function and revision.
  package var metadata: ObjectMeta
  /// Where it runs and what.
  package var spec: PodSpec
  /// How it is.
  package var status: PodStatus

  /// A pod of a spec and status.
  package init(metadata: ObjectMeta, spec: PodSpec, status: PodStatus) {
    self.metadata = metadata
    self.spec = spec
    self.status = status
  }
}

/// Label keys that every pod and revision carries.
package enum LabelKey {
  /// The function's name.
  package static let function = "apus.dev/function"
  /// The revision's name.
  package static let revision = "apus.dev/revision"
}

/// The Kubernetes part of a pod's spec.
package struct PodSpec: Codable, Hashable, Sendable {
  /// The node; nil while nothing fits.
  package var nodeName: String?
  /// Exactly one.
  package var containers: [Container]
  /// `Always`.
  package var restartPolicy: String?
  /// Seconds a draining pod's calls may go on.
  package var terminationGracePeriodSeconds: Int64?

  /// One container on a node.
  package init(nodeName: String?, containers: [Container], graceSeconds: Int64) {
    self.nodeName = nodeName
    self.containers = containers
    restartPolicy = "Always"
    terminationGracePeriodSeconds = graceSeconds
  }

  /// The container a pod has, as kubectl expects it.
  package struct Container: Codable, Hashable, Sendable {
    /// `function`.
    package var name: String
    /// The revision's package digest.
    package var image: String
    /// Requests and limits by resource name.
    package var resources: Resources?

    /// A container of an image.
    package init(name: String, image: String, resources: Resources?) {
      self.name = name
      self.image = image
      self.resources = resources
    }
  }

  /// Requests and limits.
  package struct Resources: Codable, Hashable, Sendable {
    /// What placement counts.
    package var requests: [String: String]?
    /// What the cgroup enforces.
    package var limits: [String: String]?

    /// Equal requests and limits.
    package init(memory: Quantity, cpu: Quantity) {
      requests = ["memory": memory.description, "cpu": cpu.description]
      limits = requests
    }
  }
}

/// How a pod is: the Kubernetes words, and ours under `apus`.
package struct PodStatus: Codable, Hashable, Sendable {
  /// Pending, Running, Succeeded or Failed.
  package var phase: String
  /// Ready.
  package var conditions: [Condition]?
  /// Exactly one once the pod was placed.
  package var containerStatuses: [ContainerStatus]?
  /// When the node took it.
  package var startTime: Timestamp?
  /// A one-word cause of the phase.
  package var reason: String?
  /// A sentence for people.
  package var message: String?
  /// What is ours.
  package var apus: PodDetail

  /// A status of our own detail; the Kubernetes words follow from it.
  package init(apus: PodDetail, at time: Timestamp) {
    self.apus = apus
    phase = apus.life.kubernetesPhase(failed: apus.failed ?? false)
    reason = apus.reason
    message = apus.message
    startTime = apus.history.first { $0.life == .placed }?.at.wholeSeconds
    let ready = apus.life == .ready
    var condition = Condition(
      type: "Ready", status: ready, reason: apus.reason ?? apus.life.rawValue, message: apus.message ?? "", at: time)
    condition.lastTransitionTime = (apus.history.last?.at ?? time).wholeSeconds
    conditions = [condition]
    containerStatuses = [ContainerStatus(apus)]
  }

  /// The one container's state in Kubernetes words.
  package struct ContainerStatus: Codable, Hashable, Sendable {
    /// `function`.
    package var name: String
    /// Whether it takes requests.
    package var ready: Bool
    /// Starts after the first.
    package var restartCount: Int
    /// The revision.
    package var image: String
    /// The same.
    package var imageID: String
    /// Whether it was ready since its last start.
    package var started: Bool
    /// `running`, `waiting` or `terminated`, each with its members.
    package var state: JSONValue

    init(_ detail: PodDetail) {
      name = "function"
      ready = detail.life == .ready
      restartCount = detail.restarts
      image = detail.revision
      imageID = detail.revision
      started = detail.life == .ready || detail.life == .draining
      let since = detail.history.last?.at.wholeSeconds.description ?? ""
      switch detail.life {
      case .ready, .draining:
        state = .object(["running": .object(["startedAt": .string(since)])])
      case .wanted, .placed, .starting:
        var members: [String: JSONValue] = ["reason": .string(detail.reason ?? "Starting")]
        if let message = detail.message { members["message"] = .string(message) }
        state = .object(["waiting": .object(members)])
      case .gone:
        state = .object([
          "terminated": .object([
            "exitCode": .int(Int64(detail.exitCode ?? 0)), "reason": .string(detail.reason ?? "Completed"),
            "message": .string(detail.message ?? ""), "finishedAt": .string(since),
          ])
        ])
      }
    }
  }
}

/// What the system itself knows of a pod; the worker reports it, the API shows it under `status.apus`.
package struct PodDetail: Codable, Hashable, Sendable {
  /// The function's name.
  package var function: String
  /// The revision's name.
  package var revision: String
  /// Where in its life the pod is.
  package var life: PodLife
  /// A one-word cause of the last step.
  package var reason: String?
  /// A sentence for people, of about `Limits.messageBytes` at most; after a crash it ends with the last lines written.
  package var message: String?
  /// The steps so far with their times, at most one entry a step and start (bounded at 16).
  package var history: [PodStep] = []
  /// Starts after the first.
  package var restarts = 0
  /// Whether `gone` means failed.
  package var failed: Bool?
  /// The exit code of the last process, or 128 + signal.
  package var exitCode: Int?
  /// Whether this start of the pod ever became ready (its control byte was seen).
  package var everReady: Bool?
  /// Where its requests go, once it listens.
  package var endpoint: PodEndpoint?
  /// Milliseconds of each phase of the last start.
  package var startup: StartupBreakdown?
  /// Bytes of memory in use, at the last report.
  package var memory: Int64?

  /// A pod that is wanted.
  package init(function: String, revision: String, life: PodLife) {
    self.function = function
    self.revision = revision
    self.life = life
  }

  /// The reason of a pod that its worker never took.
  package static let refused = "Refused"

  /// The same with numbers that can be added to: what a member tells is shown, summed and counted on.
  package var clamped: PodDetail {
    var clamped = self
    clamped.restarts = min(max(restarts, 0), Self.restartsMaximum)
    clamped.startup = startup?.clamped
    clamped.memory = memory.map { min(max($0, 0), 1 << 50) }
    return clamped
  }

  /// As many restarts are believed.
  package static let restartsMaximum = 1_000_000

  /// Moves on to a step, notes its time, and says why.
  package mutating func enter(_ life: PodLife, at time: Timestamp, reason: String?, message: String? = nil) {
    self.life = life
    self.reason = reason
    self.message = message?.shortened(to: Limits.messageBytes)
    if history.count >= 16 { history.remove(at: 1) }
    history.append(PodStep(life: life, at: time, reason: reason))
  }
}

/// One step of a pod's life.
package struct PodStep: Codable, Hashable, Sendable {
  /// The step entered.
  package var life: PodLife
  /// When.
  package var at: Timestamp
  /// Why, in one word.
  package var reason: String?

  /// A step at a time.
  package init(life: PodLife, at: Timestamp, reason: String?) {
    self.life = life
    self.at = at
    self.reason = reason
  }
}

/// Where a pod's requests go.
package struct PodEndpoint: Codable, Hashable, Sendable {
  /// The unix socket on the pod's own node.
  package var socket: String
  /// The node's host identity; a gateway with the same one may use the socket directly.
  package var host: String
  /// `HOST:PORT` of the worker for everyone else; nil when it serves no other node.
  package var worker: String?

  /// An endpoint.
  package init(socket: String, host: String, worker: String?) {
    self.socket = socket
    self.host = host
    self.worker = worker
  }
}

/// Milliseconds from the request that caused a start to each phase's end, as far as reached.
package struct StartupBreakdown: Codable, Hashable, Sendable {
  /// From wanted to the start command on the node.
  package var placed: Double?
  /// From the start command to code, root and secrets at hand.
  package var prepared: Double?
  /// From there to the sandbox standing, or, where one was made ahead, to its being told what it is.
  package var sandboxed: Double?
  /// From there to the command's beginning, to be executed or to be told what it is: nothing has a privilege any more.
  package var started: Double?
  /// From there to ready.
  package var ready: Double?

  /// An empty breakdown.
  package init() {}

  /// The same with every phase between 0 and `longest`: what a member tells is shown, summed and handed on.
  package var clamped: StartupBreakdown {
    var clamped = self
    for phase in [\StartupBreakdown.placed, \.prepared, \.sandboxed, \.started, \.ready] {
      clamped[keyPath: phase] = self[keyPath: phase].map { $0.isFinite ? min(max($0, 0), Self.longest) : 0 }
    }
    return clamped
  }

  /// The longest phase that is believed, milliseconds: 11 days.
  package static let longest = 1e9

  /// The sum of the phases in milliseconds.
  package var total: Double { phases.reduce(0) { $0 + ($1.milliseconds ?? 0) } }

  /// The phases by name, in their order.
  package var phases: [(name: String, milliseconds: Double?)] {
    [
      ("placed", placed), ("prepared", prepared), ("sandboxed", sandboxed), ("started", started), ("ready", ready),
    ]
  }
}
