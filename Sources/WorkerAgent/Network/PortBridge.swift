import Glibc
import NIOCore
import NIOPosix

/// Forwards the bytes of a pod's unix socket to a port on its own loopback. Never looks at them.
///
/// One connection inside for each outside, made when the outer one is accepted; they end with the pod.
final class PortBridge: Sendable {
  /// Connections that may wait to be accepted.
  static let backlog: Int32 = 1024

  private let server: any Channel

  /// Accepts on a listening unix socket, which is the bridge's from now on.
  init(listener: CInt, pod: any RunningPod, port: UInt16, group: any EventLoopGroup) async throws {
    server = try await ServerBootstrap(group: group)
      .childChannelOption(.autoRead, value: false)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { child in
        Self.connect(child.eventLoop, to: pod, port: port, closing: child)
        return child.eventLoop.makeSucceededVoidFuture()
      }
      .withBoundSocket(listener)
      .get()
    // SwiftNIO listens on a socket it is given with a backlog of 128, whatever is asked of it; beyond that a burst of
    // connections fails with EAGAIN.
    _ = Glibc.listen(listener, Self.backlog)
  }

  /// Stops accepting; connections under way end with the pod.
  func close() async { try? await server.close() }

  private static func connect(_ loop: any EventLoop, to pod: any RunningPod, port: UInt16, closing child: any Channel) {
    // Bounded by the forwarder's own deadline; nobody waits for it but the child, which stays unread until then.
    Task {
      do {
        guard let fd = try await pod.connect(port: port) else { throw WorkerError.failed("nothing listens on \(port)") }
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
