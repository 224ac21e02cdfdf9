/// How the code of a function is started.
package enum Runtime: String, Codable, Hashable, Sendable, CaseIterable {
  /// A Python handler file, run by our runner on the system's CPython.
  case python
  /// A Node handler file, run by our runner.
  case node
  /// A Swift package that links the runtime library; built on deploy.
  case swift
  /// Any executable that serves HTTP on `$PORT`.
  case binary
  /// Any command: body on standard input, answer on standard output, one process a call.
  case exec
  /// A container image whose process serves HTTP on `$PORT`.
  case image
  /// A program written for AWS Lambda: a `bootstrap`, or any command that speaks the Lambda Runtime API.
  case lambda

  /// Whether the pod's process serves `$PORT` and the worker forwards bytes to it.
  package var servesPort: Bool { self == .binary || self == .image }
}

/// A function: intent, written by people.
package struct Function: Resource {
  /// `Function`.
  package static let kind = ResourceKind.function
  /// `apus.dev/v1`.
  package var apiVersion = ResourceKind.function.apiVersion
  /// `Function`.
  package var kind = ResourceKind.function.rawValue
  /// Name, namespace, labels.
  package var metadata: ObjectMeta
  /// What is wanted.
  package var spec: FunctionSpec
  /// What is.
  package var status: FunctionStatus?

  /// A function of a name and spec.
  package init(metadata: ObjectMeta, spec: FunctionSpec) {
    self.metadata = metadata
    self.spec = spec
  }
}

/// What a function should be. Defaults and maxima are in `Limits`; the schema is `Schemas.function`.
package struct FunctionSpec: Codable, Hashable, Sendable {
  /// How the code is started.
  package var runtime: Runtime
  /// `FILE[:function]` for python and node; what `_HANDLER` says for lambda.
  package var handler: String?
  /// argv for binary, exec and lambda; for image it takes the place of the image's entrypoint.
  package var command: [String]?
  /// For image: what follows the entrypoint, in place of the image's own.
  package var args: [String]?
  /// For image: which one, with its digest (see `ImageReference`).
  package var image: String?
  /// For image: the secret with `username` and `password` for its registry.
  package var imageSecret: String?
  /// For image: whether the root takes writes, which are gone with the pod; nil is no, and only /tmp takes them.
  package var rootWritable: Bool?
  /// The package; absent until something was deployed.
  package var source: FunctionSource?
  /// Environment of the pods.
  package var env: [String: String]?
  /// Names of secrets mounted under `/var/openfaas/secrets`.
  package var secrets: [String]?
  /// What the pods may reach; nil is `none`.
  package var egress: Egress?
  /// Limits of each pod.
  package var resources: PodResources
  /// How long one call may take in all.
  package var timeout: TimeSpan
  /// How long parts of one call may take; nil leaves them to `timeout`.
  package var timeouts: TimeoutSpec?
  /// How long a draining pod's calls may go on.
  package var grace: TimeSpan
  /// Calls one pod runs at once.
  package var concurrency: Int
  /// Pods: how few, how many, how long an idle one is kept.
  package var scale: ScaleSpec
  /// Bounds of the gateway's queue for this function.
  package var queue: QueueSpec
  /// When a pod counts as started, ready and alive.
  package var probes: ProbeSpec
  /// The largest request body.
  package var maxBody: Quantity
  /// Whether a call may be run again when its first run may have happened.
  package var idempotent: Bool
  /// Whether a gateway that listens beyond its own machine answers for it; nil is no.
  package var `public`: Bool?
  /// What a caller has to show; nil is `none`.
  package var auth: InvokeAuth?
  /// Labels a node must carry.
  package var nodeSelector: [String: String]?
  /// Calls at times.
  package var schedule: [ScheduleSpec]?
}

extension FunctionSpec {
  /// The names of what belongs to the function and not to its revisions: scale, queue, schedule, and who may call it.
  package static let ownFields = ["scale", "queue", "schedule", "public", "auth"]

  /// Takes over what `ownFields` names.
  package mutating func takeOwn(of other: FunctionSpec) {
    scale = other.scale
    queue = other.queue
    schedule = other.schedule
    `public` = other.public
    auth = other.auth
  }
}

/// What the pods of a function may reach; each also gives what stands before it.
package enum Egress: String, Codable, Hashable, Sendable, CaseIterable {
  /// Nothing but themselves.
  case none
  /// The functions of their namespace, by name through the gateway.
  case cluster
  /// The internet, and of private networks what the node opens; never the node itself or other pods.
  case internet
}

/// What a caller of a function has to show.
package enum InvokeAuth: String, Codable, Hashable, Sendable, CaseIterable {
  /// Nothing; `Authorization` is the function's own.
  case none
  /// A token of `apus token create`, as `Authorization: Bearer TOKEN`; the gateway checks and keeps it.
  case token
}

extension FunctionSpec {
  /// Whether nothing was deployed yet: there is neither a package nor an image.
  package var hasNoCode: Bool { source == nil && image == nil }
  /// What the pods run, by its digest: `sha256:HEX` of the package or of the image; nil when there is none.
  package var codeDigest: String? {
    source?.digest ?? image.flatMap { text in text.lastIndex(of: "@").map { String(text[text.index(after: $0)...]) } }
  }
}

/// Where the code of a function comes from.
package struct FunctionSource: Codable, Hashable, Sendable {
  /// `sha256:HEX` of the package in the artifact store.
  package var digest: String
  /// Packed size in bytes.
  package var size: Int64?

  /// A package by its digest.
  package init(digest: String, size: Int64? = nil) {
    self.digest = digest
    self.size = size
  }
}

/// What one pod may use.
package struct PodResources: Codable, Hashable, Sendable {
  /// Memory in bytes.
  package var memory: Quantity
  /// CPU in cores.
  package var cpu: Quantity
  /// Processes and threads.
  package var pids: Int
  /// Bytes in /tmp.
  package var tmp: Quantity
  /// Open files a process.
  package var files: Int
}

/// How many pods a function may have.
package struct ScaleSpec: Codable, Hashable, Sendable {
  /// Pods kept ready without traffic.
  package var min: Int
  /// Pods at most.
  package var max: Int
  /// How long an idle pod is kept.
  package var idleAfter: TimeSpan
}

/// Bounds of a function's queue in the gateway.
package struct QueueSpec: Codable, Hashable, Sendable {
  /// Requests that may wait.
  package var limit: Int
  /// How long one may wait for a pod.
  package var timeout: TimeSpan
}

/// How long parts of one call may take; each is at most the call's `timeout`.
package struct TimeoutSpec: Codable, Hashable, Sendable {
  /// From the end of the request, once a pod has it, to the head of the pod's answer; nil leaves it to `timeout`.
  package var responseStart: TimeSpan?
  /// Between two pieces of an answer; nil leaves it to `timeout`.
  package var responseIdle: TimeSpan?
}

/// When a pod counts as started, ready and alive.
package struct ProbeSpec: Codable, Hashable, Sendable {
  /// How long a pod may take until it is ready.
  package var startup: TimeSpan
  /// An HTTP check before the pod takes its first request.
  package var readiness: HTTPProbe?
  /// An HTTP check that restarts the pod when it fails.
  package var liveness: HTTPProbe?
}

/// An HTTP GET that must answer 2xx or 3xx.
package struct HTTPProbe: Codable, Hashable, Sendable {
  /// The path asked for.
  package var path: String
  /// Time between two checks.
  package var period: TimeSpan
  /// How long one check may take.
  package var timeout: TimeSpan
  /// Failures in a row that count.
  package var failures: Int
}

/// What a function is at the moment.
package struct FunctionStatus: Codable, Hashable, Sendable {
  /// The generation of the spec that this status describes.
  package var observedGeneration: Int64?
  /// Ready, SourceMissing, RevisionFailed …
  package var conditions: [Condition] = []
  /// The newest revision.
  package var latestRevision: String?
  /// The revision that takes traffic.
  package var servingRevision: String?
  /// The number of the newest revision ever made; never falls.
  package var lastRevisionNumber: Int?
  /// Pods that are ready.
  package var readyPods: Int?
  /// Pods that are wanted.
  package var wantedPods: Int?
  /// The label selector of the function's pods, for the scale subresource.
  package var selector: String?
  /// What gateways measured; soft, never stored.
  package var figures: FunctionFigures?
  /// What the schedules did and will do; soft, never stored.
  package var schedules: [ScheduleStatus]?

  /// An empty status.
  package init() {}
}

/// An immutable snapshot of what a function's pods are made from.
package struct Revision: Resource {
  /// `Revision`.
  package static let kind = ResourceKind.revision
  /// `apus.dev/v1`.
  package var apiVersion = ResourceKind.revision.apiVersion
  /// `Revision`.
  package var kind = ResourceKind.revision.rawValue
  /// `NAME-00001`, owned by the function.
  package var metadata: ObjectMeta
  /// The snapshot.
  package var spec: RevisionSpec
  /// Whether a pod of it was ever ready.
  package var status: RevisionStatus?

  /// A revision of a snapshot.
  package init(metadata: ObjectMeta, spec: RevisionSpec) {
    self.metadata = metadata
    self.spec = spec
  }

  /// The revision's name from its function and number: `greet-00002`.
  package static func name(function: String, number: Int) -> String {
    let digits = String(number)
    return "\(function)-\(String(repeating: "0", count: max(0, 5 - digits.count)))\(digits)"
  }
}

/// The part of a function's spec that its pods are made from, and the number it got.
package struct RevisionSpec: Codable, Hashable, Sendable {
  /// The function's name.
  package var function: String
  /// The revision's number, from 1, never used twice.
  package var number: Int
  /// The function's spec at that moment.
  package var template: FunctionSpec

  /// A snapshot.
  package init(function: String, number: Int, template: FunctionSpec) {
    self.function = function
    self.number = number
    self.template = template
  }
}

/// What became of a revision.
package struct RevisionStatus: Codable, Hashable, Sendable {
  /// Ready or Failed, with the reason.
  package var conditions: [Condition] = []
  /// Whether one of its pods was ever ready, so that it may take traffic.
  package var proven: Bool?

  /// An empty status.
  package init() {}
}

/// What gateways measured of a function; soft, merged into answers, never stored.
package struct FunctionFigures: Codable, Hashable, Sendable {
  /// Calls running now.
  package var inFlight = 0
  /// Calls waiting now.
  package var queued = 0
  /// Calls since creation (since the server's start for what was not saved).
  package var calls = 0
  /// Of those, answered with 5xx.
  package var errors = 0
  /// Median over 5 minutes, milliseconds.
  package var p50Milliseconds: Double?
  /// 99th percentile over 5 minutes, milliseconds.
  package var p99Milliseconds: Double?
  /// 99th percentile of the last 100 cold starts, milliseconds.
  package var coldP99Milliseconds: Double?
  /// Call ids of the last errors, newest first.
  package var errorCalls: [String] = []
  /// The last scaling decisions with their times, newest first (at most 20).
  package var decisions: [ScalingNote] = []

  /// Nothing measured.
  package init() {}
}

/// One scaling decision, in words.
package struct ScalingNote: Codable, Hashable, Sendable {
  /// When.
  package var at: Timestamp
  /// What and why: `want 2 pods: 3 queued, 0 free slots`.
  package var text: String

  /// A note.
  package init(at: Timestamp, text: String) {
    self.at = at
    self.text = text
  }
}
