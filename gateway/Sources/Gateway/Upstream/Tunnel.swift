import NIOCore

/// After a 101 both connections carry bytes that are nobody's business: each side's reads are the other's writes,
/// read only as fast as they are taken; when one side ends, so does the other.
final class Tunnel: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private var peer: (any Channel)?
  private weak var peerHandler: Tunnel?
  private var context: ChannelHandlerContext?
  private var readHeld = false
  private let closed: () -> Void

  private init(peer: any Channel, closed: @escaping () -> Void) {
    self.peer = peer
    self.closed = closed
  }

  /// Joins two connections of one event loop; `podClosed` is called once the pod's is closed.
  static func join(
    client: any Channel, clientHandler: ClientConnection, pod: any Channel, podHandler: UpstreamConnection,
    podClosed: @escaping () -> Void
  ) {
    let near = Tunnel(peer: pod, closed: {})
    let far = Tunnel(peer: client, closed: podClosed)
    near.peerHandler = far
    far.peerHandler = near
    do {
      try client.pipeline.syncOperations.addHandler(near)
      try pod.pipeline.syncOperations.addHandler(far)
    } catch {
      client.close(promise: nil)
      pod.close(promise: nil)
      return podClosed()
    }
    remove(ServerCodec.encoderName, from: client)
    remove(UpstreamCodec.encoderName, from: pod)
    client.pipeline.syncOperations.removeHandler(clientHandler, promise: nil)
    pod.pipeline.syncOperations.removeHandler(podHandler, promise: nil)
    // A decoder leaves in the loop's next turn and drops what it still holds (at most one read) into the tunnel. The
    // pod's looks at what is written, too: the client's bytes may come only when it is gone.
    remove(UpstreamCodec.decoderName, from: pod) {
      client.flush()
      pod.read()
      remove(ServerCodec.decoderName, from: client) {
        pod.flush()
        client.read()
      }
    }
    guard client.isActive, pod.isActive else {
      client.close(promise: nil)
      pod.close(promise: nil)
      return
    }
  }

  private static func remove(_ name: String, from channel: any Channel, then: @escaping () -> Void = {}) {
    let gone = channel.eventLoop.makePromise(of: Void.self)
    gone.futureResult.assumeIsolated().whenComplete { _ in then() }
    channel.pipeline.syncOperations.removeHandler(name: name, promise: gone)
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    // A connection that closed in between tells nobody again.
    if !context.channel.isActive { end() }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    peer?.write(unwrapInboundIn(data), promise: nil)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    peer?.flush()
    if peer?.isWritable ?? false { context.read() } else { readHeld = true }
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

  private func end() {
    guard let other = peer else { return }
    peer = nil
    closed()
    other.flush()
    other.close(promise: nil)
  }
}
