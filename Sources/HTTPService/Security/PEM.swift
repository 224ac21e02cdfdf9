package import NIOSSL

/// PEM text as NIOSSL takes it; each throws NIOSSL's own error when the text is not what it should be.
package enum PEM {
  /// A chain of certificates, leaf first.
  package static func chain(_ text: String) throws -> [NIOSSLCertificateSource] {
    try NIOSSLCertificate.fromPEMBytes(Array(text.utf8)).map { .certificate($0) }
  }

  /// A private key.
  package static func key(_ text: String) throws -> NIOSSLPrivateKeySource {
    .privateKey(try NIOSSLPrivateKey(bytes: Array(text.utf8), format: .pem))
  }

  /// Authorities to trust, and no other.
  package static func roots(_ text: String) throws -> NIOSSLTrustRoots {
    .certificates(try NIOSSLCertificate.fromPEMBytes(Array(text.utf8)))
  }
}
