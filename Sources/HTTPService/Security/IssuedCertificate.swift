package import ClusterModel
internal import Foundation
internal import NIOCore
package import NIOSSL
internal import X509

/// A certificate of the cluster's authority, as PEM.
package struct IssuedCertificate: Sendable, Hashable {
  /// The certificate.
  package let certificate: String
  /// Its private key; nil when the owner made the key.
  package let key: String?
  /// Until when it is valid.
  package let validUntil: Timestamp
}

/// Something with keys or certificates did not work; `description` says what, where, and what to do.
package struct SecurityError: Error, CustomStringConvertible {
  /// The explanation.
  package let description: String

  /// An error with its explanation.
  package init(_ description: String) { self.description = description }
}

/// TLS settings of servers.
package enum ServerTLS {
  /// How long a closing connection waits for its peer's goodbye; everything was sent before.
  static let goodbyeMilliseconds: Int64 = 300

  /// Settings with a certificate and key (PEM) that ask clients for a certificate of `authority` (PEM), without which
  /// they may connect too; a certificate of anyone else ends the handshake.
  package static func configuration(
    certificate: String, key: String, authority: String
  ) throws(SecurityError) -> TLSConfiguration {
    do {
      let chain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8))
      var tls = TLSConfiguration.makeServerConfiguration(
        certificateChain: chain.map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem)))
      tls.minimumTLSVersion = .tlsv12
      tls.certificateVerification = .optionalVerification
      tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.utf8)))
      tls.applicationProtocols = ["http/1.1"]
      tls.shutdownTimeout = .milliseconds(Self.goodbyeMilliseconds)
      return tls
    } catch {
      throw SecurityError("the server's certificate or key cannot be used for TLS: \(error)")
    }
  }
}
