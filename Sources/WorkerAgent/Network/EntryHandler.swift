import NIOCore
import NIOPosix
import NIOSSL

/// Reads the `CONNECT` line of one connection, opens the pod's socket, answers, and joins the two.
final class EntryHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// `CONNECT ` and a uid.
  static let lineMaximum = 128

  private enum Phase { case line, connecting, joined, refused, health }

  private let admitted: Bool
  private let tls: EntryTLS?
  private let lineTimeout: TimeAmount
  private let socketPath: @Sendable (_ uid: String) -> String?
  private var phase = Phase.line
  private var buffer = ByteBuffer()
  private var deadline: Scheduled<Void>?
  /// The client's end came while the pod's socket was being opened.
  private var inputClosed = false

  init(
    admitted: Bool, tls: EntryTLS?, lineTimeout: TimeAmount,
    socketPath: @escaping @Sendable (_ uid: String) -> String?
  ) {
    self.admitted = admitted
    self.tls = tls
    self.lineTimeout = lineTimeout
    self.socketPath = socketPath
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let channel = context.channel
    deadline = context.eventLoop.scheduleTask(in: lineTimeout) { channel.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { deadline?.cancel() }

  func channelInactive(context: ChannelHandlerContext) {
    deadline?.cancel()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    guard phase != .health else { return }
    buffer.writeBuffer(&bytes)
    guard phase == .line else { return }
    let view = buffer.readableBytesView
    guard let end = view.firstIndex(of: 10) else {
      if view.count > Self.lineMaximum { refuse(context, "bad_request") }
      return
    }
    let line = String(decoding: view[..<end], as: UTF8.self)
    buffer.moveReaderIndex(to: end + 1)
    open(line, context)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case .inputClosed? = event as? ChannelEvent else { return context.fireUserInboundEventTriggered(event) }
    inputClosed = true
    if phase == .line || phase == .health { context.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func mayEnter(_ context: ChannelHandlerContext) -> Bool {
    guard let tls else { return true }
    guard let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate() else { return false }
    return tls.admits(certificate)
  }

  private func open(_ line: String, _ context: ChannelHandlerContext) {
    if line.hasPrefix("GET /healthz HTTP/1.") { return answerHealth(context) }
    guard admitted else { return refuse(context, "busy") }
    guard mayEnter(context) else { return refuse(context, "not_a_gateway") }
    guard line.hasPrefix("CONNECT "), line.utf8.count <= Self.lineMaximum else { return refuse(context, "bad_request") }
    guard let path = socketPath(String(line.dropFirst(8))) else { return refuse(context, "unknown_pod") }
    phase = .connecting
    deadline?.cancel()
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    // Reads on: at most what the kernel gave at once is kept; more waits in the socket.
    context.channel.setOption(.autoRead, value: false).whenFailure { _ in bound.value.1.close(promise: nil) }
    ClientBootstrap(group: context.eventLoop)
      .channelOption(.autoRead, value: false)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .connect(unixDomainSocketPath: path)
      .hop(to: context.eventLoop)
      .whenComplete { result in
        let (handler, context) = bound.value
        switch result {
        case .success(let pod): handler.join(context, pod)
        case .failure: handler.refuse(context, "not_listening")
        }
      }
  }

  private func join(_ context: ChannelHandlerContext, _ pod: any Channel) {
    guard context.channel.isActive else { return pod.close(promise: nil) }
    phase = .joined
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "OK\n")), promise: nil)
    if buffer.readableBytes > 0 { pod.writeAndFlush(buffer, promise: nil) }
    if inputClosed { pod.close(mode: .output, promise: nil) }
    do {
      try context.channel.glue(to: pod)
      context.pipeline.syncOperations.removeHandler(self, promise: nil)
    } catch {
      pod.close(promise: nil)
      context.close(promise: nil)
    }
  }

  /// Says that the worker lives, to whoever has a certificate of the cluster, and lets the client hang up first.
  private func answerHealth(_ context: ChannelHandlerContext) {
    phase = .health
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(staticString: Self.health)))
      .whenComplete { _ in bound.value.close(mode: .output, promise: nil) }
  }

  private static let health: StaticString =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n"

  private func refuse(_ context: ChannelHandlerContext, _ reason: String) {
    guard phase == .line || phase == .connecting else { return }
    phase = .refused
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "ERR \(reason)\n")))
      .whenComplete { _ in bound.value.close(promise: nil) }
  }
}
