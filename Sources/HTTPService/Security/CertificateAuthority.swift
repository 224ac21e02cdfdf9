package import ClusterAPI
package import ClusterModel
internal import Crypto
internal import Foundation
internal import SwiftASN1
internal import X509

/// The cluster's own certificate authority: one P-256 key, made at the first start and kept under `DATA/pki`.
package struct CertificateAuthority: Sendable {
  /// How long the authority is valid, days.
  static let authorityDays = 3650.0
  /// How long a server's certificate is valid, days.
  static let serverDays = 397.0
  /// A server's certificate is made anew when it is valid for fewer days than this.
  static let serverRenewDays = 30.0
  /// How long a node's certificate is valid, hours.
  package static let nodeHours = 24.0
  /// How far a certificate's start lies back, so that a clock a little behind accepts it, seconds.
  static let clockSkewSeconds = 60.0

  private let certificate: Certificate
  private let key: Certificate.PrivateKey
  private let folder: String

  /// The authority's certificate, PEM.
  package let pem: String
  /// The SHA-256 of the authority's public key (SubjectPublicKeyInfo), base64url without padding, for join tokens.
  package let keyHash: String

  /// Loads the authority in a folder (`DATA/pki`), or makes it there.
  package init(folder: String, now: Timestamp) throws {
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    let keyPath = "\(folder)/ca.key"
    let certificatePath = "\(folder)/ca.crt"
    let present = try PrivateFile.read(certificatePath)
    let signing: P256.Signing.PrivateKey
    if let text = try PrivateFile.read(keyPath) {
      do {
        signing = try P256.Signing.PrivateKey(pemRepresentation: text)
      } catch {
        throw SecurityError(
          "\(keyPath) is damaged (\(error)); put a copy back, or remove \(folder) and join every node anew")
      }
    } else if present != nil {
      throw SecurityError("\(keyPath) is missing; put a copy back, or remove \(folder) and join every node anew")
    } else {
      signing = P256.Signing.PrivateKey()
      try PrivateFile.write(Array(signing.pemRepresentation.utf8), to: keyPath)
    }
    key = Certificate.PrivateKey(signing)
    if let present {
      do {
        certificate = try Certificate(pemEncoded: present)
      } catch {
        throw SecurityError("\(certificatePath) is damaged (\(error)); remove it, it is made again from the key")
      }
      guard certificate.publicKey == key.publicKey else {
        throw SecurityError("\(certificatePath) and \(keyPath) do not belong together; put copies of one pair back")
      }
      pem = present
    } else {
      certificate = try Self.authority(key, now)
      pem = try certificate.serializeAsPEM().pemString
      try PrivateFile.write(Array(pem.utf8), to: certificatePath)
    }
    self.folder = folder
    keyHash = Base64URL.text(SHA256.hash(data: Array(certificate.publicKey.subjectPublicKeyInfoBytes)))
  }

  private static func authority(_ key: Certificate.PrivateKey, _ now: Timestamp) throws -> Certificate {
    let name = try DistinguishedName {
      CommonName("apus cluster authority")
      OrganizationName("apus")
    }
    return try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey,
      notValidBefore: now.date.addingTimeInterval(-clockSkewSeconds),
      notValidAfter: now.date.addingTimeInterval(authorityDays * 86_400), issuer: name, subject: name,
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: key.publicKey)
      }, issuerPrivateKey: key)
  }

  // MARK: Issuing

  /// The certificate of the server itself, kept as `NAME.crt` and `NAME.key` beside the authority.
  ///
  /// It is made anew when it is missing or damaged, comes from another authority, ends within 30 days, or lacks one of
  /// the wanted names. `localhost`, `127.0.0.1` and `::1` are always among them.
  package func server(_ name: String = "server", names: [String], now: Timestamp) throws -> IssuedCertificate {
    let wanted = Array(Set(names + ["localhost", "127.0.0.1", "::1"])).sorted()
    let certificatePath = "\(folder)/\(name).crt"
    let keyPath = "\(folder)/\(name).key"
    if let present = try PrivateFile.read(certificatePath), let presentKey = try PrivateFile.read(keyPath),
      let kept = usable(present, presentKey, wanted, now)
    {
      return kept
    }
    let signing = P256.Signing.PrivateKey()
    let issued = try issue(
      for: Certificate.PrivateKey(signing).publicKey, commonName: "apus server", organization: "apus",
      alternativeNames: wanted.map(Self.generalName), usages: [.serverAuth], hours: Self.serverDays * 24, now: now)
    try PrivateFile.write(Array(signing.pemRepresentation.utf8), to: keyPath)
    try PrivateFile.write(Array(issued.certificate.utf8), to: certificatePath)
    return IssuedCertificate(
      certificate: issued.certificate, key: signing.pemRepresentation, validUntil: issued.validUntil)
  }

  private func usable(_ pem: String, _ keyPEM: String, _ names: [String], _ now: Timestamp) -> IssuedCertificate? {
    guard let found = try? Certificate(pemEncoded: pem),
      let signing = try? P256.Signing.PrivateKey(pemRepresentation: keyPEM),
      found.publicKey == Certificate.PrivateKey(signing).publicKey,
      certificate.publicKey.isValidSignature(found.signature, for: found),
      found.notValidAfter > now.date.addingTimeInterval(Self.serverRenewDays * 86_400),
      let present = try? found.extensions.subjectAlternativeNames,
      names.allSatisfy({ present.contains(Self.generalName($0)) })
    else { return nil }
    return IssuedCertificate(certificate: pem, key: keyPEM, validUntil: Timestamp(found.notValidAfter))
  }

  /// Signs the request of a member (PEM): whatever names it asks for, the certificate says `system:ROLE:NAME` and may
  /// open connections; a node's may also serve, as `NAME.node.apus` only. Throws a `SecurityError` for a request that is
  /// not valid.
  package func sign(
    request pem: String, for role: MemberRole, _ name: String, now: Timestamp
  ) throws(SecurityError) -> IssuedCertificate {
    do {
      let request = try CertificateSigningRequest(pemEncoded: pem)
      guard request.publicKey.isValidSignature(request.signature, for: request) else {
        throw SecurityError("the certificate request is not signed with its own key")
      }
      return try issue(
        for: request.publicKey, commonName: role.commonName(name), organization: "system:\(role.plural)",
        alternativeNames: role == .node ? [.dnsName(Self.serverName(ofNode: name))] : [],
        usages: role == .node ? [.clientAuth, .serverAuth] : [.clientAuth], hours: Self.nodeHours, now: now)
    } catch let error as SecurityError {
      throw error
    } catch {
      throw SecurityError("the certificate request cannot be read: \(error)")
    }
  }

  /// A client certificate with a new key for a principal.
  package func client(_ principal: Principal, hours: Double, now: Timestamp) throws -> IssuedCertificate {
    let signing = P256.Signing.PrivateKey()
    let issued = try issue(
      for: Certificate.PrivateKey(signing).publicKey, commonName: principal.name, organization: "apus",
      alternativeNames: [], usages: [.clientAuth], hours: hours, now: now)
    return IssuedCertificate(
      certificate: issued.certificate, key: signing.pemRepresentation, validUntil: issued.validUntil)
  }

  /// The name a node's certificate carries for connections to its own port.
  package static func serverName(ofNode node: String) -> String { "\(node).node.apus" }

  private func issue(
    for publicKey: Certificate.PublicKey, commonName: String, organization: String, alternativeNames: [GeneralName],
    usages: [ExtendedKeyUsage.Usage], hours: Double, now: Timestamp
  ) throws -> IssuedCertificate {
    let subject = try DistinguishedName {
      CommonName(commonName)
      OrganizationName(organization)
    }
    var extensions = try Certificate.Extensions {
      Critical(BasicConstraints.notCertificateAuthority)
      Critical(KeyUsage(digitalSignature: true))
      try ExtendedKeyUsage(usages)
      SubjectKeyIdentifier(hash: publicKey)
    }
    if !alternativeNames.isEmpty {
      try extensions.append(Certificate.Extension(SubjectAlternativeNames(alternativeNames), critical: false))
    }
    // Certificates count whole seconds.
    let end = now.wholeSeconds.date.addingTimeInterval(hours * 3600)
    let issued = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
      notValidBefore: now.date.addingTimeInterval(-Self.clockSkewSeconds), notValidAfter: end,
      issuer: certificate.subject, subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
      issuerPrivateKey: key)
    return IssuedCertificate(
      certificate: try issued.serializeAsPEM().pemString, key: nil, validUntil: Timestamp(end))
  }

  private static func generalName(_ name: String) -> GeneralName {
    var four = in_addr()
    if inet_pton(AF_INET, name, &four) == 1 {
      return .ipAddress(ASN1OctetString(contentBytes: withUnsafeBytes(of: &four) { ArraySlice($0) }))
    }
    var six = in6_addr()
    if inet_pton(AF_INET6, name, &six) == 1 {
      return .ipAddress(ASN1OctetString(contentBytes: withUnsafeBytes(of: &six) { ArraySlice($0) }))
    }
    return .dnsName(name)
  }
}

/// RFC 4648 base64url without padding.
package enum Base64URL {
  /// The text of some bytes.
  package static func text(_ bytes: some Sequence<UInt8>) -> String {
    Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
  }

  /// The bytes of a text; nil when it is no such text.
  package static func bytes(_ text: String) -> [UInt8]? {
    let plain = text.replacing("-", with: "+").replacing("_", with: "/")
    return Data(base64Encoded: plain + String(repeating: "=", count: (4 - plain.utf8.count % 4) % 4)).map { Array($0) }
  }
}

extension Timestamp {
  fileprivate init(_ date: Date) { self.init(milliseconds: Int64(date.timeIntervalSince1970 * 1000)) }
  fileprivate var date: Date { Date(timeIntervalSince1970: Double(milliseconds) / 1000) }
}
