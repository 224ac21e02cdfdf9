import ArgumentParser
import AsyncHTTPClient
import ClusterAPI
import ClusterModel
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOSSL

/// `apus invoke NAME`.
struct Invoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Call a function and print what it answers.",
    discussion: """
      Standard output has the answer's body and nothing else, the call id goes to standard error, and the exit status is
      1 when the answer's status is 400 or above.

      Example:
        apus invoke greet -d Ada
        apus invoke thumbnail -d @photo.png > small.png
        apus invoke api/users?limit=3 -X GET -H 'Accept: application/json'
        cat words.txt | apus invoke wordcount -d -
        apus invoke report --async -d today          # prints the call id; apus calls show ID --wait
      """)

  @Argument(help: ArgumentHelp("The function's name, with a path and query if wanted.", valueName: "name[/path]"))
  var target: String

  @Option(
    name: [.customShort("X"), .customLong("request")],
    help: ArgumentHelp("The method (default POST with -d, else GET).", valueName: "method"))
  var method: String?

  @Option(
    name: [.customShort("H"), .long], help: ArgumentHelp("A header; may be given again.", valueName: "name: value"))
  var header: [String] = []

  @Option(
    name: [.customShort("d"), .customLong("data-body")],
    help: ArgumentHelp("The body: text, @FILE, or - for standard input.", valueName: "body"))
  var body: String?

  @Flag(name: .shortAndLong, help: "Do not write the call id.")
  var quiet = false

  @Flag(name: .customLong("async"), help: "Have the call kept and run later; print its id.")
  var isAsync = false

  func validate() throws {
    if isAsync, let method, method.uppercased() != "POST" {
      throw ValidationError("--async: asynchronous calls are sent by POST, not \(method)")
    }
  }

  @OptionGroup var namespace: NamespaceOption
  @OptionGroup var server: ServerOptions

  /// Bytes of the platform's own error at most.
  static let errorBytesMax = 1 << 20
  /// The longest a call is waited for: the largest spec.timeout and the largest queue timeout.
  static let patience = TimeAmount.milliseconds(Limits.timeoutMaximum.milliseconds * 2)

  func run() async throws {
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    let (name, path) = CallArguments.split(target)
    guard let url = cluster.url(of: name, in: scope, isAsync: isAsync) else {
      throw Failure("the kubeconfig names no gateway", next: "Use the kubeconfig that `apus up` or `apus login` wrote.")
    }
    var request = try request(url + path)
    let showsToken = request.headers.contains(name: "authorization")
    // A body that is read as it is sent cannot be sent again.
    if streamsBody, !showsToken, (try? await cluster.function(name, in: scope))?.spec.auth == .token {
      _ = await Self.addToken(to: &request, name, scope, cluster)
    }
    let client = try Self.client(cluster)
    defer { if client !== HTTPClient.shared { client.shutdown { _ in } } }
    let started = ContinuousClock.now
    var answer = try await send(request, name, client, cluster)
    if !streamsBody, !showsToken, Self.asksForToken(answer), await Self.addToken(to: &request, name, scope, cluster) {
      answer = try await send(request, name, client, cluster)
    }
    let call = answer.headers.first(name: "x-call-id") ?? ""
    let status = Int(answer.status.code)
    let own = answer.headers.first(name: "x-apus-error")
    let bytes = own == nil ? [] : Array(buffer: try await answer.body.collect(upTo: Self.errorBytesMax))
    if own == nil {
      var last: UInt8 = 10
      for try await piece in answer.body {
        Terminal.emit(Array(buffer: piece))
        last = piece.readableBytesView.last ?? last
      }
      // Only for the eye: into a file or a pipe the body goes byte for byte.
      if last != 10, Terminal.outputIsTerminal { Terminal.emit("\n") }
    }
    if isAsync, status == 202 { return Terminal.print(Text.visible(call)) }
    if !quiet, !call.isEmpty, status < 400 { Terminal.note("call \(Text.visible(call))") }
    guard status >= 400 else { return }
    let after = ContinuousClock.now - started
    let failed = CallFailure(status: status, function: name, call: call, seconds: after / .seconds(1), body: bytes)
    if own == CallErrorCode.functionNotFound.rawValue { throw await cluster.missing(.function, name, in: scope) }
    throw failed.failure
  }

  private func send(
    _ request: HTTPClientRequest, _ name: String, _ client: HTTPClient, _ cluster: ClusterConnection
  ) async throws -> HTTPClientResponse {
    do {
      return try await Progress.during("calling \(name)", quiet: quiet) { _ in
        try await client.execute(request, deadline: .now() + Self.patience)
      }
    } catch {
      throw Failure(
        "the gateway \(cluster.gateway ?? "") does not answer: \(error)", next: "`apus status` shows what is running.")
    }
  }

  // MARK: tokens

  /// How long the token lives that one call is made with.
  static let tokenLife = TimeSpan.seconds(30)

  private var streamsBody: Bool { body == "-" || body?.hasPrefix("@") == true }

  /// Whether the gateway, not the function, wants to know who calls.
  private static func asksForToken(_ answer: HTTPClientResponse) -> Bool {
    let code = answer.headers.first(name: "x-apus-error").flatMap { CallErrorCode(rawValue: $0) }
    return code == .unauthorized || code == .forbidden
  }

  /// Has the server make a token for this function and this moment, and adds it in the field that ends at the gateway.
  /// The kubeconfig's own token never goes there: nothing proves who listens on a plain port.
  private static func addToken(
    to request: inout HTTPClientRequest, _ name: String, _ scope: String, _ cluster: ClusterConnection
  ) async -> Bool {
    guard
      let token = try? await cluster.tokens.createInvokeToken(namespace: scope, function: name, life: tokenLife)
    else { return false }
    request.headers.replaceOrAdd(name: PlatformAuthorization.name, value: "Bearer \(token)")
    return true
  }

  /// A client that also trusts the cluster's own authority, when the gateway serves HTTPS.
  private static func client(_ cluster: ClusterConnection) throws -> HTTPClient {
    guard cluster.gateway?.hasPrefix("https://") == true else { return HTTPClient.shared }
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMBytes(Array(cluster.authority.utf8)))]
    return HTTPClient(configuration: HTTPClient.Configuration(tlsConfiguration: tls))
  }

  private func request(_ url: String) throws(Failure) -> HTTPClientRequest {
    var request = HTTPClientRequest(url: url)
    request.method = HTTPMethod(rawValue: (method ?? (body == nil && !isAsync ? "GET" : "POST")).uppercased())
    for line in header {
      let (name, value) = try CallArguments.header(line)
      request.headers.add(name: name, value: value)
    }
    guard let body else { return request }
    let typed = request.headers.contains(name: "content-type")
    if body == "-" || body.hasPrefix("@") {
      let path = body == "-" ? "/dev/stdin" : String(body.dropFirst())
      if body != "-", !FileManager.default.fileExists(atPath: path) { throw Failure("no such file: \(path)") }
      let size = body == "-" ? nil : (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int64
      let length = size.map { HTTPClientRequest.Body.Length.known($0) } ?? .unknown
      request.body = .stream(FileChunks.stream(path).map { ByteBuffer(bytes: $0) }, length: length)
      if !typed {
        request.headers.add(
          name: "content-type", value: path.hasSuffix(".json") ? "application/json" : "application/octet-stream")
      }
    } else {
      request.body = .bytes(ByteBuffer(string: body))
      if !typed { request.headers.add(name: "content-type", value: CallArguments.contentType(of: body)) }
    }
    return request
  }
}
