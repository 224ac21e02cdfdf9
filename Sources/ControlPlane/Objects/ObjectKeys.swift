import ClusterModel

/// Where objects live in the store: `/PLURAL/NAMESPACE/NAME`, `_` for the namespace of cluster-wide kinds.
enum ObjectKeys {
  /// The key of one object.
  static func key(_ kind: ResourceKind, _ namespace: String?, _ name: String) -> String {
    "/\(kind.plural)/\(namespace ?? "_")/\(name)"
  }

  /// The prefix of a kind's objects, in one namespace or in all.
  static func prefix(_ kind: ResourceKind, _ namespace: String?) -> String {
    kind.namespaced && namespace == nil ? "/\(kind.plural)/" : "/\(kind.plural)/\(namespace ?? "_")/"
  }

  /// `namespace/name` of a key.
  static func path(_ key: String) -> (namespace: String, name: String)? {
    let parts = key.split(separator: "/")
    guard parts.count == 3 else { return nil }
    return (String(parts[1]), String(parts[2]))
  }
}
