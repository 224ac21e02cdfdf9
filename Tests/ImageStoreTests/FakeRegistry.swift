import Crypto
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A registry on this machine that answers as the test says: also wrongly, slowly, or only after a login.
final class FakeRegistry: Sendable {
  struct State {
    var documents: [String: [UInt8]] = [:]
    /// Paths answered with other bytes than asked for.
    var swapped: [String: [UInt8]] = [:]
    /// Statuses that the next answers have, whatever was asked for.
    var failures: [HTTPResponseStatus] = []
    /// Paths that are answered when `release` says so, and what waits to answer them.
    var held: Set<String> = []
    var waiting: [@Sendable () -> Void] = []
    /// Paths that lead elsewhere.
    var redirects: [String: String] = [:]
    var seen: [String] = []
    var authorizations: [String?] = []
    /// `basic` or `bearer`, when a login is asked for.
    var login: String?
    /// Where tokens are said to be given; nil for this registry's own place.
    var realm: String?
  }

  let state = Mutex(State())
  private let group: MultiThreadedEventLoopGroup
  private let channel: Mutex<(any Channel)?> = Mutex(nil)
  private let port = Mutex(0)

  static let user = "ada"
  static let password = "pass word"

  private init() { group = MultiThreadedEventLoopGroup(numberOfThreads: 1) }

  static func start() async throws -> FakeRegistry {
    let registry = FakeRegistry()
    let channel = try await ServerBootstrap(group: registry.group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(Answerer(registry: registry))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    registry.channel.withLock { $0 = channel }
    registry.port.withLock { $0 = channel.localAddress?.port ?? 0 }
    return registry
  }

  var host: String { "127.0.0.1:\(port.withLock { $0 })" }

  func stop() async {
    // Once: a channel of a loop that has ended never answers.
    let channel = channel.withLock { channel in
      defer { channel = nil }
      return channel
    }
    guard let channel else { return }
    try? await channel.close()
    try? await group.shutdownGracefully()
  }

  /// How often a path was asked for.
  func hits(_ part: String) -> Int { state.withLock { $0.seen.count { $0.contains(part) } } }

  /// Answers what waits, and holds nothing back any more.
  func release() {
    let waiting = state.withLock { state in
      defer { (state.held, state.waiting) = ([], []) }
      return state.waiting
    }
    for answer in waiting { answer() }
  }

  static func digest(_ bytes: [UInt8]) -> String {
    "sha256:" + SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
  }

  /// Puts a blob in; answers its descriptor as JSON.
  @discardableResult
  func blob(_ bytes: [UInt8], type: String, repository: String = "team/app") -> String {
    let digest = Self.digest(bytes)
    state.withLock { $0.documents["/v2/\(repository)/blobs/\(digest)"] = bytes }
    return #"{"mediaType":"\#(type)","digest":"\#(digest)","size":\#(bytes.count)}"#
  }

  /// Puts a document in under its digest and a tag; answers the digest.
  @discardableResult
  func manifest(_ text: String, tag: String, repository: String = "team/app") -> String {
    let bytes = Array(text.utf8)
    let digest = Self.digest(bytes)
    state.withLock {
      $0.documents["/v2/\(repository)/manifests/\(digest)"] = bytes
      $0.documents["/v2/\(repository)/manifests/\(tag)"] = bytes
    }
    return digest
  }

  /// Puts a whole image in; answers the digest of its manifest.
  @discardableResult
  func image(
    layers: [[UInt8]], config: String = #"{"Entrypoint":["/bin/app"]}"#, architecture: String = "amd64",
    tag: String = "1", repository: String = "team/app"
  ) -> String {
    func blob(_ bytes: [UInt8], type: String) -> String { self.blob(bytes, type: type, repository: repository) }
    let parts = layers.map { blob($0, type: "application/vnd.oci.image.layer.v1.tar") }
    let diffs = layers.map { "\"\(Self.digest($0))\"" }.joined(separator: ",")
    let described = blob(
      Array(
        #"{"architecture":"\#(architecture)","os":"linux","config":\#(config),"rootfs":{"type":"layers","diff_ids":[\#(diffs)]}}"#
          .utf8), type: "application/vnd.oci.image.config.v1+json")
    return manifest(
      #"{"schemaVersion":2,"config":\#(described),"layers":[\#(parts.joined(separator: ","))]}"#, tag: tag,
      repository: repository)
  }

  private func answer(_ head: HTTPRequestHead) -> (HTTPResponseStatus, HTTPHeaders, [UInt8]) {
    let authorization = head.headers.first(name: "authorization")
    let host = host
    return state.withLock { state in
      state.seen.append(head.uri)
      state.authorizations.append(authorization)
      if !state.failures.isEmpty { return (state.failures.removeFirst(), [:], []) }
      let basic = "Basic " + Data("\(Self.user):\(Self.password)".utf8).base64EncodedString()
      if head.uri.hasPrefix("/token") {
        let good = head.uri.contains("scope=repository%3Ateam%2Fapp%3Apull") && head.uri.contains("service=test")
        return good && authorization == basic
          ? (.ok, [:], Array(#"{"token":"granted"}"#.utf8)) : (.unauthorized, [:], [])
      }
      switch state.login {
      case "basic" where authorization != basic:
        return (.unauthorized, ["www-authenticate": "Basic realm=\"x\""], [])
      case "bearer" where authorization != "Bearer granted":
        let challenge =
          "Bearer realm=\"\(state.realm ?? "http://\(host)/token")\",service=\"test\",scope=\"repository:team/app:pull\""
        return (.unauthorized, ["www-authenticate": challenge], [])
      default: break
      }
      if let place = state.redirects[head.uri] { return (.temporaryRedirect, ["location": place], []) }
      if let bytes = state.swapped[head.uri] ?? state.documents[head.uri] { return (.ok, [:], bytes) }
      return (.notFound, [:], Array(#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#.utf8))
    }
  }

  private final class Answerer: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let registry: FakeRegistry
    private var head: HTTPRequestHead?

    init(registry: FakeRegistry) { self.registry = registry }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): self.head = head
      case .body: break
      case .end:
        guard let head else { return }
        let (loop, box) = (context.eventLoop, NIOLoopBound((self, context), eventLoop: context.eventLoop))
        let isHeld = registry.state.withLock { state in
          guard state.held.contains(head.uri) else { return false }
          state.seen.append(head.uri)
          state.waiting.append { loop.execute { box.value.0.answer(head, box.value.1) } }
          return true
        }
        if !isHeld { answer(head, context) }
      }
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
      var (status, headers, bytes) = registry.answer(head)
      headers.add(name: "content-length", value: "\(bytes.count)")
      context.write(
        wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      bytes = []
    }
  }
}
