import ClusterClient
import NIOSSL

/// TLS between gateways and workers: both sides show a certificate of the cluster's authority.
enum PeerTLS {
  /// A gateway's side. The worker is known by its certificate's issuer; addresses are not in it.
  static func client(certificate: String, key: String, authority: String) throws -> NIOSSLContext {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.certificateVerification = .noHostnameVerification
    try fill(&tls, certificate, key, authority)
    return try NIOSSLContext(configuration: tls)
  }

  /// A worker's side.
  static func server(_ credentials: NodeCredentials) throws -> NIOSSLContext {
    let chain = try NIOSSLCertificate.fromPEMBytes(Array(credentials.certificate.utf8)).map {
      NIOSSLCertificateSource.certificate($0)
    }
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain,
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(credentials.key.utf8), format: .pem)))
    tls.certificateVerification = .noHostnameVerification
    tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(credentials.authority.utf8)))
    return try NIOSSLContext(configuration: tls)
  }

  private static func fill(_ tls: inout TLSConfiguration, _ certificate: String, _ key: String, _ authority: String)
    throws
  {
    tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8)).map { .certificate($0) }
    tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))
    tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.utf8)))
  }
}
