import Glibc
import NIOCore

/// The socket below a channel without TLS: what the kernel takes at once is given to it directly, because the way through
/// the channel's queue of writes costs a small answer as much as the rest of its handling.
///
/// Bytes keep their order: nothing goes past what the channel still holds back. What the kernel does not take, and every
/// error, is left to the channel. Isolation: the channel's event loop.
struct PlainSocket {
  /// The descriptor, which is the channel's; -1 while there is none to be used.
  private var number: CInt = -1
  /// Whether something was written to the channel that it may hold still.
  private var queues = false

  /// From now on it is used; nothing was written to the channel that it could hold.
  mutating func open(_ context: ChannelHandlerContext) {
    let found = try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
    number = found ?? -1
  }

  /// The channel is closed: its descriptor is somebody else's soon.
  mutating func close() { number = -1 }

  /// Something is written to the channel.
  mutating func queued() { queues = true }

  /// Gives bytes to the kernel; answers those that are to be written to the channel and flushed, nil when nothing is left
  /// to do. They may be none: then what the channel holds is to be flushed.
  mutating func send(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) -> ByteBuffer? {
    guard number >= 0, !queues || isEmpty(context) else {
      queues = true
      return bytes
    }
    assert(context.channel.isActive, "the descriptor outlived its channel")
    let taken = bytes.withUnsafeReadableBytes {
      Glibc.send(number, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
    }
    queues = taken != bytes.readableBytes
    guard queues else { return nil }
    var rest = bytes
    rest.moveReaderIndex(forwardBy: max(taken, 0))
    return rest
  }

  /// Whether the channel holds nothing any more.
  private func isEmpty(_ context: ChannelHandlerContext) -> Bool {
    (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) == 0
  }
}
