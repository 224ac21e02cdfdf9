import AsyncHTTPClient
package import ClusterModel
import Crypto
import FoundationEssentials
import FunctionPackage
import Glibc
package import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Reads images from registries (OCI distribution, Docker Registry 2): by HTTPS, by plain HTTP only from this machine's
/// own and from those that were named insecure. Call `shutdown()` when done.
package final class RegistryClient: Sendable {
  /// Redirects followed for one blob.
  static let redirectsMax = 5
  /// Authorizations that are remembered.
  static let knownMax = 256
  /// Connections to one host: for the transfers of `ImageLimits.fetchesOfRegistry`, and for documents.
  static let connectionsMax = 64
  /// Bytes of an error's body that are read.
  static let errorBytesMax = 64 << 10

  private let http: HTTPClient
  private let insecure: Set<String>
  private let limits: ImageLimits
  private let logger: Logger
  /// Authorizations by registry and repository, until the registry refuses them; one more than `knownMax` drops all.
  private let known = Mutex<[Known: String]>([:])

  private struct Known: Hashable {
    var repository: String
    var credential: RegistryCredential?
  }

  /// A client; `insecure` names registries (`HOST[:PORT]`) that are asked by plain HTTP.
  package init(insecure: Set<String> = [], limits: ImageLimits = ImageLimits(), logger: Logger) {
    self.insecure = insecure
    self.limits = limits
    self.logger = logger
    var configuration = HTTPClient.Configuration(
      redirectConfiguration: .disallow,
      timeout: .init(connect: .seconds(5), read: .milliseconds(limits.answerTime)), decompression: .disabled)
    configuration.httpVersion = .http1Only
    configuration.connectionPool.retryConnectionEstablishment = false
    // Who waits for a connection of a full pool fails like one who cannot connect.
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Self.connectionsMax
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  deinit {
    // The pool must be shut down even when its owner forgot; the task keeps it alive until that is done.
    let http = http
    Task { try? await http.shutdown() }
  }

  /// Ends every transfer and closes the connections.
  package func shutdown() async { try? await http.shutdown() }

  // MARK: documents

  /// What a reference means now: its digest, and how the image for a platform is run. Reads documents, no layer.
  ///
  /// Without a platform the machine's own is taken, or the first for Linux when it has none for this one.
  package func inspect(
    _ image: ImageReference, credential: RegistryCredential? = nil, platform: ImagePlatform? = nil
  ) async throws -> (digest: String, config: ImageConfig) {
    let (digest, manifest) = try await manifest(image, credential, platform)
    return (digest, try await config(image, manifest, credential))
  }

  /// The manifest for a platform, and the digest of what the reference itself means (which may be an index).
  func manifest(
    _ image: ImageReference, _ credential: RegistryCredential?, _ platform: ImagePlatform?
  ) async throws -> (digest: String, ImageManifest) {
    let (digest, document) = try await document(image, image.digest ?? image.tag ?? "latest", credential)
    switch document {
    case .manifest(let manifest): return (digest, manifest)
    case .index(let entries):
      let offered = entries.filter { $0.platform?.os != "unknown" }
      func entry(_ wanted: ImagePlatform) -> ImageDescriptor? {
        offered.first { $0.platform?.os == wanted.system && $0.platform?.architecture == wanted.architecture }
      }
      let wanted = platform ?? .current
      let any = platform == nil ? offered.first { $0.platform?.os == "linux" } : nil
      guard let chosen = entry(wanted) ?? any else {
        throw ImageError.noPlatform(
          image: "\(image)", wanted: "\(wanted)",
          offered: offered.prefix(16).map { "\($0.platform?.os ?? "?")/\($0.platform?.architecture ?? "?")" })
      }
      guard case (_, .manifest(let manifest)) = try await self.document(image, chosen.digest, credential) else {
        throw ImageError.unsupported("\(image): an index within an index is not followed")
      }
      return (digest, manifest)
    }
  }

  func config(
    _ image: ImageReference, _ manifest: ImageManifest, _ credential: RegistryCredential?
  ) async throws -> ImageConfig {
    let what = "the configuration of \(image)"
    guard manifest.config.size <= Int64(limits.documentBytes) else {
      throw ImageError.tooLarge(what: what, limit: Int64(limits.documentBytes))
    }
    let bytes = try await self.bytes("/v2/\(image.repository)/blobs/\(manifest.config.digest)", image, credential, what)
    try Self.check(bytes, manifest.config.digest, what)
    return try ImageConfig(bytes, layers: manifest.layers.count, what: what)
  }

  private func document(
    _ image: ImageReference, _ name: String, _ credential: RegistryCredential?
  ) async throws -> (digest: String, ImageDocument) {
    let what = "the manifest of \(image)"
    let bytes = try await bytes("/v2/\(image.repository)/manifests/\(name)", image, credential, what)
    let digest = Self.digest(of: bytes)
    if name.hasPrefix("sha256:") { try Self.check(bytes, name, what) }
    return (digest, try ImageDocument(bytes, what: what, limits: limits))
  }

  private static func digest(of bytes: [UInt8]) -> String {
    "sha256:" + SHA256.hash(data: bytes).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }

  private static func check(_ bytes: [UInt8], _ expected: String, _ what: String) throws(ImageError) {
    let found = digest(of: bytes)
    guard found == expected else { throw .digestMismatch(what: what, expected: expected, found: found) }
  }

  private func bytes(
    _ path: String, _ image: ImageReference, _ credential: RegistryCredential?, _ what: String
  ) async throws -> [UInt8] {
    let response = try await open(path, image, credential)
    do {
      let buffer = try await response.body.collect(upTo: limits.documentBytes)
      return Array(buffer.readableBytesView)
    } catch is NIOTooManyBytesError {
      throw ImageError.tooLarge(what: what, limit: Int64(limits.documentBytes))
    } catch {
      throw Self.failure(error, image)
    }
  }

  // MARK: blobs

  /// Writes a blob into a new file; its size and digest are what the manifest says, or it throws.
  func fetch(
    _ blob: ImageDescriptor, of image: ImageReference, _ credential: RegistryCredential?, to file: String
  ) async throws {
    let what = "layer \(blob.digest) of \(image)"
    guard blob.size <= limits.layer.packed else {
      throw ImageError.tooLarge(what: what, limit: limits.layer.packed)
    }
    let response = try await open("/v2/\(image.repository)/blobs/\(blob.digest)", image, credential)
    let descriptor = Glibc.open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw SystemText.error(file, "making") }
    defer { close(descriptor) }
    var digest = SHA256()
    var size: Int64 = 0
    var pieces = response.body.makeAsyncIterator()
    while true {
      let piece: ByteBuffer?
      do { piece = try await pieces.next() } catch { throw Self.failure(error, image) }
      guard let piece else { break }
      size += Int64(piece.readableBytes)
      guard size <= blob.size else { throw ImageError.tooLarge(what: what, limit: blob.size) }
      try piece.withUnsafeReadableBytes { bytes in
        digest.update(bufferPointer: bytes)
        var done = 0
        while done < bytes.count {
          let count = Glibc.write(descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done)
          if count < 0, errno == EINTR { continue }
          guard count > 0 else { throw SystemText.error(file, "writing") }
          done += count
        }
      }
    }
    let found = "sha256:" + digest.finalize().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    guard found == blob.digest, size == blob.size else {
      throw ImageError.digestMismatch(what: what, expected: blob.digest, found: found)
    }
  }

  // MARK: asking

  private func isPlain(_ host: String) -> Bool {
    insecure.contains(host) || (try? ImageReference("\(host)/x"))?.isLoopback == true
  }

  private func base(of image: ImageReference) -> String {
    let host = image.registry == ImageReference.hub ? "registry-1.docker.io" : image.registry
    return (isPlain(host) ? "http://" : "https://") + host
  }

  /// The answer to a GET, its body unread, after whatever authorization and redirects it takes.
  private func open(
    _ path: String, _ image: ImageReference, _ credential: RegistryCredential?
  ) async throws -> HTTPClientResponse {
    // Of who sends the same name with another password the registry is asked again.
    let key = Known(repository: "\(image.registry)/\(image.repository)", credential: credential)
    var authorization = known.withLock { $0[key] }
    for attempt in 0..<2 {
      let response = try await follow(base(of: image) + path, image, authorization)
      guard response.status == .unauthorized else { return try await Self.successful(response, image) }
      let challenges = response.headers["www-authenticate"].compactMap(RegistryChallenge.init)
      await Self.drain(response)
      known.withLock { $0[key] = nil }
      guard attempt == 0, let challenge = challenges.first else { break }
      authorization = try await self.authorization(challenge, image, credential)
      let granted = authorization
      known.withLock { known in
        if known.count >= Self.knownMax { known = [:] }
        known[key] = granted
      }
    }
    throw ImageError.unauthorized(image: "\(image)", registry: image.registry)
  }

  /// A GET with its redirects; the authorization goes to the first host only.
  private func follow(
    _ start: String, _ image: ImageReference, _ authorization: String?
  ) async throws -> HTTPClientResponse {
    guard var url = URL(string: start) else {
      throw ImageError.unreachable(registry: image.registry, why: "\(start) is no address")
    }
    let first = (url.host, url.port)
    for _ in 0...Self.redirectsMax {
      var request = HTTPClientRequest(url: url.absoluteString)
      request.headers.add(name: "user-agent", value: "apus")
      for type in ImageDocument.accepted { request.headers.add(name: "accept", value: type) }
      if let authorization, (url.host, url.port) == first {
        request.headers.add(name: "authorization", value: authorization)
      }
      let response = try await send(request, image)
      guard [301, 302, 303, 307, 308].contains(response.status.code) else { return response }
      await Self.drain(response)
      guard let location = response.headers.first(name: "location"),
        let next = URL(string: location, relativeTo: url)?.absoluteURL, allowed(next, from: url)
      else { throw ImageError.unreachable(registry: image.registry, why: "it redirects to where we do not follow") }
      url = next
    }
    throw ImageError.unreachable(registry: image.registry, why: "it redirects more than \(Self.redirectsMax) times")
  }

  /// HTTPS leads to HTTPS only; plain HTTP to the same host and port, or to a registry that was named insecure. Not to all of
  /// this machine: a registry must not make the worker ask its other services.
  private func allowed(_ next: URL, from url: URL) -> Bool {
    if next.scheme == "https" { return next.host != nil }
    guard next.scheme == "http", url.scheme == "http", let host = next.host else { return false }
    return (host, next.port ?? 80) == (url.host ?? "", url.port ?? 80)
      || insecure.contains(next.port.map { "\(host):\($0)" } ?? host)
  }

  private func authorization(
    _ challenge: RegistryChallenge, _ image: ImageReference, _ credential: RegistryCredential?
  ) async throws -> String {
    let refused = ImageError.unauthorized(image: "\(image)", registry: image.registry)
    guard let address = challenge.tokenURL(defaultScope: "repository:\(image.repository):pull") else {
      guard let credential else { throw refused }
      return credential.basic
    }
    guard let start = URL(string: base(of: image)), let url = URL(string: address), allowed(url, from: start) else {
      throw ImageError.unreachable(
        registry: image.registry, why: "its tokens are at \(address.prefix(200)), which is not asked")
    }
    var request = HTTPClientRequest(url: address)
    request.headers.add(name: "user-agent", value: "apus")
    if let credential { request.headers.add(name: "authorization", value: credential.basic) }
    let response = try await send(request, image)
    guard response.status == .ok, let body = try? await response.body.collect(upTo: Self.errorBytesMax) else {
      throw refused
    }
    struct Answer: Decodable {
      var token: String?
      var access_token: String?
    }
    let answer: Answer = try ImageDocument.decode(Array(body.readableBytesView), "the token of \(image.registry)")
    guard let token = answer.token ?? answer.access_token, !token.contains(where: \.isNewline) else { throw refused }
    return "Bearer \(token)"
  }

  private func send(_ request: HTTPClientRequest, _ image: ImageReference) async throws -> HTTPClientResponse {
    do {
      return try await http.execute(request, timeout: .milliseconds(limits.answerTime))
    } catch {
      throw Self.failure(error, image)
    }
  }

  private static func successful(
    _ response: HTTPClientResponse, _ image: ImageReference
  ) async throws -> HTTPClientResponse {
    let code = Int(response.status.code)
    if (200..<300).contains(code) { return response }
    let body = try? await response.body.collect(upTo: errorBytesMax)
    switch code {
    case 404: throw ImageError.notFound("\(image)")
    case 403: throw ImageError.unauthorized(image: "\(image)", registry: image.registry)
    default:
      let text = body.map { String(decoding: $0.readableBytesView.prefix(200), as: UTF8.self) } ?? ""
      throw ImageError.answered(
        registry: image.registry, status: code,
        message: text.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7f }.map(String.init).joined())
    }
  }

  /// Reads what nobody wants, so that the connection can be used again.
  private static func drain(_ response: HTTPClientResponse) async {
    _ = try? await response.body.collect(upTo: errorBytesMax)
  }

  private static func failure(_ error: any Error, _ image: ImageReference) -> any Error {
    let why: String
    switch error {
    case is CancellationError, is ImageError: return error
    case let error as HTTPClientError where error == .cancelled: return CancellationError()
    case let error as HTTPClientError: why = error.shortDescription.lowercased()
    case let error as NIOConnectionError:
      why = error.connectionErrors.first.map { words($0.error) } ?? "no address to connect to"
    default: why = words(error)
    }
    return ImageError.unreachable(registry: image.registry, why: why)
  }

  private static func words(_ error: any Error) -> String {
    (error as? IOError).map { SystemText.of($0.errnoCode).lowercased() } ?? "\(error)"
  }
}
