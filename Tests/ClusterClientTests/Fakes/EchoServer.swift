import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// A plain HTTP server whose answers the test makes.
final class EchoServer: Sendable {
  typealias Answer = @Sendable (HTTPRequestHead, [UInt8]) -> (HTTPResponseStatus, HTTPHeaders, [UInt8])

  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel
  private let requests: Requests

  final class Requests: Sendable {
    let lines = Mutex<[String]>([])
  }

  private init(group: MultiThreadedEventLoopGroup, channel: any Channel, requests: Requests) {
    self.group = group
    self.channel = channel
    self.requests = requests
  }

  var port: Int { channel.localAddress?.port ?? 0 }
  /// Method and target of every request.
  var seen: [String] { requests.lines.withLock { $0 } }

  static func start(tls: NIOSSLContext? = nil, _ answer: @escaping Answer) async throws -> EchoServer {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let requests = Requests()
    let channel = try await ServerBootstrap(group: group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(Answerer(answer: answer, requests: requests))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return EchoServer(group: group, channel: channel, requests: requests)
  }

  func stop() async {
    try? await channel.close()
    try? await group.shutdownGracefully()
  }

  private final class Answerer: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let answer: Answer
    private let requests: Requests
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []

    init(answer: @escaping Answer, requests: Requests) {
      self.answer = answer
      self.requests = requests
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): self.head = head
      case .body(let bytes): body += Array(bytes.readableBytesView)
      case .end:
        guard let head else { return }
        requests.lines.withLock { $0.append("\(head.method) \(head.uri)") }
        var (status, headers, bytes) = answer(head, body)
        body = []
        headers.add(name: "content-length", value: "\(bytes.count)")
        context.write(
          wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        bytes = []
      }
    }
  }
}
