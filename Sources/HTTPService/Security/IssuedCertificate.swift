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
      var tls = TLSConfiguration.makeServerConfiguration(
        certificateChain: try PEM.chain(certificate), privateKey: try PEM.key(key))
      tls.minimumTLSVersion = .tlsv12
      tls.certificateVerification = .optionalVerification
      tls.trustRoots = try PEM.roots(authority)
      tls.applicationProtocols = ["http/1.1"]
      tls.shutdownTimeout = .milliseconds(Self.goodbyeMilliseconds)
      return tls
    } catch {
      throw SecurityError("the server's certificate or key cannot be used for TLS: \(error)")
    }
  }
}
