/// The schema of every kind that clients may write. The schema holds only what works.
package enum Schemas {
  /// The schema for a kind's whole object.
  package static func object(_ kind: ResourceKind) -> Schema {
    switch kind {
    case .function: function
    case .namespace: object(kind, name: .dnsLabel, extra: ["spec": .optional(.any), "status": .optional(.any)])
    case .node: object(kind, name: .dnsLabel, extra: ["spec": .optional(nodeSpec), "status": .optional(.any)])
    case .secret: secret
    case .pod, .revision, .event:
      object(kind, name: .dnsLabel, extra: ["spec": .optional(.any), "status": .optional(.any)])
    }
  }

  /// A function's whole object.
  package static let function = object(
    .function, name: .functionName,
    extra: ["spec": .required(functionSpec), "status": .optional(.any)])

  private static func object(_ kind: ResourceKind, name: Schema.Rule, extra: [String: Schema.Member]) -> Schema {
    var members: [String: Schema.Member] = [
      "apiVersion": .required(.string(.oneOf([kind.apiVersion]))),
      "kind": .required(.string(.oneOf([kind.rawValue]))),
      "metadata": .required(metadata(name)),
    ]
    members.merge(extra) { _, new in new }
    return .object(members)
  }

  private static func metadata(_ name: Schema.Rule) -> Schema {
    .object([
      "name": .required(.string(name)), "namespace": .optional(.string(.dnsLabel)),
      "labels": .optional(.map(keys: .labelKey, values: .string(.labelValue), most: 64)),
      "annotations": .optional(.map(keys: .labelKey, values: .string(.text), most: 64)),
      "uid": .optional(.any), "resourceVersion": .optional(.any), "generation": .optional(.any),
      "creationTimestamp": .optional(.any), "deletionTimestamp": .optional(.any),
      "deletionGracePeriodSeconds": .optional(.any), "finalizers": .optional(.any),
      "ownerReferences": .optional(.any), "managedFields": .optional(.any), "selfLink": .optional(.any),
      "generateName": .optional(.any),
    ])
  }

  private static let nodeSpec = Schema.object(["unschedulable": .optional(.boolean)])

  private static let secret = object(
    .secret, name: .dnsLabel,
    extra: [
      "type": .optional(.string(.oneOf(["Opaque"])), default: .string("Opaque")),
      "data": .optional(.map(keys: secretKey, values: .string(.base64), most: 128)),
      "stringData": .optional(.map(keys: secretKey, values: .string(.text), most: 128)),
      "lengths": .optional(.any), "immutable": .optional(.any),
    ])

  /// A key of a secret, which becomes a file's name.
  private static let secretKey = Schema.Rule("secret key") { text in
    let fits = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    return fits && !text.isEmpty && text.utf8.count <= 253 && text != "." && text != ".."
      ? nil : "\"\(text.prefix(80))\" is not a key; use letters, digits, -, _ and ."
  }

  /// What a function's spec must look like, with its defaults.
  package static let functionSpec = Schema.object([
    "runtime": .required(.string(.oneOf(Runtime.allCases.map(\.rawValue)))),
    "handler": .optional(.string(.handler)),
    "command": .optional(.list(.string(.text), most: 256)),
    "args": .optional(.list(.string(.text), most: 256)),
    "image": .optional(.string(.image)),
    "imageSecret": .optional(.string(.dnsLabel)),
    "rootWritable": .optional(.boolean),
    "source": .optional(
      .object(["digest": .required(.string(.digest)), "size": .optional(.integer(0...Limits.artifactPacked))])),
    "env": .optional(.map(keys: .environmentName, values: .string(.text), most: 256)),
    "secrets": .optional(.list(.string(.dnsLabel), most: 32)),
    "egress": .optional(.string(.oneOf(Egress.allCases.map(\.rawValue)))),
    "resources": .optional(resources, default: .object([:])),
    "timeout": duration("30s", .init(milliseconds: 1)...Limits.timeoutMaximum),
    "timeouts": .optional(timeouts),
    "grace": duration("10s", .seconds(0)...Limits.timeoutMaximum),
    "concurrency": .optional(.integer(1...Limits.concurrencyMaximum), default: .int(1)),
    "scale": .optional(scale, default: .object([:])),
    "queue": .optional(queue, default: .object([:])),
    "probes": .optional(probes, default: .object([:])),
    "maxBody": .optional(.string(.bytes(1024...(10 << 30))), default: .string("100Mi")),
    "idempotent": .optional(.boolean, default: .bool(false)),
    "public": .optional(.boolean),
    "auth": .optional(.string(.oneOf(InvokeAuth.allCases.map(\.rawValue)))),
    "nodeSelector": .optional(.map(keys: .labelKey, values: .string(.labelValue), most: 16)),
    "schedule": .optional(.list(schedule, most: Limits.schedulesOfFunction)),
  ])

  private static let schedule = Schema.object([
    "name": .optional(.string(.dnsLabel), default: .string("default")),
    "cron": .required(.string(.cron)),
    "timeZone": .optional(.string(.timeZone), default: .string("UTC")),
    "concurrencyPolicy": .optional(
      .string(.concurrencyPolicy), default: .string(ConcurrencyPolicy.allow.rawValue)),
    "startingDeadline": .optional(.string(.duration(.seconds(1)...(.seconds(Limits.startingDeadlineSeconds))))),
    "suspend": .optional(.boolean, default: .bool(false)),
    "call": .optional(scheduledCall, default: .object([:])),
  ])

  private static let scheduledCall = Schema.object([
    "method": .optional(
      .string(.oneOf(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])), default: .string("POST")),
    "path": .optional(.string(.callPath), default: .string("/")),
    "contentType": .optional(.string(.fieldValue)),
    "body": .optional(.string(.text)),
  ])

  private static func duration(_ text: String, _ range: ClosedRange<TimeSpan>) -> Schema.Member {
    .optional(.string(.duration(range)), default: .string(text))
  }

  /// Without defaults: `timeout` bounds the whole call, and what is silent for long may be meant so.
  private static let timeouts = Schema.object([
    "responseStart": .optional(.string(.duration(.init(milliseconds: 1)...Limits.timeoutMaximum))),
    "responseIdle": .optional(.string(.duration(.init(milliseconds: 1)...Limits.timeoutMaximum))),
  ])

  private static let resources = Schema.object([
    "memory": .optional(.string(.bytes((8 << 20)...(1 << 40))), default: .string("128Mi")),
    "cpu": .optional(.string(.cores(10...256_000)), default: .string("1")),
    "pids": .optional(.integer(4...32_768), default: .int(64)),
    "tmp": .optional(.string(.bytes((64 << 10)...(1 << 40))), default: .string("64Mi")),
    "files": .optional(.integer(32...16_384), default: .int(1024)),
  ])

  private static let scale = Schema.object([
    "min": .optional(.integer(0...Limits.podsMaximum), default: .int(0)),
    "max": .optional(.integer(1...Limits.podsMaximum), default: .int(10)),
    "idleAfter": duration("30s", .init(milliseconds: 100)...(.init(milliseconds: 14_400_000))),
  ])

  private static let queue = Schema.object([
    "limit": .optional(.integer(1...Limits.queueMaximum), default: .int(1000)),
    "timeout": duration("10s", .init(milliseconds: 10)...Limits.timeoutMaximum),
  ])

  private static let probes = Schema.object([
    "startup": duration("10s", .init(milliseconds: 100)...(.seconds(600))),
    "readiness": .optional(httpProbe),
    "liveness": .optional(httpProbe),
  ])

  private static let httpProbe = Schema.object([
    "path": .required(.string(.path)),
    "period": duration("10s", .init(milliseconds: 100)...(.seconds(600))),
    "timeout": duration("1s", .init(milliseconds: 10)...(.seconds(60))),
    "failures": .optional(.integer(1...100), default: .int(3)),
  ])
}
