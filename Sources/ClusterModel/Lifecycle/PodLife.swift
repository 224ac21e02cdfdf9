/// The steps of a pod's life; one machine, shared by worker and control plane.
///
/// wanted → placed → starting → ready → draining → gone. A crash takes a ready pod back to starting (a restart);
/// every step may go straight to gone.
package enum PodLife: String, Codable, Hashable, Sendable, CaseIterable {
  /// Asked for; no node chosen.
  case wanted
  /// A node was chosen and told.
  case placed
  /// The node prepares or starts it, the first time or again.
  case starting
  /// It takes requests.
  case ready
  /// It takes no new requests; running ones finish.
  case draining
  /// It is over.
  case gone

  /// Whether the machine allows this step.
  package func canBecome(_ next: PodLife) -> Bool {
    switch (self, next) {
    case (.gone, _): false
    case (_, .gone): true
    case (.wanted, .placed), (.wanted, .starting), (.placed, .starting), (.placed, .wanted): true
    case (.starting, .starting), (.starting, .ready), (.starting, .draining), (.placed, .draining): true
    // A worker tells of a quick start once it is over.
    case (.placed, .ready): true
    case (.ready, .draining), (.ready, .starting), (.wanted, .draining): true
    default: false
    }
  }

  /// The Kubernetes phase for this step.
  package func kubernetesPhase(failed: Bool) -> String {
    switch self {
    case .wanted, .placed, .starting: "Pending"
    case .ready, .draining: "Running"
    case .gone: failed ? "Failed" : "Succeeded"
    }
  }

  /// Whether a process of the pod may exist in this step.
  package var active: Bool { self != .gone && self != .wanted }
}
