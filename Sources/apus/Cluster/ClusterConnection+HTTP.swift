import AsyncHTTPClient
import ClusterAPI
import ClusterClient
import ClusterModel
import ControlPlane
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL

extension ServerOptions {
  /// A connection to the cluster of the kubeconfig; throws a `Failure` when there is none.
  func connect() throws(Failure) -> ClusterConnection { try .open(kubeconfig: kubeconfigPath) }
}

extension ClusterConnection {
  /// The cluster of a kubeconfig file; throws a `Failure` that says how to get one.
  static func open(kubeconfig path: String) throws(Failure) -> ClusterConnection {
    let found: Kubeconfig?
    do { found = try Kubeconfig.read(from: path) } catch { throw Failure("\(error)") }
    guard let found else {
      throw Failure(
        "no cluster: there is no kubeconfig at \(path)",
        next:
          "`apus up` starts one here; `apus login URL --token-file FILE` uses another machine's; --kubeconfig names a file."
      )
    }
    return try ClusterConnection(found)
  }

  /// The services of the cluster that a kubeconfig names.
  init(_ kubeconfig: Kubeconfig) throws(Failure) {
    let endpoint = APIEndpoint(url: kubeconfig.server, authority: kubeconfig.authority)
    var logger = Logger(label: "apus.cli")
    logger.logLevel = .error
    let client: APIClient
    do {
      client = try APIClient(endpoint: endpoint, credential: .token(kubeconfig.token), logger: logger)
    } catch {
      throw Failure("\(error)", next: "`apus login` writes a new kubeconfig.")
    }
    let service = HTTPResourceService(client: client)
    var gateway = kubeconfig.gateway
    while gateway?.hasSuffix("/") == true { gateway?.removeLast() }
    self.init(
      resources: service, artifacts: HTTPArtifacts(client: client), logs: HTTPLogQueries(client: client),
      tables: service, tokens: HTTPTokens(kubeconfig: kubeconfig), api: endpoint.url, gateway: gateway,
      authority: kubeconfig.authority, calls: HTTPCallCatalog(client: client),
      namespace: kubeconfig.namespace)
  }
}

extension HTTPResourceService: ServerTables {}

/// The server's tokens.
struct HTTPTokens: ClusterTokens {
  /// The cluster.
  let kubeconfig: Kubeconfig

  /// A new token that is good for a while.
  func createJoinToken(_ role: MemberRole, life: TimeSpan) async throws(APIStatus) -> String {
    try await create(["ttl": .string(life.description), "role": .string(role.rawValue)])
  }

  /// A new token for calls.
  func createInvokeToken(
    namespace: String, function: String?, life: TimeSpan?
  ) async throws(APIStatus) -> String {
    var body: [String: JSONValue] = ["role": .string("invoke"), "namespace": .string(namespace)]
    if let function { body["function"] = .string(function) }
    if let life { body["ttl"] = .string(life.description) }
    return try await create(body)
  }

  /// All tokens, oldest first.
  func tokens() async throws(APIStatus) -> [TokenSummary] {
    let bytes = try await request.send(.GET, Self.path)
    do {
      return try JSONValue(bytes: bytes)["items"]?.decoded() ?? []
    } catch {
      throw .internalError("the list of tokens cannot be read: \(error)")
    }
  }

  /// Ends a token.
  func revokeToken(_ id: String) async throws(APIStatus) { _ = try await request.send(.DELETE, "\(Self.path)/\(id)") }

  private static let path = "/apis/apus.dev/v1/tokens"

  private var request: DirectRequest {
    DirectRequest(server: kubeconfig.server, trust: .authority(kubeconfig.authority), token: kubeconfig.token)
  }

  private func create(_ body: [String: JSONValue]) async throws(APIStatus) -> String {
    let bytes = try await request.send(.POST, Self.path, body: .object(body))
    guard let token = (try? JSONValue(bytes: bytes))?["token"]?.stringValue else {
      throw .internalError("the server made a token without saying it")
    }
    return token
  }
}

/// One request to a server outside the resource API.
struct DirectRequest {
  /// Bytes of an answer at most.
  static let answerBytesMax = 1 << 20
  /// How long an answer may take.
  static let patience = TimeAmount.seconds(15)

  /// Which server is believed.
  enum Trust {
    /// One with a certificate of this authority (PEM).
    case authority(String)
    /// Any: only for fetching the authority itself, whose fingerprint is then compared.
    case anyone
  }

  /// `https://HOST:PORT`.
  let server: String
  /// Which server is believed.
  let trust: Trust
  /// The bearer token, if any.
  let token: String?

  /// The answer's bytes; throws the server's own `APIStatus`, or 503 when it cannot be reached.
  func send(_ method: HTTPMethod, _ path: String, body: JSONValue? = nil) async throws(APIStatus) -> [UInt8] {
    var tls = TLSConfiguration.makeClientConfiguration()
    switch trust {
    case .anyone: tls.certificateVerification = .none
    case .authority(let pem):
      guard let roots = try? NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)) else {
        throw .badRequest("the certificate authority of \(server) cannot be read")
      }
      tls.trustRoots = .certificates(roots)
    }
    var request = HTTPClientRequest(url: server + path)
    request.method = method
    request.tlsConfiguration = tls
    if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
    if let body {
      request.headers.add(name: "content-type", value: "application/json")
      request.body = .bytes(ByteBuffer(bytes: body.encoded()))
    }
    let (status, bytes): (Int, [UInt8])
    do {
      let answer = try await HTTPClient.shared.execute(request, deadline: .now() + Self.patience)
      bytes = Array(buffer: try await answer.body.collect(upTo: Self.answerBytesMax))
      status = Int(answer.status.code)
    } catch {
      throw .unavailable("\(server) cannot be reached: \(error)")
    }
    if (200..<300).contains(status) { return bytes }
    if let told = try? JSONValue(bytes: bytes).decoded(as: APIStatus.self) { throw told }
    throw APIStatus(code: status, reason: "Unknown", message: "\(server)\(path) answered \(status)")
  }
}
