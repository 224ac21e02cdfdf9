import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

@testable import WorkerAgent

/// The client's end of a connection, as a test uses it.
final class TestConnection: Sendable {
  private let channel: any Channel
  private let collector: Collector

  final class Collector: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    let state = Mutex((bytes: [UInt8](), ended: false))

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = unwrapInboundIn(data).readableBytesView
      state.withLock { $0.bytes.append(contentsOf: bytes) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if case .inputClosed? = event as? ChannelEvent { state.withLock { $0.ended = true } }
    }

    func channelInactive(context: ChannelHandlerContext) { state.withLock { $0.ended = true } }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }

  static func bootstrap(_ collector: Collector, tls: NIOSSLContext? = nil) -> ClientBootstrap {
    ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls {
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil))
          }
          try channel.pipeline.syncOperations.addHandler(collector)
        }
      }
  }

  init(port: Int, tls: NIOSSLContext? = nil) async throws {
    collector = Collector()
    channel = try await Self.bootstrap(collector, tls: tls).connect(host: "127.0.0.1", port: port).get()
  }

  init(socket: String) async throws {
    collector = Collector()
    channel = try await Self.bootstrap(collector).connect(unixDomainSocketPath: socket).get()
  }

  func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }
  func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }
  func finish() async throws { try await channel.close(mode: .output) }
  func close() async { try? await channel.close() }
  func pause(_ paused: Bool) async throws { try await channel.setOption(.autoRead, value: !paused).get() }
  var received: [UInt8] { collector.state.withLock { $0.bytes } }
  var text: String { String(decoding: received, as: UTF8.self) }
  var ended: Bool { collector.state.withLock { $0.ended } }
}

/// A server that sends back what it gets, and `bye` once its client has finished sending.
enum EchoServer {
  final class Echo: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.write(data, promise: nil) }
    func channelReadComplete(context: ChannelHandlerContext) { context.flush() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      guard case .inputClosed? = event as? ChannelEvent else { return }
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "bye")), promise: nil)
      context.close(promise: nil)
    }
  }

  static var bootstrap: ServerBootstrap {
    ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
      }
  }
}

/// A pod whose port is a server of the test on the host's loopback.
struct LoopbackPod: RunningPod {
  let port: Int?

  func marks() -> StartMarks { StartMarks() }
  func terminate() {}
  func kill() {}
  func exit() async -> PodExit { PodExit() }
  func memory() -> Int64? { nil }

  func firstConnection(port: UInt16, expected: UInt64?) async throws -> CInt {
    guard let fd = try await connect(port: port) else { throw CancellationError() }
    return fd
  }

  func connect(port ignored: UInt16) async throws -> CInt? {
    guard let port else { return nil }
    let fd = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else {
      Glibc.close(fd)
      return nil
    }
    _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
    return fd
  }
}
