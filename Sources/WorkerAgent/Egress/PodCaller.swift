import ClusterAPI
import ClusterModel
import PodSandbox

/// Who a pod is to the functions it calls, as its worker tells a gateway. The pod has no say in it.
package struct PodCaller: Hashable, Sendable {
  /// Its namespace: the only one whose functions it may call.
  package var namespace: String
  /// Its function.
  package var function: String
  /// Its name.
  package var pod: String
  /// Its uid.
  package var uid: String

  /// The line that stands before the first byte of the pod on each connection; every part is without spaces.
  var preamble: String { "APUS-POD 1 \(namespace) \(function) \(pod) \(uid)\n" }

  /// The port on the pod's loopback where it reaches the gateway.
  package static let port: UInt16 = 6442
  /// What `APUS_GATEWAY` says in a pod that may call functions.
  static let url = "http://127.0.0.1:\(port)"
}

extension SandboxOrder {
  /// Gives the pod of an assignment a way to what its function asks for.
  mutating func allow(_ egress: Egress, to assignment: PodAssignment) {
    self.egress = egress
    guard egress != .none else { return }
    caller = PodCaller(
      namespace: assignment.namespace, function: assignment.spec.function, pod: assignment.name, uid: assignment.uid)
    // The process that carries the packets counts among the pod's, not among the user's.
    if egress == .internet { resources.pids += Int(EgressProcess.processes) }
  }
}
