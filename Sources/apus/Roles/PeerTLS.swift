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
    try fill(&tls, certificate, key, authority)
    return try NIOSSLContext(configuration: tls)
  }

  /// A gateway's side, as a member.
  static func client(_ credentials: MemberCredentials) throws -> NIOSSLContext {
    try client(certificate: credentials.certificate, key: credentials.key, authority: credentials.authority)
  }

  /// A worker's side: only gateways reach its pods.
  static func server(_ credentials: MemberCredentials) throws -> EntryTLS {
    let chain = try NIOSSLCertificate.fromPEMBytes(Array(credentials.certificate.utf8)).map {
      NIOSSLCertificateSource.certificate($0)
    }
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain,
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(credentials.key.utf8), format: .pem)))
    tls.certificateVerification = .noHostnameVerification
    tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(credentials.authority.utf8)))
    return EntryTLS(context: try NIOSSLContext(configuration: tls)) { certificate in
      if case .gateway? = Principal(certificate: certificate) { true } else { false }
    }
  }

  private static func fill(_ tls: inout TLSConfiguration, _ certificate: String, _ key: String, _ authority: String)
    throws
  {
    tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8)).map { .certificate($0) }
    tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))
    tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.utf8)))
  }
}
