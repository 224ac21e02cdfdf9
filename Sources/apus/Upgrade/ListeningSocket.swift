import Glibc

/// A TCP socket that listens, which may be handed to another process as it is.
struct ListeningSocket: Sendable {
  /// The socket.
  let descriptor: Descriptor
  /// Its address, as the system tells it.
  let address: Address

  /// A numeric host and a port.
  struct Address: Hashable, Sendable, CustomStringConvertible {
    let host: String
    let port: Int

    var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
  }

  /// Connections that may wait to be accepted.
  static let backlog: Int32 = 1024

  /// Binds a host and port (0 takes a free one) and listens.
  static func open(host: String, port: Int, flag: String) throws -> ListeningSocket {
    try resolving(host, port) { info in
      let number = socket(info.ai_family, info.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard number >= 0 else { throw SystemFailure("\(host):\(port)", errno) }
      let descriptor = Descriptor(number)
      var on: Int32 = 1
      setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
      guard bind(number, info.ai_addr, info.ai_addrlen) == 0, listen(number, backlog) == 0 else {
        throw Failure(
          "gateway: cannot listen on \(host):\(port): \(String(cString: strerror(errno)))",
          next: "Free the port or choose another one with \(flag).")
      }
      _ = fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK)
      return ListeningSocket(descriptor: descriptor, address: try address(of: number))
    }
  }

  /// Takes a descriptor that another process handed over; throws when it is no listening TCP socket.
  init(adopting descriptor: Descriptor) throws(HandOverFault) {
    var listens: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(descriptor.number, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0, listens == 1 else {
      throw HandOverFault("a descriptor that is no listening socket")
    }
    guard let address = try? Self.address(of: descriptor.number) else {
      throw HandOverFault("a socket that has no address of the internet")
    }
    self.init(descriptor: descriptor, address: address)
  }

  private init(descriptor: Descriptor, address: Address) {
    self.descriptor = descriptor
    self.address = address
  }

  /// Whether this is the address that a host and a port (0: any) mean.
  func serves(host: String, port: Int) -> Bool {
    guard port == 0 || port == address.port else { return false }
    let wanted = try? Self.resolving(host, port) { try Self.text($0.ai_addr, $0.ai_addrlen) }
    return wanted?.host == address.host
  }

  private static func resolving<R>(_ host: String, _ port: Int, _ body: (addrinfo) throws -> R) throws -> R {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_PASSIVE
    var found: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(host, "\(port)", &hints, &found)
    guard code == 0, let info = found else {
      throw Failure("--listen \(host): \(String(cString: gai_strerror(code)))", next: "Use an address of this machine.")
    }
    defer { freeaddrinfo(found) }
    return try body(info.pointee)
  }

  private static func address(of number: CInt) throws -> Address {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return try withUnsafeMutablePointer(to: &storage) { pointer in
      try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
        guard getsockname(number, raw, &length) == 0 else { throw SystemFailure("getsockname", errno) }
        return try text(raw, length)
      }
    }
  }

  private static func text(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) throws -> Address {
    var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
    let code = getnameinfo(
      address, length, &host, socklen_t(host.count), &port, socklen_t(port.count), NI_NUMERICHOST | NI_NUMERICSERV)
    func string(_ text: [CChar]) -> String {
      String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    guard code == 0, let number = Int(string(port)) else { throw SystemFailure("getnameinfo", EINVAL) }
    return Address(host: string(host), port: number)
  }
}
