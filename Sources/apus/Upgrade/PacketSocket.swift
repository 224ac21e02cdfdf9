import CLinux
import Glibc

/// A unix socket of packets between two processes of this machine.
struct PacketSocket: Sendable {
  /// The socket.
  let descriptor: Descriptor

  private static let kind = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
  /// Connections that may wait to be accepted.
  static let backlog: Int32 = 8

  /// Listens at a name in a folder, in place of what a killed process left there. Only the owner may connect.
  static func listen(in folder: String, as name: String) throws -> PacketSocket {
    let path = folder + "/" + name
    unlink(path)
    let socket = try make(path)
    try withAddress(folder, name) { address, length in
      guard bind(socket.number, address, length) == 0 else { throw SystemFailure(path, errno) }
    }
    chmod(path, 0o600)
    guard Glibc.listen(socket.number, backlog) == 0 else { throw SystemFailure(path, errno) }
    _ = fcntl(socket.number, F_SETFL, fcntl(socket.number, F_GETFL) | O_NONBLOCK)
    return PacketSocket(descriptor: socket)
  }

  /// Connects to a name in a folder; nil when nobody listens there.
  static func connect(in folder: String, as name: String) throws -> PacketSocket? {
    let path = folder + "/" + name
    guard access(path, F_OK) == 0 else { return nil }
    let socket = try make(path)
    let code = try withAddress(folder, name) { address, length in
      Glibc.connect(socket.number, address, length) == 0 ? 0 : errno
    }
    if code == ECONNREFUSED || code == ENOENT { return nil }
    guard code == 0 else { throw SystemFailure(path, code) }
    return PacketSocket(descriptor: socket)
  }

  /// A connection that waits at a listening socket, and its user; nil when there is none after all.
  static func accept(_ listener: CInt) -> (PacketSocket, user: UInt32?)? {
    let number = Glibc.accept(listener, nil, nil)
    guard number >= 0 else { return nil }
    _ = fcntl(number, F_SETFD, FD_CLOEXEC)
    return (PacketSocket(descriptor: Descriptor(number)), peer(number))
  }

  /// Sends a message, with a descriptor; false when the other end does not take it.
  @discardableResult
  func send(_ message: HandOverMessage, _ passed: CInt? = nil) -> Bool {
    let bytes = message.bytes
    return bytes.withUnsafeBytes { raw in
      withUnsafePointer(to: passed ?? -1) {
        apus_send(descriptor.number, raw.baseAddress, raw.count, $0, passed == nil ? 0 : 1)
      }
    } == bytes.count
  }

  /// Takes the next message and its descriptor, waiting for it at most so long; nil at the end of the connection.
  func receive(milliseconds: Int32) throws(HandOverFault) -> (HandOverMessage, Descriptor?)? {
    guard apus_wait_readable(descriptor.number, milliseconds) > 0 else {
      throw HandOverFault("the other process said nothing for \(milliseconds / 1000) s")
    }
    var bytes = [UInt8](repeating: 0, count: HandOverMessage.bytesMax + 1)
    var passed: CInt = -1
    let count = bytes.withUnsafeMutableBytes { apus_receive(descriptor.number, $0.baseAddress, $0.count, &passed) }
    let with = passed >= 0 ? Descriptor(passed) : nil
    guard count > 0 else { return nil }
    return (try HandOverMessage(Array(bytes.prefix(count))), with)
  }

  /// The user of the process at the other end (SO_PEERCRED), as it was when it connected.
  private static func peer(_ number: CInt) -> UInt32? {
    // struct ucred: process, user, group.
    var credentials: [UInt32] = [0, 0, 0]
    var length = socklen_t(12)
    let result = getsockopt(number, SOL_SOCKET, SO_PEERCRED, &credentials, &length)
    return result == 0 && length == 12 ? credentials[1] : nil
  }

  private static func make(_ path: String) throws -> Descriptor {
    let number = socket(AF_UNIX, kind, 0)
    guard number >= 0 else { throw SystemFailure(path, errno) }
    return Descriptor(number)
  }

  /// The address of a name in a folder, through a descriptor of the folder: a path may be longer than an address.
  private static func withAddress<R>(
    _ folder: String, _ name: String, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> R
  ) throws -> R {
    let number = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard number >= 0 else { throw SystemFailure(folder, errno) }
    let home = Descriptor(number)
    defer { withExtendedLifetime(home) {} }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let path = Array("/proc/self/fd/\(number)/\(name)".utf8)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard path.count < room else { throw SystemFailure(name, ENAMETOOLONG) }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
    return try withUnsafePointer(to: address) {
      try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        try body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }
}
