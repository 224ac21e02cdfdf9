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
  private let first = FirstConnection()

  /// Has a listening unix socket, which is the bridge's from now on. Nothing is accepted before `open`.
  init(listener: CInt, pod: any RunningPod, port: UInt16, group: any EventLoopGroup) async throws {
    let first = first
    // One loop for all of a pod: what goes from thread to thread takes longer than what is done there.
    let loop = group.any()
    server = try await ServerBootstrap(group: loop)
      .serverChannelOption(.autoRead, value: false)
      .childChannelOption(.autoRead, value: false)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { child in
        // Once it is registered.
        loop.execute { Self.connect(loop, to: pod, port: port, first: first, child) }
        return loop.makeSucceededVoidFuture()
      }
      .withBoundSocket(listener)
      .get()
    // SwiftNIO listens on a socket it is given with a backlog of 128, whatever is asked of it; beyond that a burst of
    // connections fails with EAGAIN.
    _ = Glibc.listen(listener, Self.backlog)
  }

  /// Accepts from now on. `fd` is a connection to the port, which is the bridge's from now on, and waits for a client for
  /// so many milliseconds.
  func open(with fd: CInt? = nil, keptFor: Int64 = firstMaximum) {
    let (first, server) = (first, server)
    if let fd {
      first.put(fd)
      // Holds the connection until then at the latest.
      server.eventLoop.scheduleTask(in: .milliseconds(keptFor)) { first.close() }
    }
    // A server that was closed meanwhile accepts nothing.
    server.setOption(.autoRead, value: true).whenFailure { _ in first.close() }
  }

  /// Stops accepting; connections under way end with the pod.
  func close() async {
    first.close()
    try? await server.close()
  }

  private static func connect(
    _ loop: any EventLoop, to pod: any RunningPod, port: UInt16, first: FirstConnection, _ child: any Channel
  ) {
    if let fd = first.take() { return glue(loop, fd, child) }
    // Bounded by the forwarder's own deadline; nobody waits for it but the child, which stays unread until then.
    Task {
      guard let fd = try? await pod.connect(port: port) else {
        try? await child.close()
        return
      }
      loop.execute { glue(loop, fd, child) }
    }
  }

  private static func glue(_ loop: any EventLoop, _ fd: CInt, _ child: any Channel) {
    ClientBootstrap(group: loop)
      .channelOption(.autoRead, value: false)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .withConnectedSocket(fd)
      .whenComplete { inner in
        do {
          let inner = try inner.get()
          do { try child.glue(to: inner) } catch {
            inner.close(promise: nil)
            throw error
          }
        } catch {
          child.close(promise: nil)
        }
      }
  }
}

/// The connection that showed that the port is open, for the first client: one connect into the pod less on the way of a
/// cold start.
private final class FirstConnection: Sendable {
  private let fd = Mutex<CInt?>(nil)

  func put(_ new: CInt) { fd.withLock { $0 = new } }

  /// The connection, once; it is the taker's from then on.
  func take() -> CInt? {
    fd.withLock { fd in
      defer { fd = nil }
      return fd
    }
  }

  func close() { if let fd = take() { Glibc.close(fd) } }
}
