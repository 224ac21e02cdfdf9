import NIOCore

/// The first line on a connection to another host's worker, `CONNECT <pod uid>`, and its answer: `OK`, and every byte
/// after it is the pod's; or `ERR <reason>`, and nothing reached the pod. Leaves the pipeline when it is through.
final class ConnectPreamble: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Bytes of the answer's line at most.
  static let lineMaximum = 128

  /// Succeeds when the pod is reached.
  let joined: EventLoopPromise<Void>
  private let uid: String
  private var buffer = ByteBuffer()

  init(uid: String, eventLoop: any EventLoop) {
    self.uid = uid
    joined = eventLoop.makePromise(of: Void.self)
  }

  func channelActive(context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "CONNECT \(uid)\n")), promise: nil)
    let joined = joined
    context.eventLoop.scheduleTask(in: .milliseconds(GatewayLimits.connectMilliseconds)) {
      joined.fail(Refused.silent)
    }
    // What fails here closes the connection, so that nobody sends a request on it.
    let context = NIOLoopBound(context, eventLoop: context.eventLoop)
    joined.futureResult.whenFailure { _ in context.value.close(promise: nil) }
    context.value.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    buffer.writeBuffer(&bytes)
    guard let end = buffer.readableBytesView.firstIndex(of: 10) else {
      if buffer.readableBytes > Self.lineMaximum { joined.fail(Refused.malformed) }
      return
    }
    let line = String(decoding: buffer.readableBytesView[..<end], as: UTF8.self)
    buffer.moveReaderIndex(to: end + 1)
    guard line == "OK" else { return joined.fail(Refused.worker(line)) }
    let rest = buffer
    joined.succeed(())
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
    if rest.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(rest)) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    joined.fail(error)
    context.fireErrorCaught(error)
  }

  func channelInactive(context: ChannelHandlerContext) {
    joined.fail(ChannelError.eof)
    context.fireChannelInactive()
  }

  /// A connection that never came up ends here and nowhere else.
  func handlerRemoved(context: ChannelHandlerContext) { joined.fail(ChannelError.eof) }

  /// Why the pod was not reached.
  enum Refused: Error, CustomStringConvertible {
    case worker(String)
    case malformed
    case silent

    var description: String {
      switch self {
      case .worker(let line): "its worker refused: \(line)"
      case .malformed: "its worker answered something else than OK or ERR"
      case .silent: "its worker did not answer in \(GatewayLimits.connectMilliseconds) ms"
      }
    }
  }
}
