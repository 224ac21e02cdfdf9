package import ClusterAPI
package import ClusterModel
internal import Crypto
internal import Foundation
internal import SwiftASN1
internal import X509

/// A member's identity: its certificate and key, and the authority of its cluster.
package struct MemberCredentials: Codable, Sendable, Hashable {
  /// What it is.
  package let role: MemberRole
  /// Its name, unique in its role.
  package let name: String
  /// The authority's certificate, PEM.
  package let authority: String
  /// The member's certificate, PEM.
  package let certificate: String
  /// The certificate's private key, PEM.
  package let key: String
  /// From when the certificate is valid.
  package let validFrom: Timestamp
  /// Until when the certificate is valid.
  package let validUntil: Timestamp

  /// Credentials of their parts; throws when the certificate cannot be read.
  package init(role: MemberRole, name: String, authority: String, certificate: String, key: String) throws {
    self.role = role
    self.name = name
    self.authority = authority
    self.certificate = certificate
    self.key = key
    let parsed = try Certificate(pemEncoded: certificate)
    validFrom = Timestamp(milliseconds: Int64(parsed.notValidBefore.timeIntervalSince1970 * 1000))
    validUntil = Timestamp(milliseconds: Int64(parsed.notValidAfter.timeIntervalSince1970 * 1000))
  }

  /// How they are shown to a server.
  package var credential: APICredential { .certificate(chain: certificate, key: key) }

  /// When two thirds of the validity are over, and the certificate should be renewed.
  package var renewAt: Timestamp {
    Timestamp(nanoseconds: validFrom.nanoseconds + (validUntil.nanoseconds - validFrom.nanoseconds) / 3 * 2)
  }

  /// Reads credentials that `write` left; nil when there is no such file.
  package static func read(from path: String) throws -> MemberCredentials? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    return try JSONDecoder().decode(MemberCredentials.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
  }

  /// Writes the credentials, readable by their owner only, so that a crash leaves the old file or the new one.
  package func write(to path: String) throws {
    try PrivateFile.write(Array(JSONCoding.encoder.encode(self)), to: path)
  }
}

/// A new key and the request to certify it.
struct CertificateRequest: Sendable {
  /// The private key, PEM.
  let key: String
  /// The signing request, PEM.
  let request: String

  /// A P-256 key and a request for a member's common name.
  init(_ role: MemberRole, _ name: String) throws {
    let key = P256.Signing.PrivateKey()
    let request = try CertificateSigningRequest(
      version: .v1,
      subject: try DistinguishedName {
        CommonName(role.commonName(name))
        OrganizationName("system:\(role.plural)")
      },
      privateKey: Certificate.PrivateKey(key), attributes: CertificateSigningRequest.Attributes(),
      signatureAlgorithm: .ecdsaWithSHA256)
    self.key = key.pemRepresentation
    self.request = try request.serializeAsPEM().pemString
  }
}

/// The authority's key, as a join token names it.
enum AuthorityHash {
  /// The SHA-256 of a certificate's public key (its SubjectPublicKeyInfo), base64url without padding.
  static func of(pem: String) throws -> String {
    let certificate = try Certificate(pemEncoded: pem)
    let digest = SHA256.hash(data: Array(certificate.publicKey.subjectPublicKeyInfoBytes))
    return Data(digest).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing(
      "=", with: "")
  }
}
