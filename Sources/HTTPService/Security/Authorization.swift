package import ClusterAPI

/// Something a request wants to do, with what deciding about it needs.
package enum Access: Sendable, Hashable {
  /// See which kinds there are, and the version.
  case discover
  /// Read or write resources, logs and packages as a person does; make tokens.
  case administer(String)
  /// Be the worker of this node: reports, commands.
  case workAs(node: String)
  /// Get a certificate for this member.
  case certify(MemberRole, String)
  /// Read the secrets of a pod that runs on this node; nil when it runs nowhere.
  case secrets(podNode: String?)
  /// Read a package; `nodes` have pods made from it.
  case readArtifact(nodes: Set<String>)
  /// Append log records as this source: `NODE/SPOOL`, or `gateway/ID.START`.
  case appendLogs(source: String)
  /// Follow routes, activate, report usage as this gateway: `ID`, or `ID.START` for one of its processes.
  case route(gateway: String)
}

/// The rules of who may do what; pure.
package enum Authorization {
  /// Whether a principal may do something.
  package static func permits(_ principal: Principal, _ access: Access) -> Bool {
    switch (principal, access) {
    case (.anonymous, _): return false
    case (.admin, .workAs): return false
    case (.admin, _): return true
    case (_, .discover): return true
    case (.joiner(_, let role), .certify(let wanted, _)): return role == wanted
    case (.node(let name), .workAs(let node)), (.node(let name), .certify(.node, let node)): return name == node
    case (.gateway(let name), .certify(.gateway, let gateway)): return name == gateway
    case (.node(let name), .secrets(let node)): return name == node
    case (.node(let name), .readArtifact(let nodes)): return nodes.contains(name)
    case (.node(let name), .appendLogs(let source)):
      return source.hasPrefix("\(name)/") && source.count > name.count + 1
    case (.gateway(let id), .appendLogs(let source)):
      return source == "gateway/\(id)" || source.hasPrefix("gateway/\(id).")
    case (.gateway(let id), .route(let gateway)): return gateway == id || gateway.hasPrefix("\(id).")
    case (.node, _), (.gateway, _), (.joiner, _): return false
    }
  }

  /// Throws 401 for nobody and 403 for a principal that may not.
  package static func require(_ principal: Principal, _ access: Access) throws(APIStatus) {
    if permits(principal, access) { return }
    if principal == .anonymous {
      throw .unauthorized("no credential was sent; use the kubeconfig's token or a client certificate")
    }
    throw .forbidden("\(principal.name) may not \(access.words)")
  }
}

extension Access {
  /// The access in words, after "may not".
  fileprivate var words: String {
    switch self {
    case .discover: "see the API"
    case .administer(let what): what
    case .workAs(let node): "act as node \(node)"
    case .certify(let role, let name): "get a certificate for \(role.rawValue) \(name)"
    case .secrets: "read the secrets of a pod that is not on its node"
    case .readArtifact: "read a package that no pod on its node is made from"
    case .appendLogs(let source): "append log records as \(source)"
    case .route(let gateway): "act as gateway \(gateway)"
    }
  }
}
