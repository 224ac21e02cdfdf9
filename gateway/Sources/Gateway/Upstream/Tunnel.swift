import NIOCore

/// After a 101 both connections carry bytes that are nobody's business: each side's reads are the other's writes,
/// read only as fast as they are taken; when one side ends, so does the other.
///
/// The pod's slot is free when the pod has closed its connection. When the client leaves first, the pod sees the end of
/// its input, and a pod that does not close then is treated like one that does not end a cancelled call.
final class Tunnel: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// What a tunnel tells its surroundings.
  struct Events {
    /// The pod's connection is closed; once.
    let podClosed: () -> Void
    /// The client left and the pod did not close in time.
    let podLingers: () -> Void
    /// The client's connection is closed; once.
    let clientClosed: () -> Void
  }

  private enum Side { case client, pod }

  private let side: Side
  private let events: Events
  private var peer: (any Channel)?
  private weak var peerHandler: Tunnel?
  private var context: ChannelHandlerContext?
  private var readHeld = false
  private var ended = false
  private var lastByte = monotonicNow()

  private init(_ side: Side, peer: any Channel, events: Events) {
    self.side = side
    self.peer = peer
    self.events = events
  }

  /// Joins two connections of one event loop.
  static func join(
    client: any Channel, clientHandler: ClientConnection, read fromClient: ByteBuffer, pod: any Channel,
    podHandler: UpstreamConnection, readFromPod fromPod: ByteBuffer, events: Events
  ) {
    let near = Tunnel(.client, peer: pod, events: events)
    let far = Tunnel(.pod, peer: client, events: events)
    near.peerHandler = far
    far.peerHandler = near
    do {
      try client.pipeline.syncOperations.addHandler(near)
      try pod.pipeline.syncOperations.addHandler(far)
    } catch {
      client.close(promise: nil)
      pod.close(promise: nil)
      events.clientClosed()
      return events.podClosed()
    }
    client.pipeline.syncOperations.removeHandler(clientHandler, promise: nil)
    pod.pipeline.syncOperations.removeHandler(podHandler, promise: nil)
    // What was read behind the two heads comes first.
    if fromClient.readableBytes > 0 { pod.writeAndFlush(fromClient, promise: nil) }
    if fromPod.readableBytes > 0 { client.writeAndFlush(fromPod, promise: nil) }
    pod.read()
    client.read()
    far.watchIdle()
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    // A connection that closed in between tells nobody again.
    if !context.channel.isActive { end() }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    lastByte = monotonicNow()
    peer?.write(unwrapInboundIn(data), promise: nil)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    peer?.flush()
    if peer?.isWritable ?? true { context.read() } else { readHeld = true }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { peerHandler?.readOn() }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelInactive(context: ChannelHandlerContext) {
    end()
    context.fireChannelInactive()
  }

  private func readOn() {
    guard readHeld, let context else { return }
    readHeld = false
    context.read()
  }

  /// This side is closed: what it sent last is still delivered, then the other side is told.
  private func end() {
    guard !ended else { return }
    ended = true
    switch side {
    case .pod: events.podClosed()
    case .client: events.clientClosed()
    }
    guard let other = peer else { return }
    peer = nil
    switch side {
    case .pod: Self.close(other, .all, within: GatewayLimits.tunnelFlushMilliseconds)
    case .client:
      Self.close(other, .output, within: GatewayLimits.tunnelFlushMilliseconds)
      let lingers = events.podLingers
      let late = other.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(GatewayLimits.abandonMilliseconds)) {
        lingers()
      }
      other.closeFuture.assumeIsolated().whenComplete { _ in late.cancel() }
      // Nobody takes what the pod still says; reading on is how its end is seen.
      peerHandler?.drop()
    }
  }

  private func drop() {
    peer = nil
    readHeld = false
    context?.read()
  }

  private static func close(_ channel: any Channel, _ mode: CloseMode, within milliseconds: Int64) {
    let done = channel.eventLoop.makePromise(of: Void.self)
    channel.writeAndFlush(ByteBuffer(), promise: done)
    let late = channel.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(milliseconds)) {
      if channel.isActive, mode == .all { channel.close(promise: nil) }
    }
    done.futureResult.assumeIsolated().whenComplete { _ in
      late.cancel()
      channel.close(mode: mode, promise: nil)
    }
  }

  /// Closes both sides when neither has sent a byte for a while, so that a peer that vanished frees its slot.
  private func watchIdle() {
    guard let context else { return }
    let bound = GatewayLimits.tunnelIdleSeconds * 1_000_000_000
    let due = max(lastByte, peerHandler?.lastByte ?? 0) &+ bound
    context.eventLoop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(UInt64(max(0, due)))) { [weak self] in
      guard let self, !self.ended else { return }
      if max(self.lastByte, self.peerHandler?.lastByte ?? 0) &+ bound <= monotonicNow() {
        self.peer?.close(promise: nil)
        self.context?.close(promise: nil)
      } else {
        self.watchIdle()
      }
    }
  }
}
