import ClusterAPI
import ClusterClient
import ClusterModel
import FoundationEssentials
import Glibc
import Logging
import ServiceLifecycle

/// How a process on this machine becomes and stays a member of a cluster.
struct Membership {
  let role: MemberRole
  let name: String
  /// The server's API.
  let server: String
  /// A join token; not needed while the certificate is good.
  let token: String?
  /// Where the certificate is kept.
  let home: String
  let logger: Logger

  private var path: String { home + "/credentials.json" }

  /// The member's certificate: the one it has while it is good, else a new one for its token.
  func joined() async throws -> MemberCredentials {
    if let kept = try? MemberCredentials.read(from: path), kept.validUntil > .now(), kept.name == name,
      kept.role == role
    {
      return kept
    }
    guard let token else {
      let flag = role == .gateway ? " --for gateway" : ""
      throw Failure(
        "this \(role == .node ? "worker" : "gateway") has not joined yet and got no token",
        next: "Make one on the server with `apus token create\(flag)` and start with --token-file FILE.")
    }
    let credentials = try await JoinClient(logger: logger).join(server: server, token: token, as: role, name: name)
    try credentials.write(to: path)
    logger.notice("joined", metadata: ["server": "\(server)", "member": "\(role.commonName(name))"])
    return credentials
  }

  /// Renews the certificate for as long as the process runs; `renewed` gets each new one after it was kept.
  func renewal(
    of credentials: MemberCredentials, through client: APIClient,
    renewed: @escaping @Sendable (MemberCredentials) throws -> Void
  ) -> any Service {
    let renewal = CertificateRenewal(client: client, credentials: credentials, logger: logger) { [path, logger] new in
      do {
        try new.write(to: path)
        try renewed(new)
      } catch {
        logger.error("renewed certificate not kept", metadata: ["error": "\(error)"])
      }
    }
    return RunningService("renewal") {
      try await cancelWhenGracefulShutdown {
        do { try await renewal.run() } catch is CancellationError {}
      }
    }
  }

  /// This machine's address on its way to the server; nil when that is this machine itself, or cannot be told.
  func addressTowardsServer() -> String? {
    guard let components = URLComponents(string: server), let host = components.host else { return nil }
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    let plain = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
    guard getaddrinfo(plain, "\(components.port ?? 6440)", &hints, &found) == 0, let info = found else { return nil }
    defer { freeaddrinfo(found) }
    // A datagram socket that is connected sends nothing, but knows its own address.
    let descriptor = socket(info.pointee.ai_family, info.pointee.ai_socktype, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    guard connect(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 else { return nil }
    var address = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    let named = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
        getsockname(descriptor, raw, &length) == 0
          && getnameinfo(raw, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
      }
    }
    guard named else { return nil }
    let own = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return ListenOptions.isLoopback(own) ? nil : own
  }
}
