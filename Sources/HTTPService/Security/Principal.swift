package import ClusterAPI
package import NIOSSL
internal import SwiftASN1
internal import X509

/// Who sent a request.
package enum Principal: Sendable, Hashable {
  /// A person, or the CLI of one, who may do everything.
  case admin
  /// A worker, by its certificate.
  case node(String)
  /// A gateway of its own process.
  case gateway(String)
  /// Someone with a join token, who may become a member of that role and nothing else.
  case joiner(String, MemberRole)
  /// Nobody known.
  case anonymous

  /// The name as certificates and logs carry it: `system:node:worker-1`.
  package var name: String {
    switch self {
    case .admin: "system:admin"
    case .node(let name): "system:node:\(name)"
    case .gateway(let id): "system:gateway:\(id)"
    case .joiner(let id, _): "system:joiner:\(id)"
    case .anonymous: "system:anonymous"
    }
  }

  /// The principal that a verified certificate's common name means, or nil.
  package init?(commonName: String) {
    if commonName == "system:admin" {
      self = .admin
    } else if commonName.hasPrefix("system:node:"), commonName.count > 12 {
      self = .node(String(commonName.dropFirst(12)))
    } else if commonName.hasPrefix("system:gateway:"), commonName.count > 15 {
      self = .gateway(String(commonName.dropFirst(15)))
    } else {
      return nil
    }
  }
}

extension Principal {
  /// The principal that a verified certificate names, or nil when it names none, or several.
  package init?(certificate: NIOSSLCertificate) {
    guard let bytes = try? certificate.toDERBytes(), let parsed = try? Certificate(derEncoded: bytes) else {
      return nil
    }
    let names = parsed.subject.flatMap { $0 }.filter { $0.type == .RDNAttributeType.commonName }
    guard names.count == 1, let name = names.first.flatMap({ String($0.value) }) else { return nil }
    self.init(commonName: name)
  }
}

/// Knows the bearer tokens.
package protocol Authenticator: Sendable {
  /// Who holds a token; throws 401 for one that is unknown or expired.
  func principal(bearer token: String) async throws(APIStatus) -> Principal
}
