import ClusterClient
import HTTPService
import NIOSSL
import WorkerAgent

/// TLS between gateways and workers: both sides show a certificate of the cluster's authority.
enum PeerTLS {
  /// A gateway's side. The worker is known by its certificate's issuer; addresses are not in it.
  static func client(certificate: String, key: String, authority: String) throws -> NIOSSLContext {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.certificateVerification = .noHostnameVerification
    tls.certificateChain = try PEM.chain(certificate)
    tls.privateKey = try PEM.key(key)
    tls.trustRoots = try PEM.roots(authority)
    return try NIOSSLContext(configuration: tls)
  }

  /// A gateway's side, as a member.
  static func client(_ credentials: MemberCredentials) throws -> NIOSSLContext {
    try client(certificate: credentials.certificate, key: credentials.key, authority: credentials.authority)
  }

  /// A worker's side: only gateways reach its pods.
  static func server(_ credentials: MemberCredentials) throws -> EntryTLS {
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: try PEM.chain(credentials.certificate), privateKey: try PEM.key(credentials.key))
    tls.certificateVerification = .noHostnameVerification
    tls.trustRoots = try PEM.roots(credentials.authority)
    return EntryTLS(context: try NIOSSLContext(configuration: tls)) { certificate in
      if case .gateway? = Principal(certificate: certificate) { true } else { false }
    }
  }
}
