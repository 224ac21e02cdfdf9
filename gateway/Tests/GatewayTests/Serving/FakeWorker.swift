import NIOCore
import NIOPosix
import Synchronization

/// The door of another node: reads `CONNECT <uid>`, answers OK or ERR, and copies bytes to the pod's socket.
final class FakeWorker: Sendable {
  private struct State {
    var lines: [String] = []
    var refuse = false
    var socket: @Sendable (String) -> String? = { _ in nil }
  }

  private let state = Mutex(State())
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let server: Mutex<(any Channel)?> = Mutex(nil)

  var lines: [String] { state.withLock { $0.lines } }

  var refuse: Bool {
    get { state.withLock { $0.refuse } }
    set { state.withLock { $0.refuse = newValue } }
  }

  var socket: @Sendable (String) -> String? {
    get { state.withLock { $0.socket } }
    set { state.withLock { $0.socket = newValue } }
  }

  var port: Int { server.withLock { $0?.localAddress?.port ?? 0 } }

  init() async throws {
    let channel = try await ServerBootstrap(group: group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Door(worker: self)) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    server.withLock { $0 = channel }
  }

  func stop() async { try? await group.shutdownGracefully() }

  fileprivate func answer(_ line: String) -> String? {
    state.withLock { state in
      state.lines.append(line)
      return state.refuse ? nil : state.socket(String(line.dropFirst(8)))
    }
  }
}

private final class Door: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let worker: FakeWorker
  private var pod: (any Channel)?

  init(worker: FakeWorker) { self.worker = worker }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if let pod {
      pod.writeAndFlush(bytes, promise: nil)
      return
    }
    // The gateway sends nothing before OK, so the line comes alone.
    let line = (bytes.readString(length: bytes.readableBytes) ?? "").split(separator: "\n").first.map(String.init) ?? ""
    guard let path = worker.answer(line) else {
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "ERR unknown_pod\n"))).whenComplete { _ in
        bound.value.close(promise: nil)
      }
      return
    }
    let client = context.channel
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    ClientBootstrap(group: context.eventLoop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Back(client: client)) }
      }
      .connect(unixDomainSocketPath: path).hop(to: context.eventLoop)
      .whenSuccess { channel in
        bound.value.0.pod = channel
        bound.value.1.writeAndFlush(bound.value.0.wrapOutboundOut(ByteBuffer(string: "OK\n")), promise: nil)
      }
  }

  func channelInactive(context: ChannelHandlerContext) { pod?.close(promise: nil) }
}

private final class Back: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let client: any Channel

  init(client: any Channel) { self.client = client }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    client.writeAndFlush(unwrapInboundIn(data), promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) { client.close(promise: nil) }
}
