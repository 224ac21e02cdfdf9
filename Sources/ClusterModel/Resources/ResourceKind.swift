/// A kind of resource the API serves, with its names on the wire.
package enum ResourceKind: String, CaseIterable, Sendable, Codable, Hashable {
  case namespace = "Namespace"
  case node = "Node"
  case pod = "Pod"
  case secret = "Secret"
  case event = "Event"
  case function = "Function"
  case revision = "Revision"

  /// The API group; empty for the core group.
  package var group: String {
    switch self {
    case .function, .revision: "apus.dev"
    default: ""
    }
  }

  /// `v1` for every kind today.
  package var version: String { "v1" }

  /// The group and version as objects carry it: `v1` or `apus.dev/v1`.
  package var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }

  /// The name in paths.
  package var plural: String {
    switch self {
    case .namespace: "namespaces"
    case .node: "nodes"
    case .pod: "pods"
    case .secret: "secrets"
    case .event: "events"
    case .function: "functions"
    case .revision: "revisions"
    }
  }

  /// The name for one object in commands.
  package var singular: String { rawValue.lowercased() }

  /// Short names that people type.
  package var shortNames: [String] {
    switch self {
    case .namespace: ["ns"]
    case .node: ["no"]
    case .pod: ["po"]
    case .event: ["ev"]
    case .function: ["fn"]
    case .revision: ["rev"]
    case .secret: []
    }
  }

  /// Whether objects of this kind live in a namespace.
  package var namespaced: Bool { self != .namespace && self != .node }

  /// Whether objects of this kind are soft state: in memory, rebuilt from the workers after a restart.
  package var soft: Bool { self == .pod || self == .event }

  /// The name in error messages: `functions.apus.dev`, `pods`.
  package var qualifiedPlural: String { group.isEmpty ? plural : "\(plural).\(group)" }

  /// The kind with this plural, singular or short name, in any group; nil when there is none.
  package init?(named name: String) {
    let name = name.lowercased()
    guard
      let kind = Self.allCases.first(where: {
        $0.plural == name || $0.singular == name || $0.shortNames.contains(name) || $0.qualifiedPlural == name
      })
    else { return nil }
    self = kind
  }
}

/// A typed resource: the parts that generic code needs.
package protocol Resource: Codable, Sendable, Hashable {
  /// The kind all values of this type have.
  static var kind: ResourceKind { get }
  /// The object's metadata.
  var metadata: ObjectMeta { get set }
}
