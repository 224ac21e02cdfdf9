internal import NIOSSL

/// What a client shows the server to say who it is.
package enum APICredential: Sendable, Hashable {
  /// Nothing: only open paths answer.
  case none
  /// A bearer token.
  case token(String)
  /// A client certificate (the chain as PEM, leaf first) and its private key as PEM.
  case certificate(chain: String, key: String)
}

/// Where the server is and which authority vouches for it.
package struct APIEndpoint: Sendable, Hashable {
  /// `https://HOST:PORT`, without a slash at the end.
  package let url: String
  /// The certificate authority that the server's certificate must come from, as PEM; nil trusts the system's roots.
  package let authority: String?

  /// A server and its authority; slashes at the end of `url` are dropped.
  package init(url: String, authority: String?) {
    var url = url
    while url.hasSuffix("/") { url.removeLast() }
    self.url = url
    self.authority = authority
  }
}

/// A client's TLS settings could not be made from the given files; `description` says which and why.
package struct CredentialError: Error, CustomStringConvertible {
  /// The explanation.
  package let description: String
}

extension APIEndpoint {
  /// The TLS settings of a connection to this server; `verified: false` is for fetching the authority itself only.
  func tls(for credential: APICredential, verified: Bool = true) throws(CredentialError) -> TLSConfiguration {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.minimumTLSVersion = .tlsv12
    tls.certificateVerification = verified ? .fullVerification : .none
    if let authority {
      do {
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.utf8)))
      } catch {
        throw CredentialError(description: "the certificate authority of \(url) cannot be read: \(error)")
      }
    }
    if case .certificate(let chain, let key) = credential {
      do {
        let certificates = try NIOSSLCertificate.fromPEMBytes(Array(chain.utf8))
        tls.certificateChain = certificates.map { .certificate($0) }
        tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))
      } catch {
        throw CredentialError(description: "the client certificate for \(url) cannot be read: \(error)")
      }
    }
    return tls
  }
}
