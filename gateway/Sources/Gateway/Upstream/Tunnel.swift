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
  private var joined = false
  /// What the decoders still held when the tunnel began; at most one read of each side.
  private var early: [ByteBuffer] = []
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
    strip(client, handler: clientHandler, names: [ServerCodec.decoderName, ServerCodec.encoderName])
    strip(pod, handler: podHandler, names: [UpstreamCodec.decoderName, UpstreamCodec.encoderName])
    // One turn of the loop later the encoders are gone for certain; only then may held bytes be written.
    client.eventLoop.assumeIsolated().execute {
      near.open()
      far.open()
    }
    client.read()
    pod.read()
    guard client.isActive, pod.isActive else {
      client.close(promise: nil)
      pod.close(promise: nil)
      return
    }
  }

  private static func strip(_ channel: any Channel, handler: any RemovableChannelHandler, names: [String]) {
    // The handler first: what the decoder still holds must find the tunnel behind it.
    channel.pipeline.syncOperations.removeHandler(handler, promise: nil)
    for name in names { channel.pipeline.syncOperations.removeHandler(name: name, promise: nil) }
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    // A connection that closed in between tells nobody again.
    if !context.channel.isActive { end() }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data)
    if joined { peer?.write(bytes, promise: nil) } else { early.append(bytes) }
  }

  private func open() {
    joined = true
    for bytes in early { peer?.write(bytes, promise: nil) }
    early = []
    peer?.flush()
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
