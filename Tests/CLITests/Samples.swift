import ClusterModel
import Foundation

/// Objects for golden texts, at fixed times.
enum Samples {
  static let now = time("2026-11-21T02:10:00Z")

  static func time(_ text: String) -> Timestamp { Timestamp(text) ?? Timestamp(nanoseconds: 0) }

  static func function(_ name: String = "greet", change: (inout Function) -> Void = { _ in }) throws -> Function {
    let manifest = JSONValue.object([
      "apiVersion": .string("apus.dev/v1"), "kind": .string("Function"),
      "metadata": .object(["name": .string(name), "namespace": .string("default")]),
      "spec": .object([
        "runtime": .string("python"), "handler": .string("handler.py"),
        "env": .object(["GREETING": .string("Hello")]),
        "source": .object([
          "digest": .string("sha256:" + String(repeating: "4f0c", count: 16)), "size": .int(1234),
        ]),
      ]),
    ])
    var function = try Admission.admit(function: manifest).get()
    function.metadata.uid = "0195c6d2-7a31-7c11-9a0f-0a4c5b6d7e8f"
    function.metadata.generation = 2
    function.metadata.creationTimestamp = time("2026-11-21T02:05:00Z")
    var status = FunctionStatus()
    status.observedGeneration = 2
    status.latestRevision = "\(name)-00002"
    status.servingRevision = "\(name)-00002"
    status.readyPods = 1
    status.wantedPods = 1
    status.conditions = [
      Condition(
        type: "Ready", status: true, reason: "Ready", message: "\(name)-00002 serves", at: time("2026-11-21T02:06:00Z"))
    ]
    var figures = FunctionFigures()
    figures.calls = 12
    figures.errors = 1
    figures.p50Milliseconds = 0.42
    figures.p99Milliseconds = 1.13
    figures.coldP99Milliseconds = 9.2
    figures.errorCalls = ["0195c6d2-7a31-7c11-9a0f-000000000001"]
    figures.decisions = [ScalingNote(at: time("2026-11-21T02:09:48Z"), text: "want 1 pods: 1 queued, 0 free slots")]
    status.figures = figures
    function.status = status
    change(&function)
    return function
  }

  static func revision(_ number: Int, of function: Function, proven: Bool = true) -> Revision {
    let name = Revision.name(function: function.metadata.name, number: number)
    var revision = Revision(
      metadata: ObjectMeta(name: name, namespace: "default"),
      spec: RevisionSpec(function: function.metadata.name, number: number, template: function.spec))
    revision.metadata.creationTimestamp = time("2026-11-21T02:0\(number + 4):00Z")
    var status = RevisionStatus()
    status.proven = proven
    if !proven {
      status.conditions = [
        Condition(type: "Ready", status: false, reason: "StartFailed", message: "exit 1", at: now)
      ]
    }
    revision.status = status
    return revision
  }

  static func pod(_ name: String = "greet-00002-x7k2p", life: PodLife = .ready) -> Pod {
    var detail = PodDetail(function: "greet", revision: "greet-00002", life: .wanted)
    detail.enter(.wanted, at: time("2026-11-21T02:09:48Z"), reason: "Scaled")
    detail.enter(.placed, at: time("2026-11-21T02:09:48.001Z"), reason: nil)
    detail.enter(life, at: time("2026-11-21T02:09:48.009Z"), reason: life == .gone ? "ExitCode1" : nil)
    detail.memory = 9_400_000
    var startup = StartupBreakdown()
    startup.placed = 1
    startup.prepared = 2.5
    startup.sandboxed = 1.3
    startup.started = 0.4
    startup.ready = 4
    detail.startup = startup
    if life == .gone {
      detail.failed = true
      detail.exitCode = 1
      detail.message = "exited with 1; last lines:\nTraceback\u{1B}[31m\nValueError: no"
    }
    detail.endpoint = PodEndpoint(socket: "/run/apus/1a2b3c4d/3.s", host: "h", worker: nil)
    var metadata = ObjectMeta(name: name, namespace: "default")
    metadata.uid = "0195c6d2-0000-7000-8000-000000000003"
    metadata.creationTimestamp = time("2026-11-21T02:09:48Z")
    return Pod(
      metadata: metadata,
      spec: PodSpec(
        nodeName: "worker-2",
        containers: [.init(name: "function", image: "sha256:4f0c", resources: nil)], graceSeconds: 10),
      status: PodStatus(apus: detail, at: now))
  }

  static func event(
    _ reason: String, _ message: String, about kind: ResourceKind, _ name: String, warning: Bool = false
  )
    -> Event
  {
    Event(
      metadata: ObjectMeta(name: "\(name).1", namespace: "default"),
      about: ObjectReference(kind, namespace: "default", name: name), reason: reason, message: message,
      warning: warning, component: "control-plane", at: time("2026-11-21T02:06:00Z"))
  }

  static func record(_ message: String = "greeting", call: String = "0195c6d2-7a31-7c11-9a0f-0a4c5b6d7e8f") -> LogRecord
  {
    LogRecord(
      time: time("2026-11-21T02:10:04.123456789Z"), namespace: "default", function: "greet", revision: "greet-00001",
      pod: "greet-00001-x7k2p", node: "worker-2", stream: .stdout, level: .info, call: call, msg: message,
      fields: ["name": .string("Ada"), "took ms": .double(1.5), "level": .string("own")])
  }
}
