internal import ClusterAPI
internal import Glibc
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// Refuses requests for a host that is not this machine, where nothing else asks who sends them: a web page whose name
/// was made to lead to this machine could have a browser read them (DNS rebinding).
struct HostMiddleware: RouterMiddleware {
  typealias Context = AdminContext

  /// Names by which this machine may be asked, besides addresses; lower case.
  let names: Set<String>

  /// The names of a server that listens on a host: that host, this machine's own name, and localhost.
  init(listeningOn host: String) {
    var name = [CChar](repeating: 0, count: 256)
    let own =
      gethostname(&name, name.count - 1) == 0
      ? String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : "localhost"
    names = ["localhost", host.lowercased(), own.lowercased()]
  }

  @concurrent func handle(
    _ request: Request, context: AdminContext, next: @concurrent (Request, AdminContext) async throws -> Response
  ) async throws -> Response {
    guard let authority = request.head.authority, !admits(authority) else { return try await next(request, context) }
    throw APIStatus(
      code: 421, reason: "MisdirectedRequest",
      message: "this server is not \"\(authority.prefix(100))\"; ask it by its address, or as localhost")
  }

  /// Whether a Host header means this machine: a name of it or any address, with or without a port.
  func admits(_ authority: String) -> Bool {
    var host = Substring(authority)
    if host.hasPrefix("[") {
      guard let end = host.firstIndex(of: "]") else { return false }
      return (try? SocketAddress(ipAddress: String(host[host.index(after: host.startIndex)..<end]), port: 0)) != nil
    }
    if let colon = host.firstIndex(of: ":") { host = host[..<colon] }
    return names.contains(host.lowercased()) || (try? SocketAddress(ipAddress: String(host), port: 0)) != nil
  }
}
