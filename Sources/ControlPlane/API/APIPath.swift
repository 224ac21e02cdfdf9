package import ClusterAPI
package import ClusterModel
internal import HTTPService

/// What a path below `/api/v1` or `/apis/apus.dev/v1` means; pure.
package enum APIPath: Sendable, Hashable {
  /// The list of kinds of a group.
  case kinds
  /// All objects of a kind, in one namespace or (nil) all.
  case collection(ResourceKind, namespace: String?)
  /// One object.
  case object(ResourceKind, namespace: String?, name: String)
  /// The status or scale of an object.
  case part(ResourceKind, namespace: String?, name: String, Subresource)
  /// A pod's log.
  case podLog(namespace: String, name: String)
  /// The logs of a namespace, or (nil) of all.
  case logs(namespace: String?)
  /// How many records there were when.
  case logHistogram(namespace: String?)
  /// The values of the records' fields.
  case logFacets(namespace: String?)
  /// A function package.
  case artifact(namespace: String, digest: String)
  /// Tokens for joining and for calls.
  case tokens
  /// One of them.
  case token(id: String)
  /// The asynchronous calls of a namespace.
  case calls(namespace: String)
  /// One of them, or (`retry`) running it once more.
  case call(namespace: String, id: String, retry: Bool)

  /// Reads the path after the group (`""` for core, `apus.dev`) and version; nil when it means nothing.
  package init?(group: String, rest: String) {
    let parts = rest.split(separator: "/").map { PercentEncoding.decode($0) }
    if parts.isEmpty {
      self = .kinds
    } else if let path = Self.own(group, parts) {
      self = path
    } else if let path = Self.resource(group, parts) {
      self = path
    } else {
      return nil
    }
  }

  /// What only apus.dev has.
  private static func own(_ group: String, _ parts: [String]) -> APIPath? {
    guard group == "apus.dev" else { return nil }
    if parts.first == "logs" { return logs(parts, namespace: nil) }
    if parts == ["tokens"] { return .tokens }
    if parts.count == 2, parts[0] == "tokens" { return .token(id: parts[1]) }
    guard parts.count >= 3, parts[0] == "namespaces" else { return nil }
    if parts[2] == "logs" { return logs(Array(parts.dropFirst(2)), namespace: parts[1]) }
    if parts[2] == "calls" { return calls(parts) }
    if parts.count == 4, parts[2] == "artifacts" { return .artifact(namespace: parts[1], digest: parts[3]) }
    return nil
  }

  private static func logs(_ parts: [String], namespace: String?) -> APIPath? {
    switch parts {
    case ["logs"]: .logs(namespace: namespace)
    case ["logs", "histogram"]: .logHistogram(namespace: namespace)
    case ["logs", "facets"]: .logFacets(namespace: namespace)
    default: nil
    }
  }

  private static func calls(_ parts: [String]) -> APIPath? {
    switch parts.count {
    case 3: .calls(namespace: parts[1])
    case 4: .call(namespace: parts[1], id: parts[3], retry: false)
    case 5 where parts[4] == "retry": .call(namespace: parts[1], id: parts[3], retry: true)
    default: nil
    }
  }

  private static func resource(_ group: String, _ parts: [String]) -> APIPath? {
    var parts = parts
    var namespace: String?
    // `namespaces/NS` is an object, `namespaces/NS/PLURAL` a scope; `status` is no plural.
    if parts[0] == "namespaces", parts.count >= 3, parts[2] != Subresource.status.rawValue {
      namespace = parts[1]
      parts.removeFirst(2)
    }
    guard let kind = ResourceKind.allCases.first(where: { $0.plural == parts[0] && $0.group == group }),
      kind.namespaced || namespace == nil
    else { return nil }
    switch parts.count {
    case 1: return .collection(kind, namespace: namespace)
    case 2 where !kind.namespaced || namespace != nil: return .object(kind, namespace: namespace, name: parts[1])
    case 3 where !kind.namespaced || namespace != nil:
      if kind == .pod, parts[2] == "log", let namespace { return .podLog(namespace: namespace, name: parts[1]) }
      guard let part = Subresource(rawValue: parts[2]), part == .status || kind == .function else { return nil }
      return .part(kind, namespace: namespace, name: parts[1], part)
    default: return nil
    }
  }
}
