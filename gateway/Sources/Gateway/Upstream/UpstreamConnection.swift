import Glibc
import NIOCore

/// Why an upstream connection ended before its answer.
enum UpstreamFailure: Equatable {
  /// Not one byte of the request was delivered: it cannot have run.
  case notDelivered(String)
  /// The pod broke the connection off.
  case broken(String)
  /// The pod answered something that is not HTTP.
  case badResponse(String)
}

/// A reserved slot: given back exactly once, when the pod answered or the connection is closed.
struct Lease {
  let dispatcher: FunctionDispatcher
  let request: RequestID
}

/// One connection to one start of a pod, on one event loop: idle in the pool, carrying a call, or abandoned.
///
/// Isolation: everything happens on the channel's event loop.
final class UpstreamConnection: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private enum State {
    case idle
    case busy(Call)
    /// The gateway gave the call up; the slot stays taken until the pod ends it.
    case abandoned(Lease)
    case tunnel
    case closed
  }

  let start: PodStart
  /// Calls its pod takes at once: as many connections are worth keeping.
  let concurrency: Int
  /// Where it is taken back to, from its opening to its end.
  var pool: UpstreamPool?
  /// The pool's: the connections to its pod, and its place among those in use.
  var lane: UpstreamPool.Lane?
  var place: Int?
  private var state = State.idle
  /// Whether its bytes go to a socket as they are.
  private let isPlain: Bool
  private var socket = PlainSocket()
  private var context: ChannelHandlerContext?
  private var isActive = false
  private var failure: UpstreamFailure?
  private var readHeld = false
  /// Whether bytes of the current request were taken by the kernel.
  private(set) var delivered = false
  /// The head of a request without a body, until it is sent out.
  private var unsent: ByteBuffer?
  /// What was read and not understood yet.
  private var input = ByteBuffer()
  private var lines = HeadLines(hasStartLine: true)
  /// The body of the answer whose head was read.
  private var body: BodyReader?
  /// When bytes, or their end, came last: one look at the clock for all that follows from them.
  private var readAt: Int64 = 0

  init(start: PodStart, concurrency: Int, isPlain: Bool = false) {
    self.start = start
    self.isPlain = isPlain
    self.concurrency = concurrency
  }

  var isOpen: Bool {
    if case .closed = state { return false }
    return isActive
  }

  var isIdle: Bool {
    if case .idle = state { return input.readableBytes == 0 }
    return false
  }

  /// Whether the kernel still takes bytes.
  var isWritable: Bool { context?.channel.isWritable ?? false }

  var channel: (any Channel)? { context?.channel }

  // MARK: sending

  /// Starts a call: from now on it gets the answer.
  func begin(_ call: Call, head: ByteBuffer) {
    state = .busy(call)
    delivered = false
    failure = nil
    lines.reset()
    body = nil
    guard let context else { return }
    guard call.request.framing != .none else { return unsent = head }
    socket.queued()
    // With a body behind it a flush may take more than one write, of which a later one may fail.
    let sent = context.eventLoop.makePromise(of: Void.self)
    sent.futureResult.assumeIsolated().whenSuccess { [self] in delivered = true }
    context.write(wrapOutboundOut(head), promise: sent)
  }

  /// Writes bytes of the current request's body.
  func send(_ bytes: ByteBuffer) {
    socket.queued()
    context?.write(wrapOutboundOut(bytes), promise: nil)
  }

  /// Sends out what was written. A dead connection is closed by that, and nothing counts as delivered.
  func flush() {
    guard let context else { return }
    if let head = unsent {
      unsent = nil
      guard let rest = socket.send(head, context) else { return delivered = true }
      context.writeAndFlush(wrapOutboundOut(rest), promise: nil)
    } else {
      context.flush()
    }
    if context.channel.isActive { delivered = true }
  }

  /// Reads on after the client took what was held.
  func resumeReading() {
    guard readHeld, let context else { return }
    readHeld = false
    context.read()
  }

  // MARK: ending

  /// The answer is complete: the connection belongs to the pool again.
  func detach() { state = .idle }

  /// The gateway gives the call up. The pod sees the end of its input and has a second to close; until it does,
  /// the slot stays taken.
  func abandon(_ lease: Lease) {
    state = .abandoned(lease)
    unsent = nil
    // Not a byte was sent: there is nothing the pod has to let go of.
    guard let context, context.channel.isActive, delivered else { return close() }
    resumeReading()
    // The end of the input waits behind what was not sent yet.
    context.flush()
    context.close(mode: .output).assumeIsolated().whenFailure { [weak self] _ in self?.close() }
    let late = context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(GatewayLimits.abandonMilliseconds)) {
      [weak self] in
      guard let self, case .abandoned(let lease) = self.state else { return }
      lease.dispatcher.quarantine(lease.request)
    }
    context.channel.closeFuture.assumeIsolated().whenComplete { _ in late.cancel() }
  }

  /// Hands the channel over to a byte tunnel; the slot is the tunnel's from now on.
  func becomeTunnel() { state = .tunnel }

  /// What was read behind the 101, for the tunnel.
  func takeRest() -> ByteBuffer {
    defer { input = ByteBuffer() }
    return input
  }

  func close() { context?.close(promise: nil) }

  /// Closes a connection whose pod is gone: an answer that is on it is cut off, not complete.
  func cut() {
    if failure == nil { failure = .broken("its pod is gone") }
    close()
  }

  // MARK: channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    guard context.channel.isActive else { return }
    opened(context)
    context.read()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    socket.close()
    self.context = nil
  }

  func channelActive(context: ChannelHandlerContext) {
    opened(context)
    context.fireChannelActive()
    context.read()
  }

  private func opened(_ context: ChannelHandlerContext) {
    isActive = true
    if isPlain { socket.open(context) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
    readAt = monotonicNow()
    do throws(ParseFailure) {
      while try step() {}
    } catch {
      if failure == nil { failure = .badResponse(error.message) }
      context.close(promise: nil)
    }
    // What was read is let go, so that its room can be read into again.
    if input.readableBytes == 0 { input = ByteBuffer() }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if case .busy(let call) = state, !call.upstreamReadComplete() {
      readHeld = true
    } else if isActive {
      context.read()
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if case .busy(let call) = state, context.channel.isWritable { call.upstreamWritable() }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if failure == nil { failure = isRefusal(error) ? .notDelivered("its start failed") : .broken("\(error)") }
    context.close(promise: nil)
  }

  /// Whether a pod that was still starting never read the request that waited in its socket: the kernel resets a unix
  /// socket that ends with bytes unread, and only such a one (unix_release_sock in Linux' net/unix/af_unix.c). The bytes
  /// of an early request are few enough that a pod that reads them reads all.
  private func isRefusal(_ error: any Error) -> Bool {
    guard isPlain, case .busy(let call) = state, call.assignment?.isEarly == true else { return false }
    return (error as? IOError)?.errnoCode == ECONNRESET
  }

  func channelInactive(context: ChannelHandlerContext) {
    isActive = false
    socket.close()
    unsent = nil
    readAt = monotonicNow()
    // Bodies without a length end here.
    if case .busy(let call) = state, failure == nil, body?.endsWithConnection == true {
      call.upstreamEnd(nil, at: readAt)
    }
    let was = state
    state = .closed
    pool?.forget(self)
    pool = nil
    switch was {
    case .busy(let call):
      let reason = failure ?? .broken("the connection was closed")
      if !delivered, case .broken(let text) = reason {
        call.upstreamFailed(.notDelivered(text))
      } else {
        call.upstreamFailed(reason)
      }
    case .abandoned(let lease): _ = lease.dispatcher.finish(lease.request, suspect: false)
    case .idle, .tunnel, .closed: break
    }
    context.fireChannelInactive()
  }

  // MARK: the answer

  /// Takes one piece of an answer out of what was read; false when there is none.
  private func step() throws(ParseFailure) -> Bool {
    switch state {
    case .tunnel, .closed: return false
    case .idle:
      // A pod that speaks without being asked cannot be understood any more.
      if input.readableBytes > 0 { throw ParseFailure("bytes that nobody asked for") }
      return false
    case .busy, .abandoned: break
    }
    guard input.readableBytes > 0 else { return false }
    // What came before the request was sent is no answer to it.
    guard delivered else {
      failure = .notDelivered("it spoke before it was asked")
      input.clear()
      close()
      return false
    }
    guard let piece = try body?.next(&input) else { return try readHead() }
    switch piece {
    case .more: return false
    case .bytes(let bytes):
      if case .busy(let call) = state { call.upstreamBody(bytes) }
      if body?.isEnded ?? false { ended(nil) }
    case .end(let trailers): ended(trailers)
    }
    return true
  }

  private func readHead() throws(ParseFailure) -> Bool {
    let call: Call?
    if case .busy(let busy) = state { call = busy } else { call = nil }
    let result: Result<(ResponseHead, Int)?, ParseFailure> = input.withUnsafeReadableBytes { bytes in
      do throws(ParseFailure) {
        guard let end = try lines.read(bytes) else { return .success(nil) }
        let head = try ResponseHead(lines, bytes, toHEAD: call?.request.isHEAD ?? false)
        if !head.isInterim, head.status != 101 || call?.mayUpgrade ?? false {
          call?.upstreamHead(head, lines, bytes, at: readAt)
        }
        return .success((head, end))
      } catch { return .failure(error) }
    }
    guard let (head, end) = try result.get() else { return false }
    input.moveReaderIndex(forwardBy: end)
    lines.reset()
    if head.isInterim { return true }
    if head.status == 101 {
      // One that nobody asked for, or before the request was complete, has no meaning.
      guard let call, call.mayUpgrade else { throw ParseFailure("a 101 that nobody asked for") }
      call.switchProtocols()
      return false
    }
    let reader = BodyReader(head.framing)
    body = reader
    if reader.isEnded { ended(nil) }
    return true
  }

  private func ended(_ trailers: ByteBuffer?) {
    switch state {
    case .busy(let call): call.upstreamEnd(trailers, at: readAt)
    // The pod answered after all, into the void; its slot is free once the connection is closed.
    case .abandoned: close()
    case .idle, .tunnel, .closed: break
    }
  }
}
