import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Forwards the bytes of a pod's unix socket to a port on its own loopback. Never looks at them.
///
/// One connection inside for each outside, made when the outer one is accepted; they end with the pod.
final class PortBridge: Sendable {
  /// Connections that may wait to be accepted.
  static let backlog: Int32 = 1024

  /// How long the connection that found the port open waits for its first client, milliseconds: a request that waited
  /// for the pod is here within two, and later the server inside may have lost patience.
  static let firstMaximum: Int64 = 100

  private let server: any Channel
  private let first: FirstConnection

  /// Accepts on a listening unix socket, which is the bridge's from now on, as is `first`, a connection to the port that
  /// waits for a client for so many milliseconds.
  init(
    listener: CInt, pod: any RunningPod, port: UInt16, first fd: CInt? = nil, keptFor: Int64 = firstMaximum,
    group: any EventLoopGroup
  ) async throws {
    let first = FirstConnection(fd)
    self.first = first
    // Holds the connection until then at the latest.
    group.any().scheduleTask(in: .milliseconds(keptFor)) { first.close() }
    server = try await ServerBootstrap(group: group)
      .childChannelOption(.autoRead, value: false)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { child in
        Self.connect(child.eventLoop, to: pod, port: port, first: first, closing: child)
        return child.eventLoop.makeSucceededVoidFuture()
      }
      .withBoundSocket(listener)
      .get()
    // SwiftNIO listens on a socket it is given with a backlog of 128, whatever is asked of it; beyond that a burst of
    // connections fails with EAGAIN.
    _ = Glibc.listen(listener, Self.backlog)
  }

  /// Stops accepting; connections under way end with the pod.
  func close() async {
    first.close()
    try? await server.close()
  }

  private static func connect(
    _ loop: any EventLoop, to pod: any RunningPod, port: UInt16, first: FirstConnection, closing child: any Channel
  ) {
    // Bounded by the forwarder's own deadline; nobody waits for it but the child, which stays unread until then.
    Task {
      do {
        var connected = first.take()
        if connected == nil { connected = try await pod.connect(port: port) }
        guard let fd = connected else { throw WorkerError.failed("nothing listens on \(port)") }
        let inner = try await ClientBootstrap(group: loop)
          .channelOption(.autoRead, value: false)
          .channelOption(.allowRemoteHalfClosure, value: true)
          .withConnectedSocket(fd)
          .get()
        do {
          try await loop.submit { try child.glue(to: inner) }.get()
        } catch {
          try? await inner.close()
          throw error
        }
      } catch {
        try? await child.close()
      }
    }
  }
}

/// The connection that showed that the port is open, for the first client: one connect into the pod less on the way of a
/// cold start.
private final class FirstConnection: Sendable {
  private let fd: Mutex<CInt?>

  init(_ fd: CInt?) { self.fd = Mutex(fd) }

  /// The connection, once; it is the taker's from then on.
  func take() -> CInt? {
    fd.withLock { fd in
      defer { fd = nil }
      return fd
    }
  }

  func close() { if let fd = take() { Glibc.close(fd) } }
}
