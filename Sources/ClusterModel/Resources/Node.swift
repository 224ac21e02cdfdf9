/// A machine (or a worker process on one) that runs pods.
package struct Node: Resource {
  /// `Node`.
  package static let kind = ResourceKind.node
  /// `v1`.
  package var apiVersion = ResourceKind.node.apiVersion
  /// `Node`.
  package var kind = ResourceKind.node.rawValue
  /// Name and labels.
  package var metadata: ObjectMeta
  /// Intent: whether it takes new pods.
  package var spec: NodeSpec
  /// What it offers and how it is.
  package var status: NodeStatus?

  /// A node that takes pods.
  package init(metadata: ObjectMeta) {
    self.metadata = metadata
    spec = NodeSpec()
  }
}

/// What people want of a node.
package struct NodeSpec: Codable, Hashable, Sendable {
  /// Cordoned: no new pods.
  package var unschedulable: Bool?

  /// Schedulable.
  package init() {}
}

/// What a node offers and how it is.
package struct NodeStatus: Codable, Hashable, Sendable {
  /// `cpu`, `memory`, `pods` in all.
  package var capacity: [String: String]?
  /// The same less what is reserved.
  package var allocatable: [String: String]?
  /// Ready, with the reason.
  package var conditions: [Condition]?
  /// Where it is reached.
  package var addresses: [NodeAddress]?
  /// Kernel, system, version.
  package var nodeInfo: NodeInfo?
  /// What is ours.
  package var apus: NodeDetail?

  /// An empty status.
  package init() {}
}

/// One address of a node.
package struct NodeAddress: Codable, Hashable, Sendable {
  /// `InternalIP` or `Hostname`.
  package var type: String
  /// The address.
  package var address: String

  /// An address of a type.
  package init(type: String, address: String) {
    self.type = type
    self.address = address
  }
}

/// The system a node runs, in Kubernetes' fields.
package struct NodeInfo: Codable, Hashable, Sendable {
  /// The kernel's release.
  package var kernelVersion: String
  /// The distribution.
  package var osImage: String
  /// The sandbox: `apus://VERSION`.
  package var containerRuntimeVersion: String
  /// The worker's version; kubectl shows it as VERSION.
  package var kubeletVersion: String
  /// `linux`.
  package var operatingSystem: String
  /// `amd64`, `arm64`.
  package var architecture: String

  /// All fields.
  package init(kernelVersion: String, osImage: String, version: String, architecture: String) {
    self.kernelVersion = kernelVersion
    self.osImage = osImage
    containerRuntimeVersion = "apus://\(version)"
    kubeletVersion = "v\(version)"
    operatingSystem = "linux"
    self.architecture = architecture
  }
}

/// What the system itself knows of a node.
package struct NodeDetail: Codable, Hashable, Sendable {
  /// Joined, suspect or lost.
  package var session: String
  /// CPU given to pods, thousandths of a core.
  package var allocatedMilliCPU: Int64?
  /// Memory given to pods, bytes.
  package var allocatedMemory: Int64?
  /// Pods on it.
  package var pods: Int?
  /// The isolation this host gives, as `apus doctor` words it.
  package var isolation: [String]?
  /// What functions here may ask for in `spec.egress`.
  package var egress: [Egress]?
  /// Pods made ahead that wait, by what they can become.
  package var stems: [String: Int]?
  /// When it was last heard.
  package var heardAt: Timestamp?

  /// A node in a session state.
  package init(session: String) { self.session = session }
}
