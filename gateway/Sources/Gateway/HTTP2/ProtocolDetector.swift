import NIOCore
import NIOTLS

/// Finds out which HTTP a connection speaks: over TLS by what was agreed on (ALPN), on a plain one by its first bytes.
///
/// It stands before the `ClientConnection`, which keeps the time and the count meanwhile, and leaves as soon as it knows.
final class ProtocolDetector: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let client: ClientConnection
  private let services: GatewayServices
  private let loop: GatewayLoop
  private let isTLS: Bool
  private var scan = PrefaceScan()

  init(before client: ClientConnection, services: GatewayServices, loop: GatewayLoop, isTLS: Bool) {
    self.client = client
    self.services = services
    self.loop = loop
    self.isTLS = isTLS
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent else {
      return context.fireUserInboundEventTriggered(event)
    }
    if negotiated == "h2" { speakHTTP2(context) }
    context.fireUserInboundEventTriggered(event)
    leave(context)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isTLS else { return context.fireChannelRead(data) }
    switch scan.take(unwrapInboundIn(data)) {
    case .open: break
    case .preface(let bytes):
      speakHTTP2(context)
      context.fireChannelRead(wrapInboundOut(bytes))
      leave(context)
    case .other(let bytes):
      context.fireChannelRead(wrapInboundOut(bytes))
      leave(context)
    }
  }

  private func leave(_ context: ChannelHandlerContext) {
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  private func speakHTTP2(_ context: ChannelHandlerContext) {
    // A connection that was answered already, because there are too many, stays what it is.
    guard client.handOver() else { return }
    do {
      try HTTP2Connection.begin(on: context.channel, behind: self, services: services, loop: loop)
      context.pipeline.syncOperations.removeHandler(client, promise: nil)
    } catch {
      services.clientDisconnected()
      context.close(promise: nil)
    }
  }
}

/// Compares the first bytes of a connection with the preface of HTTP/2, as they come.
struct PrefaceScan {
  /// What the bytes are.
  enum Finding: Equatable {
    /// The beginning of the preface, or of something else.
    case open
    /// The preface, with what came behind it.
    case preface(ByteBuffer)
    case other(ByteBuffer)
  }

  /// RFC 9113, 3.4.
  static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

  private var held = ByteBuffer()

  /// What all bytes so far are.
  mutating func take(_ bytes: ByteBuffer) -> Finding {
    if held.readableBytes == 0 { held = bytes } else { held.writeImmutableBuffer(bytes) }
    let length = Self.preface.utf8CodeUnitCount
    let same = held.withUnsafeReadableBytes { read in
      var index = 0
      while index < min(read.count, length) {
        if read[index] != Self.preface.utf8Start[index] { return false }
        index += 1
      }
      return true
    }
    guard same else { return .other(held) }
    return held.readableBytes < length ? .open : .preface(held)
  }
}
