import NIOCore
import NIOHPACK
import NIOHTTP2

/// Stands between a stream and the `ClientConnection` that serves it: frames towards the client, HTTP/1.1 behind.
///
/// One request a stream. What closes a connection there ends the stream here, and nothing else: an answer that is
/// complete while the request is not resets with NO_ERROR, one that is broken off with INTERNAL_ERROR.
final class HTTP2Stream: ChannelDuplexHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = HTTP2Frame.FramePayload

  private let connection: HTTP2Connection
  private var request = StreamRequest()
  private var answer = StreamAnswer()
  private var isReset = false
  /// When the end of the answer was taken by the kernel.
  private var endSent: EventLoopFuture<Void>?

  init(connection: HTTP2Connection) { self.connection = connection }

  // MARK: the request

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isReset else { return }
    do throws(StreamFault) {
      switch unwrapInboundIn(data) {
      case .headers(let frame) where !request.isBegun:
        let head = try request.head(frame.headers, endStream: frame.endStream)
        context.fireChannelRead(wrapInboundOut(head))
      case .headers(let frame):
        guard frame.endStream else { throw StreamFault("trailers that do not end the stream") }
        if let bytes = try request.trailers(frame.headers) { context.fireChannelRead(wrapInboundOut(bytes)) }
      case .data(let frame):
        guard case .byteBuffer(let bytes) = frame.data else { return }
        try request.data(bytes, endStream: frame.endStream) { context.fireChannelRead(wrapInboundOut($0)) }
      default: break
      }
    } catch {
      reset(context, .protocolError)
      connection.streamFaulted()
    }
  }

  // MARK: the answer

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isReset else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    do throws(ParseFailure) {
      let parts = try answer.take(unwrapOutboundIn(data), toHEAD: request.isHEAD)
      for part in parts {
        switch part {
        case .headers(let headers, let end):
          let frame = HTTP2Frame.FramePayload.headers(.init(headers: headers, endStream: end))
          context.write(wrapOutboundOut(frame), promise: end ? makeEnd(context) : nil)
        case .data(let bytes, let end):
          let frame = HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(bytes), endStream: end))
          context.write(wrapOutboundOut(frame), promise: end ? makeEnd(context) : nil)
        }
      }
      // The last bytes of an answer may make no frame: then its end went with those before them.
      if let endSent { endSent.cascade(to: promise) } else { promise?.succeed() }
    } catch {
      promise?.fail(error)
      reset(context, .internalError)
    }
  }

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    guard !isReset else {
      promise?.fail(ChannelError.alreadyClosed)
      return
    }
    if answer.isEnded, request.isEnded {
      // Over, or nobody takes the end of the answer.
      context.close(mode: .all, promise: promise)
    } else {
      reset(context, answer.isEnded ? .noError : .internalError)
      promise?.succeed()
    }
  }

  private func makeEnd(_ context: ChannelHandlerContext) -> EventLoopPromise<Void> {
    let promise = context.eventLoop.makePromise(of: Void.self)
    endSent = promise.futureResult
    return promise
  }

  private func reset(_ context: ChannelHandlerContext, _ code: HTTP2ErrorCode) {
    isReset = true
    context.writeAndFlush(wrapOutboundOut(.rstStream(code)), promise: nil)
  }
}
