import Glibc
import NIOCore
import NIOPosix

/// Carries the connections that a pod makes to `APUS_GATEWAY` to a gateway of its machine, each with a line before it
/// that says whose it is. Never looks at what the pod sends: the gateway does, as at any client's.
final class PodGate: Sendable {
  /// Connections of one pod at once; one more is closed.
  static let connectionsMaximum = 256

  private let server: any Channel

  /// Accepts on a listening socket inside the pod, which is the gate's from now on. `gateways` are the sockets to try.
  init(
    listener: CInt, caller: PodCaller, gateways: @escaping @Sendable () -> [String], group: any EventLoopGroup
  ) async throws {
    let count = ConnectionCount()
    server = try await ServerBootstrap(group: group)
      .childChannelOption(.autoRead, value: false)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { child in
        guard count.enter(limit: Self.connectionsMaximum) else { return child.close() }
        child.closeFuture.whenComplete { _ in count.leave() }
        Self.connect(child, caller, gateways())
        return child.eventLoop.makeSucceededVoidFuture()
      }
      .withBoundSocket(listener)
      .get()
    // SwiftNIO listens on a socket it is given with a backlog of 128, whatever is asked of it.
    _ = Glibc.listen(listener, PortBridge.backlog)
  }

  /// Stops accepting; connections under way end with the pod.
  func close() async { try? await server.close() }

  private static func connect(_ child: any Channel, _ caller: PodCaller, _ sockets: [String]) {
    let loop = child.eventLoop
    // A connect to a unix socket is decided at once; nobody waits for it but the child, which stays unread until then.
    Task {
      for path in sockets {
        let connecting = ClientBootstrap(group: loop)
          .channelOption(.autoRead, value: false)
          .channelOption(.allowRemoteHalfClosure, value: true)
          .connect(unixDomainSocketPath: path)
        guard let gateway = try? await connecting.get() else { continue }
        do {
          try await gateway.writeAndFlush(ByteBuffer(string: caller.preamble))
          return try await loop.submit { try child.glue(to: gateway) }.get()
        } catch {
          try? await gateway.close()
          try? await child.close()
          return
        }
      }
      try? await refuse(child)
    }
  }

  /// There is no gateway: the pod is told, in words of HTTP that fit any request, and hangs up.
  private static func refuse(_ child: any Channel) async throws {
    try await child.writeAndFlush(ByteBuffer(string: noGateway))
    try await child.close(mode: .output)
    try await child.setOption(.allowRemoteHalfClosure, value: false).get()
    try await child.setOption(.autoRead, value: true).get()
  }

  private static let noGateway: String = {
    let body =
      #"{"code":"no_gateway","message":"no gateway on this machine takes calls of pods","component":"worker","#
      + #""call":"unknown"}"#
    return "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
      + "content-length: \(body.utf8.count)\r\nconnection: close\r\n\r\n" + body
  }()
}
