package import ClusterAPI
internal import ClusterModel
package import Logging
internal import NIOCore
internal import NIOHTTP1

/// Brings a machine into a cluster: checks that the server is the one the token came from, then gets a certificate.
package struct JoinClient: Sendable {
  private let logger: Logger

  /// A client that logs what it retries.
  package init(logger: Logger = Logger(label: "apus.join")) { self.logger = logger }

  /// Joins the cluster at `server` (`https://HOST:PORT`) as a member of a name.
  ///
  /// The token is sent only after the server proved to hold the authority the token names. Throws 400 for a text that
  /// is no token, 401 for one that is unknown or expired, `Untrusted` (502) for a server of another cluster.
  package func join(
    server: String, token text: String, as role: MemberRole, name: String
  ) async throws(APIStatus) -> MemberCredentials {
    guard let token = JoinToken(text) else {
      throw .badRequest("the join token is not of the form apus1.HASH.ID.SECRET; make one with: apus token create")
    }
    let authority = try await fetchAuthority(server)
    guard (try? AuthorityHash.of(pem: authority)) == token.authorityHash else {
      throw APIStatus(
        code: 502, reason: "Untrusted",
        message:
          "\(server) belongs to another cluster than the join token; check the address, or make a new token there")
    }
    let endpoint = APIEndpoint(url: server, authority: authority)
    let client = try Self.client(endpoint, .token(token.text), verified: true, logger)
    do throws(APIStatus) {
      let credentials = try await Self.certificate(for: role, name, through: client, authority: authority)
      await client.shutdown()
      return credentials
    } catch {
      await client.shutdown()
      throw error
    }
  }

  /// The server's authority, PEM, from a connection that nothing vouches for: the caller compares its key's hash.
  private func fetchAuthority(_ server: String) async throws(APIStatus) -> String {
    let client = try Self.client(APIEndpoint(url: server, authority: nil), .none, verified: false, logger)
    do throws(APIStatus) {
      let bytes = try await client.bytes(.get("/internal/v1/ca"))
      await client.shutdown()
      return String(buffer: bytes)
    } catch {
      await client.shutdown()
      throw error
    }
  }

  /// Asks for a certificate of a new key, with the credential that `client` has.
  static func certificate(
    for role: MemberRole, _ name: String, through client: APIClient, authority: String
  ) async throws(APIStatus) -> MemberCredentials {
    let request: CertificateRequest
    do {
      request = try CertificateRequest(role, name)
    } catch {
      throw .internalError("a certificate request for \(role.rawValue) \(name) cannot be made: \(error)")
    }
    // Signing again does no harm, so the request is sent again when the connection broke.
    let answer = try await client.json(
      .json(
        .POST, "/internal/v1/\(role.plural)/\(APIRequest.escape(name))/certificate",
        .object(["csr": .string(request.request)]), idempotent: true))
    guard let certificate = answer["certificate"]?.stringValue else {
      throw .internalError("the server answered a certificate request without a certificate")
    }
    do {
      return try MemberCredentials(
        role: role, name: name, authority: authority, certificate: certificate, key: request.key)
    } catch {
      throw .internalError("the certificate the server made cannot be read: \(error)")
    }
  }

  private static func client(
    _ endpoint: APIEndpoint, _ credential: APICredential, verified: Bool, _ logger: Logger
  ) throws(APIStatus) -> APIClient {
    do {
      return try APIClient(
        endpoint: endpoint, credential: credential, verified: verified, retry: RetryPolicy(), logger: logger)
    } catch {
      throw .badRequest(error.description)
    }
  }
}
