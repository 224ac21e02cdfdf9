import Glibc
import NIOCore
import NIOPosix

/// The sockets a gateway accepts from: its own, or some it was handed.
struct Entrance: Sendable {
  /// The port of the first of them.
  let port: Int
  private let channels: [any Channel]
  private let group: MultiThreadedEventLoopGroup

  /// Connections that wait to be accepted, at most.
  static let backlog: Int32 = 1024

  /// Binds an address.
  static func bind(_ bootstrap: ServerBootstrap, host: String, port: Int, on group: MultiThreadedEventLoopGroup)
    async throws -> Entrance
  {
    let channel = try await bootstrap.bind(host: host, port: port).get()
    return Entrance(port: channel.localAddress?.port ?? port, channels: [channel], group: group)
  }

  /// Accepts from sockets that listen already, however many: each gets a descriptor of its own here, so that closing it
  /// leaves the socket, and who waits in its queue, to others that hold it.
  static func adopt(_ bootstrap: ServerBootstrap, _ sockets: [CInt], on group: MultiThreadedEventLoopGroup)
    async throws -> Entrance
  {
    var channels: [any Channel] = []
    do {
      for socket in sockets {
        let own = fcntl(socket, F_DUPFD_CLOEXEC, 3)
        guard own >= 0 else { throw IOError(errnoCode: errno, reason: "dup") }
        // An event loop must never wait inside accept: another process may have taken the connection it was told of.
        _ = fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK)
        channels.append(try await bootstrap.withBoundSocket(own).get())
        // SwiftNIO listens with a backlog of 128 on what it is given, whatever its option says.
        guard listen(own, backlog) == 0 else { throw IOError(errnoCode: errno, reason: "listen") }
      }
    } catch {
      for channel in channels { try? await channel.close().get() }
      throw error
    }
    return Entrance(port: channels.first?.localAddress?.port ?? 0, channels: channels, group: group)
  }

  /// Accepts no more. Connections that were accepted and are still on the way to their event loop arrive first: closing
  /// at once would close them, too.
  func close() async {
    for channel in channels { try? await channel.setOption(.autoRead, value: false).get() }
    // From the acceptor to the connection's loop, back, and to the connection's loop once more.
    for _ in 0..<3 {
      for loop in group.makeIterator() { try? await loop.submit {}.get() }
    }
    for channel in channels { try? await channel.close().get() }
  }
}
