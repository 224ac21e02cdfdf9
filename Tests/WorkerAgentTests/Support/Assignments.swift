import ClusterAPI
import ClusterModel
import Foundation

/// Assignments of functions as the control plane would send them.
enum Assignments {
  /// A pod of a function; `spec` is merged over a minimal one.
  static func make(
    _ function: String = "greet", uid: String = UUIDv7.make(), pod: String = "greet-00001-abcde",
    digest: String = "sha256:" + String(repeating: "a", count: 64), spec: JSONValue = .object([:])
  ) throws -> PodAssignment {
    var base: [String: JSONValue] = [
      "runtime": .string("python"), "handler": .string("handler.py"),
      "source": .object(["digest": .string(digest)]),
    ]
    for (key, value) in spec.objectValue ?? [:] {
      if case .null = value { base[key] = nil } else { base[key] = value }
    }
    let object = JSONValue.object([
      "apiVersion": .string("apus.dev/v1"), "kind": .string("Function"),
      "metadata": .object(["name": .string(function)]), "spec": .object(base),
    ])
    let admitted = try Admission.admit(function: object).get()
    return PodAssignment(
      uid: uid, name: pod, namespace: "default", revision: "\(function)-00001",
      spec: RevisionSpec(function: function, number: 1, template: admitted.spec), wantedAt: .now())
  }
}
