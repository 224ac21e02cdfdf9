internal import AsyncHTTPClient
package import ClusterAPI
package import ClusterModel
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL

/// Runs calls through a gateway as any caller would, and posts results to callbacks.
package final class GatewayInvoker: CallInvoker {
  /// How long connecting to the gateway may take.
  static let connectPatience = TimeAmount.seconds(2)
  /// Bytes of a callback's answer that are read before its connection is closed.
  static let callbackAnswerBytes = 64 << 10

  private let gateway: @Sendable () async -> String?
  private let token: String?
  private let http: HTTPClient

  /// An invoker of the gateway at the URL that `gateway` answers, `http+unix:` for a socket; nil while there is none.
  ///
  /// `token` is the platform's own: whoever enqueued a call was let in then; on a socket it is not needed, and not sent. A
  /// gateway that is called over TLS must show a certificate for the name in its URL, of `authority` (PEM, the cluster's)
  /// or of one that this machine trusts; throws when `authority` is no certificate.
  package init(
    authority: String? = nil, token: String? = nil, gateway: @escaping @Sendable () async -> String?
  ) throws {
    self.gateway = gateway
    self.token = token
    var configuration = Self.configuration(connect: Self.connectPatience)
    configuration.tlsConfiguration = .clientDefault
    if let authority {
      configuration.tlsConfiguration?.additionalTrustRoots = [
        .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.utf8)))
      ]
    }
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Limits.asyncRunning
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  deinit {
    // The pool must be shut down even when its owner forgot; the task keeps it alive until that is done.
    let http = http
    Task { try? await http.shutdown() }
  }

  private static func configuration(connect: TimeAmount) -> HTTPClient.Configuration {
    var configuration = HTTPClient.Configuration(
      redirectConfiguration: .disallow, timeout: .init(connect: connect, read: nil), decompression: .disabled)
    configuration.httpVersion = .http1Only
    configuration.connectionPool.retryConnectionEstablishment = false
    return configuration
  }

  // MARK: calls

  /// Calls the function and waits for the whole answer, at most `patience` milliseconds.
  package func invoke(_ call: AsyncCall, patience: Int64) async -> CallOutcome {
    guard let gateway = await gateway() else { return .unreached("no gateway listens yet") }
    let head = call.head
    var request = HTTPClientRequest(url: "\(gateway)/function/\(head.function).\(head.namespace)\(head.path)")
    request.method = HTTPMethod(rawValue: head.method)
    for field in head.headers { request.headers.add(name: field.name, value: field.value) }
    request.headers.replaceOrAdd(name: "x-call-id", value: head.id)
    if let token, !gateway.hasPrefix("http+unix:") {
      request.headers.replaceOrAdd(name: PlatformAuthorization.name, value: "Bearer \(token)")
    }
    if !call.body.isEmpty { request.body = .bytes(ByteBuffer(bytes: call.body)) }
    let begun = ContinuousClock.now
    do {
      let answer = try await http.execute(request, deadline: .now() + .milliseconds(patience))
      let (body, truncated) = try await Self.collect(answer.body)
      let measured = (ContinuousClock.now - begun) / .seconds(1)
      return .answered(
        CallAnswer(
          status: Int(answer.status.code), headers: Self.kept(answer.headers), body: body, truncated: truncated,
          seconds: answer.headers.first(name: "x-duration-seconds").flatMap { Double($0) } ?? measured,
          platformCode: answer.headers.first(name: "x-apus-error")))
    } catch {
      let failure = TransportFailure(error, server: gateway)
      let why = failure.status.message
      return failure.progress == .unsent || Self.isStranger(error) ? .unreached(why) : .broken(why)
    }
  }

  /// Whether whoever listens could not show who it is: then nothing was sent.
  private static func isStranger(_ error: any Error) -> Bool {
    if case .handshakeFailed? = error as? NIOSSLError { return true }
    return error is NIOSSLExtraError
  }

  /// The body up to what is kept; what comes after is read and forgotten, so that the call ends as it would anyway.
  private static func collect(_ body: HTTPClientResponse.Body) async throws -> ([UInt8], Bool) {
    var kept: [UInt8] = []
    var truncated = false
    for try await part in body {
      let room = Limits.asyncResultBody - kept.count
      kept.append(contentsOf: part.readableBytesView.prefix(room))
      if part.readableBytes > room { truncated = true }
    }
    return (kept, truncated)
  }

  /// The function's own fields: without those of the connection, of framing, and of the platform.
  private static func kept(_ headers: HTTPHeaders) -> [CallHeader] {
    let left: Set<String> = [
      "connection", "keep-alive", "transfer-encoding", "content-length", "trailer", "upgrade", "x-call-id",
      "x-duration-seconds", "x-apus-error",
    ]
    return headers.filter { !left.contains($0.name.lowercased()) }.map { CallHeader($0.name, $0.value) }
  }

  // MARK: callbacks

  /// Posts a result once. The host is resolved once, its address is checked, and the connection goes to that address.
  package func deliver(_ callback: CallbackPost, rules: CallbackRules) async -> String? {
    let target: CallbackRules.Target
    switch CallbackRules.check(callback.url) {
    case .success(let found): target = found
    case .failure(let fault): return fault.message
    }
    let address: String
    switch await Self.resolve(target) {
    case .success(let found): address = found
    case .failure(let failure): return failure.message
    }
    guard let bytes = AddressRange.address(address) else { return "\(target.host) has the address \(address)" }
    if let refusal = rules.refusal(of: bytes) { return "\(target.host) (\(address)): \(refusal)" }
    var configuration = Self.configuration(connect: .milliseconds(Limits.callbackPatience))
    configuration.dnsOverride = [target.host: address]
    let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    let failure = await Self.post(callback, with: http)
    try? await http.shutdown()
    return failure
  }

  private static func post(_ callback: CallbackPost, with http: HTTPClient) async -> String? {
    var request = HTTPClientRequest(url: callback.url)
    request.method = .POST
    request.headers.add(name: "user-agent", value: "apus")
    for field in callback.headers { request.headers.add(name: field.name, value: field.value) }
    request.body = .bytes(ByteBuffer(bytes: callback.body))
    do {
      let answer = try await http.execute(request, deadline: .now() + .milliseconds(Limits.callbackPatience))
      _ = try? await answer.body.collect(upTo: callbackAnswerBytes)
      return (200..<300).contains(answer.status.code) ? nil : "the callback answered \(answer.status.code)"
    } catch {
      return TransportFailure(error, server: callback.url).status.message
    }
  }

  private struct Unresolved: Error {
    let message: String
  }

  /// The first address of a host, as text.
  private static func resolve(_ target: CallbackRules.Target) async -> Result<String, Unresolved> {
    if AddressRange.address(target.host) != nil { return .success(target.host) }
    do {
      let address = try await NIOThreadPool.singleton.runIfActive {
        try SocketAddress.makeAddressResolvingHost(target.host, port: target.port)
      }
      guard let text = address.ipAddress else { return .failure(Unresolved(message: "\(target.host) has no address")) }
      return .success(text)
    } catch {
      return .failure(Unresolved(message: "\(target.host) cannot be resolved: \(error)"))
    }
  }
}
