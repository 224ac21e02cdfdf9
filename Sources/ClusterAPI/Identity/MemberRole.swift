/// What a machine is in the cluster once it has joined: each member has a certificate of its own.
package enum MemberRole: String, Codable, Hashable, Sendable {
  /// A worker, which runs pods.
  case node
  /// A gateway of its own process, which takes requests.
  case gateway

  /// The word for many of them, as it stands in paths: `nodes`, `gateways`.
  package var plural: String { rawValue + "s" }

  /// The common name of a member's certificate: `system:node:worker-1`.
  package func commonName(_ name: String) -> String { "system:\(rawValue):\(name)" }
}
