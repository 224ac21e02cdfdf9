import Glibc

/// A TCP socket that listens on a free port of this machine, for the caller to close; throws `SocketFailure`.
package func listeningSocket() throws -> (socket: CInt, port: Int) {
  let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = inet_addr("127.0.0.1")
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let result = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
      bind(number, raw, length) == 0 && listen(number, 1024) == 0 && getsockname(number, raw, &length) == 0
    }
  }
  guard number >= 0, result else { throw SocketFailure(number: errno) }
  return (number, Int(UInt16(bigEndian: address.sin_port)))
}

/// Why there is no socket.
package struct SocketFailure: Error {
  /// The system's number of it.
  package let number: CInt
}
