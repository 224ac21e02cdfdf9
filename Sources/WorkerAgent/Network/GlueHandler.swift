import NIOCore

/// Joins two channels of one event loop: what one reads the other writes, at the pace of the slower, and the end of one
/// direction is passed on without ending the other.
final class GlueHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// How long one end may take what the other sent last.
  static let lastBytesTimeout = TimeAmount.seconds(10)

  private var partner: GlueHandler?
  private var context: ChannelHandlerContext?
  private var wantsRead = false

  /// Two handlers that know each other.
  static func pair() -> (GlueHandler, GlueHandler) {
    let (one, other) = (GlueHandler(), GlueHandler())
    one.partner = other
    other.partner = one
    return (one, other)
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    partner?.close()
    partner = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) { partner?.write(data) }

  func channelReadComplete(context: ChannelHandlerContext) { partner?.flush() }

  func channelInactive(context: ChannelHandlerContext) {
    partner?.close()
    context.fireChannelInactive()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .inputClosed? = event as? ChannelEvent {
      partner?.closeOutput()
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { partner?.resume() }
    context.fireChannelWritabilityChanged()
  }

  func read(context: ChannelHandlerContext) {
    if partner?.isWritable ?? false {
      context.read()
    } else {
      wantsRead = true
    }
  }

  private var isWritable: Bool { context?.channel.isWritable ?? false }

  private func write(_ data: NIOAny) { context?.write(data, promise: nil) }

  private func flush() { context?.flush() }

  /// Closes once everything was taken, or the other end had its time for it.
  private func close() {
    guard let channel = context?.channel, channel.isActive else { return }
    let sent = channel.eventLoop.makePromise(of: Void.self)
    channel.writeAndFlush(ByteBuffer(), promise: sent)
    let late = channel.eventLoop.assumeIsolated().scheduleTask(in: Self.lastBytesTimeout) {
      channel.close(promise: nil)
    }
    sent.futureResult.assumeIsolated().whenComplete { _ in
      late.cancel()
      channel.close(promise: nil)
    }
  }

  private func closeOutput() {
    guard let context else { return }
    context.flush()
    context.close(mode: .output, promise: nil)
  }

  private func resume() {
    guard wantsRead else { return }
    wantsRead = false
    context?.read()
  }
}

extension Channel {
  /// Joins this channel with another of the same event loop; both start to read. Call on their loop.
  func glue(to other: any Channel) throws {
    let (mine, theirs) = GlueHandler.pair()
    try pipeline.syncOperations.addHandler(mine)
    try other.pipeline.syncOperations.addHandler(theirs)
    try syncOptions?.setOption(.autoRead, value: true)
    try other.syncOptions?.setOption(.autoRead, value: true)
  }
}
