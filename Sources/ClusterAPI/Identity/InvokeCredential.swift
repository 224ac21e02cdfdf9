package import ClusterModel

/// Which functions a token may call.
package struct InvokeScope: Codable, Hashable, Sendable, CustomStringConvertible {
  /// The namespace; nil for all.
  package var namespace: String?
  /// The function's name; nil for all of the namespace.
  package var function: String?

  /// A scope; without a namespace it is everything.
  package init(namespace: String? = nil, function: String? = nil) {
    self.namespace = namespace
    self.function = namespace == nil ? nil : function
  }

  /// Every function of the cluster.
  package static let everything = InvokeScope()

  /// Reads what `description` wrote; nil for anything else.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    if parts == ["*"] {
      self = .everything
    } else if parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty {
      self.init(namespace: parts[0], function: parts[1] == "*" ? nil : parts[1])
    } else {
      return nil
    }
  }

  /// `NAMESPACE/NAME`, `NAMESPACE/*` or `*`.
  package var description: String { namespace.map { "\($0)/\(function ?? "*")" } ?? "*" }

  /// Whether a function lies in it.
  package func covers(namespace: String, function: String) -> Bool {
    (self.namespace ?? namespace) == namespace && (self.function ?? function) == function
  }
}

/// A token with which functions are called, as gateways know it: enough to recognise it, not enough to use it.
package struct InvokeCredential: Codable, Hashable, Sendable {
  /// The token's id, 16 hex digits; no secret.
  package var id: String
  /// SHA-256 of the token's secret part, 32 bytes.
  package var hash: [UInt8]
  /// What it may call.
  package var scope: InvokeScope
  /// When it ends; nil for never.
  package var expires: Timestamp?

  /// A credential of all parts.
  package init(id: String, hash: [UInt8], scope: InvokeScope, expires: Timestamp? = nil) {
    self.id = id
    self.hash = hash
    self.scope = scope
    self.expires = expires
  }
}

/// What is told of a token in a list; never the token itself.
package struct TokenSummary: Codable, Hashable, Sendable {
  /// Its id, with which it is revoked.
  package var id: String
  /// `admin`, `gateway`, `join` or `invoke`.
  package var role: String
  /// What it is good for: a role to join as, or the functions it may call.
  package var scope: String
  /// When it was made.
  package var created: Timestamp
  /// When it ends; nil for never.
  package var expires: Timestamp?

  /// A line of all parts.
  package init(id: String, role: String, scope: String, created: Timestamp, expires: Timestamp?) {
    self.id = id
    self.role = role
    self.scope = scope
    self.created = created
    self.expires = expires
  }
}

/// The header field in which the platform's own callers (the CLI, asynchronous calls) show their token. It never reaches a
/// function, whatever the function's `auth`.
package enum PlatformAuthorization {
  /// The name, lower-case.
  package static let name = "x-apus-authorization"
}
