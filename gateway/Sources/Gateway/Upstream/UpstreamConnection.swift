import NIOCore
import NIOHTTP1

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
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  private enum State {
    case idle
    case busy(Call)
    /// The gateway gave the call up; the slot stays taken until the pod ends it.
    case abandoned(Lease)
    case tunnel
    case closed
  }

  let key: PodKey
  /// Calls its pod takes at once: as many connections are worth keeping.
  let concurrency: Int
  weak var pool: UpstreamPool?
  private var state = State.idle
  private var context: ChannelHandlerContext?
  private var failure: UpstreamFailure?
  private var readHeld = false
  /// Whether the head of the current request was taken by the kernel.
  private(set) var delivered = false

  init(key: PodKey, concurrency: Int) {
    self.key = key
    self.concurrency = concurrency
  }

  var isOpen: Bool {
    if case .closed = state { return false }
    return context?.channel.isActive ?? false
  }

  var isIdle: Bool {
    if case .idle = state { return true }
    return false
  }

  /// Whether the kernel still takes bytes.
  var isWritable: Bool { context?.channel.isWritable ?? false }

  var channel: (any Channel)? { context?.channel }

  // MARK: sending

  /// Starts a call: from now on it gets the answer.
  func begin(_ call: Call, head: HTTPRequestHead) {
    state = .busy(call)
    delivered = false
    failure = nil
    guard let context else { return }
    let sent = context.eventLoop.makePromise(of: Void.self)
    sent.futureResult.assumeIsolated().whenSuccess { [weak self] in self?.delivered = true }
    context.write(wrapOutboundOut(.head(head)), promise: sent)
  }

  func send(body: ByteBuffer) {
    context?.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
  }

  func sendEnd(trailers: HTTPHeaders?) {
    context?.write(wrapOutboundOut(.end(trailers)), promise: nil)
  }

  func flush() { context?.flush() }

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
    guard let context, context.channel.isActive else { return close() }
    readHeld = false
    context.read()
    context.close(mode: .output).assumeIsolated().whenFailure { [weak self] _ in self?.close() }
    context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(GatewayLimits.abandonMilliseconds)) {
      [weak self] in
      guard let self, case .abandoned(let lease) = self.state else { return }
      lease.dispatcher.quarantine(lease.request)
    }
  }

  /// Hands the channel over to a byte tunnel; the slot is the tunnel's from now on.
  func becomeTunnel() { state = .tunnel }

  func close() { context?.close(promise: nil) }

  // MARK: channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if context.channel.isActive { context.read() }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    context.fireChannelActive()
    context.read()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let part = unwrapInboundIn(data)
    switch state {
    case .busy(let call):
      switch part {
      case .head(let head): call.upstreamHead(head)
      case .body(let body): call.upstreamBody(body)
      case .end(let trailers): call.upstreamEnd(trailers)
      }
    case .abandoned:
      // The pod answered after all, into the void; its slot is free once the connection is closed.
      if case .end = part { context.close(promise: nil) }
    case .idle: context.close(promise: nil)
    case .tunnel, .closed: break
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if case .busy(let call) = state, !call.upstreamReadComplete() {
      readHeld = true
    } else if context.channel.isActive {
      context.read()
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if case .busy(let call) = state, context.channel.isWritable { call.upstreamWritable() }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if failure == nil {
      switch error as? HTTPParserError {
      case nil, .invalidEOFState, .closedConnection: failure = .broken("\(error)")
      case .some(let parse): failure = .badResponse("\(parse)")
      }
    }
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    let was = state
    state = .closed
    pool?.forget(self)
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
}
