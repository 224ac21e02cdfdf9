internal import ClusterModel
internal import HTTPService
internal import Hummingbird

/// What the server offers, in the forms kubectl reads.
struct Discovery: Sendable {
  /// The Kubernetes version whose manners are followed, for kubectl's check of versions.
  static let kubernetesMinor = 32

  /// The product's version.
  let version: String

  /// `/version`.
  var versionInfo: JSONValue {
    .object([
      "major": .string("1"), "minor": .string("\(Self.kubernetesMinor)"),
      "gitVersion": .string("v1.\(Self.kubernetesMinor).0+apus-\(version)"), "gitCommit": .string(""),
      "gitTreeState": .string("clean"), "buildDate": .string("1970-01-01T00:00:00Z"), "goVersion": .string("none"),
      "compiler": .string("swiftc"), "platform": .string("linux/amd64"),
    ])
  }

  /// `/api` and `/apis`: aggregated when asked for, else the legacy lists.
  func groups(core: Bool, accept: String?) -> Response {
    let wanted = accept ?? ""
    if wanted.contains("as=APIGroupDiscoveryList"), wanted.contains("v=v2;") || wanted.contains("v=v2,") {
      let items = core ? [aggregated("")] : [aggregated("apus.dev")]
      return .json(
        .object([
          "kind": .string("APIGroupDiscoveryList"), "apiVersion": .string("apidiscovery.k8s.io/v2"),
          "metadata": .object([:]), "items": .array(items),
        ]), headers: [.contentType: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"])
    }
    if core {
      return .json(
        .object([
          "kind": .string("APIVersions"), "versions": .array([.string("v1")]),
          "serverAddressByClientCIDRs": .array([]),
        ]))
    }
    return .json(
      .object(["kind": .string("APIGroupList"), "apiVersion": .string("v1"), "groups": .array([groupEntry])]))
  }

  /// `/apis/apus.dev`.
  var group: JSONValue {
    var group = groupEntry
    group["kind"] = .string("APIGroup")
    group["apiVersion"] = .string("v1")
    return group
  }

  private var groupEntry: JSONValue {
    let version = JSONValue.object(["groupVersion": .string("apus.dev/v1"), "version": .string("v1")])
    return .object(["name": .string("apus.dev"), "versions": .array([version]), "preferredVersion": version])
  }

  /// `/api/v1` and `/apis/apus.dev/v1`.
  func kinds(group: String) -> JSONValue {
    var resources: [JSONValue] = []
    for kind in Self.kinds(group) {
      resources.append(
        .object([
          "name": .string(kind.plural), "singularName": .string(kind.singular), "namespaced": .bool(kind.namespaced),
          "kind": .string(kind.rawValue), "verbs": Self.strings(Self.verbs(kind)),
          "shortNames": Self.strings(kind.shortNames), "categories": Self.strings(Self.categories(kind)),
        ]))
      for part in Self.parts(kind) {
        var entry: [String: JSONValue] = [
          "name": .string("\(kind.plural)/\(part.name)"), "singularName": .string(""),
          "namespaced": .bool(kind.namespaced), "kind": .string(part.kind), "verbs": Self.strings(part.verbs),
        ]
        if let group = part.group { (entry["group"], entry["version"]) = (.string(group), .string("v1")) }
        resources.append(.object(entry))
      }
    }
    return .object([
      "kind": .string("APIResourceList"), "apiVersion": .string("v1"),
      "groupVersion": .string(group.isEmpty ? "v1" : "\(group)/v1"), "resources": .array(resources),
    ])
  }

  private func aggregated(_ group: String) -> JSONValue {
    let resources = Self.kinds(group).map { kind in
      JSONValue.object([
        "resource": .string(kind.plural), "responseKind": Self.type(kind.group, kind.rawValue),
        "scope": .string(kind.namespaced ? "Namespaced" : "Cluster"), "singularResource": .string(kind.singular),
        "verbs": Self.strings(Self.verbs(kind)), "shortNames": Self.strings(kind.shortNames),
        "categories": Self.strings(Self.categories(kind)),
        "subresources": .array(
          Self.parts(kind).map { part in
            .object([
              "subresource": .string(part.name), "responseKind": Self.type(part.group ?? kind.group, part.kind),
              "verbs": Self.strings(part.verbs),
            ])
          }),
      ])
    }
    return .object([
      "metadata": .object(["name": .string(group), "creationTimestamp": .null]),
      "versions": .array([
        .object(["version": .string("v1"), "resources": .array(resources), "freshness": .string("Current")])
      ]),
    ])
  }

  // MARK: The kinds

  private struct Part {
    let name: String
    let kind: String
    /// The group of the part's kind, when it is another than the object's.
    var group: String?
    let verbs: [String]
  }

  private static func kinds(_ group: String) -> [ResourceKind] { ResourceKind.allCases.filter { $0.group == group } }

  private static func verbs(_ kind: ResourceKind) -> [String] {
    let read = ["get", "list", "watch"]
    switch kind {
    case .function, .secret, .namespace: return ["create", "delete", "get", "list", "patch", "update", "watch"]
    case .node: return ["delete", "get", "list", "patch", "update", "watch"]
    case .pod: return ["delete", "get", "list", "watch"]
    case .revision, .event: return read
    }
  }

  private static func parts(_ kind: ResourceKind) -> [Part] {
    let status = Part(name: "status", kind: kind.rawValue, verbs: ["get", "patch", "update"])
    switch kind {
    case .function:
      let scale = Part(name: "scale", kind: "Scale", group: "autoscaling", verbs: ["get", "patch", "update"])
      return [scale, status]
    case .pod: return [Part(name: "log", kind: "Pod", verbs: ["get"])]
    default: return []
    }
  }

  private static func categories(_ kind: ResourceKind) -> [String] {
    switch kind {
    case .function, .pod: ["all"]
    case .revision: ["all"]
    default: []
    }
  }

  private static func type(_ group: String, _ kind: String) -> JSONValue {
    .object(["group": .string(group), "version": .string("v1"), "kind": .string(kind)])
  }

  private static func strings(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }
}
