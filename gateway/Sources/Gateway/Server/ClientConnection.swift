import ClusterAPI
import ClusterModel
import DequeModule
import NIOCore
import NIOHTTP1
import NIOPosix

/// One client connection: requests one after the other, each becoming a call.
///
/// Isolation: everything happens on the channel's event loop. Reading is asked for explicitly, so that a body is read
/// only as fast as the function takes it.
final class ClientConnection: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  enum Phase {
    /// Between two requests.
    case idle
    /// A request is being answered; `ended` once its last byte was read.
    case active(ended: Bool)
    /// Answered for the last time; what still comes is thrown away until the client closes.
    case lingering
    case tunnel
    case closed
  }

  let services: GatewayServices
  let loop: GatewayLoop
  var context: ChannelHandlerContext?
  var phase = Phase.idle
  var call: Call?
  var closeAfterAnswer = false
  /// Answered while the rest of a small body is still read and thrown away; the connection goes on after it.
  var answeredEarly = false
  /// The decoder reads nothing behind a request for an upgrade; nothing more is read for it either.
  private var decoderStopped = false
  var head: HTTPRequestHead?
  // What was parsed behind the current request; not more than one read, because reading stops.
  var pipelined: Deque<HTTPServerRequestPart> = []
  private var readHeld = false
  /// Whether a part was decoded since the last end of a read: if not, what was read began a head.
  private var sawPart = false
  private var headStarted: Int64?
  private var callDeadline: Int64?
  private var lastRead: Int64 = 0
  var idleSince: Int64
  /// Whether the last answer was taken by the kernel; the connection lingers from then on.
  var answerSent = false
  /// Until when the rest of a body whose request was answered early may come.
  var earlyUntil: Int64?
  private var timerAt: Int64?

  init(services: GatewayServices, loop: GatewayLoop) {
    self.services = services
    self.loop = loop
    idleSince = monotonicNow()
  }

  // MARK: channel

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    let open = services.metrics.clientConnected()
    loop.clients[ObjectIdentifier(self)] = self
    if open > services.configuration.connectionsMax {
      return refuse(.noCapacity, "this gateway holds \(open) connections already")
    }
    armTimer()
    context.read()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    sawPart = true
    let part = unwrapInboundIn(data)
    // What came before and waits has its turn first.
    if pipelined.isEmpty { take(part) } else { pipelined.append(part) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    lastRead = monotonicNow()
    call?.flushUpstream()
    context.flush()
    if case .idle = phase, headStarted == nil, pipelined.isEmpty, !sawPart {
      headStarted = lastRead
      armTimer()
    }
    sawPart = false
    readHeld = true
    readMore()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    guard context.channel.isWritable else { return }
    call?.clientWritable()
    if case .idle = phase { takePipelined() }
  }

  func channelInactive(context: ChannelHandlerContext) {
    closed()
    context.fireChannelInactive()
  }

  private func closed() {
    if case .closed = phase { return }
    services.metrics.clientDisconnected()
    loop.clients[ObjectIdentifier(self)] = nil
    phase = .closed
    call?.clientGone()
    call = nil
    pipelined = []
  }

  /// The gateway shuts down: a connection between two requests is closed, others close after their answer.
  func drain() {
    if case .idle = phase, headStarted == nil { context?.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let parse = error as? HTTPParserError else {
      context.close(promise: nil)
      return
    }
    // The end of the connection inside a head or body: the client is gone, there is nobody to tell.
    if parse == .invalidEOFState || parse == .closedConnection {
      context.close(promise: nil)
      return
    }
    let code: CallErrorCode = parse == .headerOverflow ? .headTooLarge : .badRequest
    let message = parse == .headerOverflow ? "the request head is too large" : "this is not HTTP/1.1: \(parse)"
    switch phase {
    case .idle: refuse(code, message)
    case .active(ended: false): call?.requestBroken(.badRequest, message)
    case .active(ended: true): closeAfterAnswer = true
    case .lingering, .tunnel, .closed: break
    }
  }

  // MARK: requests

  private func take(_ part: HTTPServerRequestPart) {
    switch (phase, part) {
    case (.idle, .head(let head)):
      headStarted = nil
      begin(head)
    case (.active(ended: false), .body(let body)): call?.body(body)
    case (.active(ended: false), .end(let trailers)):
      phase = .active(ended: true)
      call?.end(trailers: trailers)
      if answeredEarly { nextRequest() }
    case (.active(ended: true), _): pipelined.append(part)
    // The decoder gives no such order; if it ever did, guessing would join one request to another's body.
    case (.idle, _), (.active(ended: false), .head): context?.close(promise: nil)
    case (.lingering, _), (.tunnel, _), (.closed, _): break
    }
  }

  private func begin(_ head: HTTPRequestHead) {
    self.head = head
    phase = .active(ended: false)
    decoderStopped = head.headers.contains(name: "upgrade") && HeaderRules.named(in: head.headers).contains("upgrade")
    closeAfterAnswer = !head.isKeepAlive || services.isDraining || decoderStopped
    let now = monotonicNow()
    lastRead = now
    let accepted: RequestRules.Accepted
    do {
      accepted = try RequestRules.check(head)
    } catch {
      closeAfterAnswer = true
      return refuse(error.code, error.message)
    }
    switch FunctionTarget.parse(accepted.target) {
    case .malformed(let why): refuse(.badRequest, why)
    case .unknown: refuse(.functionNotFound, "nothing is served here; functions are at /function/NAME")
    case .health: answerHealth()
    case .function(let target): route(head, accepted, target, now)
    }
  }

  private func route(
    _ head: HTTPRequestHead, _ accepted: RequestRules.Accepted, _ target: FunctionTarget, _ now: Int64
  ) {
    let found = services.table.dispatcher(target.key)
    guard let dispatcher = found, dispatcher.route.isPublic || !services.configuration.publicOnly else {
      if !services.table.loaded {
        return refuse(.noControlPlane, "this gateway has not heard from the control plane yet", target)
      }
      let hint = found == nil ? "" : " is public; mark it `public: true` to have it answer beyond its own machine"
      return refuse(
        .functionNotFound, "no function \"\(target.function)\" in namespace \"\(target.namespace)\"\(hint)", target)
    }
    let route = dispatcher.route
    if case .length(let length) = accepted.framing, length > route.maxBody {
      return refuse(.bodyTooLarge, "the body is larger than \(route.maxBody) bytes (maxBody)", target)
    }
    let expects = head.headers["expect"]
    if let other = expects.first(where: { $0.lowercased() != "100-continue" }) {
      return refuse(.badRequest, "the expectation \"\(other)\" cannot be met", target)
    }
    var upgrade = upgradeProtocol(head)
    if upgrade?.lowercased().hasPrefix("h2") == true { upgrade = nil }
    var generator = SystemRandomNumberGenerator()
    let request = CallRequest(
      method: head.method, version: head.version, target: target, route: route,
      originalPath: Self.withoutQuery(accepted.target), headers: head.headers, host: accepted.host,
      framing: accepted.framing, callID: callID(head), traceparent: traceparent(head, &generator),
      remoteAddress: context?.channel.remoteAddress?.ipAddress ?? "unknown",
      forwardedProto: services.configuration.serverTLS == nil ? "http" : "https",
      expectsContinue: !expects.isEmpty && head.version == .http1_1 && accepted.framing != .none, upgrade: upgrade,
      keepAlive: !closeAfterAnswer, arrived: now, arrivedAt: .now())
    let call = Call(
      request: request, client: self, dispatcher: dispatcher, services: services,
      pool: loop.pool, eventLoop: loop.eventLoop)
    self.call = call
    services.callStarted()
    call.start()
  }

  private func upgradeProtocol(_ head: HTTPRequestHead) -> String? {
    head.version == .http1_1 && decoderStopped ? head.headers.first(name: "upgrade") : nil
  }

  private func callID(_ head: HTTPRequestHead) -> String {
    if let own = head.headers.first(name: "x-call-id"), HeaderRules.isCallID(own) { return own }
    return UUIDv7.make()
  }

  private func traceparent(_ head: HTTPRequestHead, _ generator: inout SystemRandomNumberGenerator) -> String {
    let given = head.headers["traceparent"]
    if given.count == 1, HeaderRules.isTraceparent(given[0]) { return given[0] }
    return HeaderRules.makeTraceparent(using: &generator)
  }

  static func withoutQuery(_ target: String) -> String {
    target.utf8.firstIndex(of: UInt8(ascii: "?")).map { String(target[..<$0]) } ?? target
  }

  /// A request was answered and read to its end: the next one may come.
  func nextRequest() {
    phase = .idle
    call = nil
    head = nil
    answeredEarly = false
    earlyUntil = nil
    callDeadline = nil
    idleSince = monotonicNow()
    if pipelined.isEmpty {
      if services.isDraining { context?.close(promise: nil) } else { readMore() }
    } else {
      // Not from inside the decoder or the pool's bookkeeping: the next call starts on a clean stack.
      loop.eventLoop.assumeIsolated().execute { [self] in takePipelined() }
    }
  }

  private func takePipelined() {
    while !pipelined.isEmpty {
      switch phase {
      case .active(ended: true): return flushAll()
      case .idle where !clientIsWritable: return flushAll()
      default: take(pipelined.removeFirst())
      }
    }
    flushAll()
  }

  private func flushAll() {
    call?.flushUpstream()
    context?.flush()
    readMore()
  }

  /// Reads on if somebody takes what comes.
  func readMore() {
    guard readHeld, let context else { return }
    switch phase {
    case .lingering: break
    // Answers that nobody takes hold further requests up.
    case .idle: guard pipelined.isEmpty, clientIsWritable else { return }
    case .active(ended: true): guard pipelined.isEmpty, !decoderStopped else { return }
    case .active(ended: false): guard call?.wantsBody ?? true else { return }
    case .tunnel, .closed: return
    }
    readHeld = false
    context.read()
  }

  // MARK: time

  /// Limits the current call.
  func setDeadline(_ deadline: Int64) {
    callDeadline = deadline
    armTimer()
  }

  /// What is due next in this phase, nanoseconds.
  private var nextDue: Int64? {
    switch phase {
    case .idle:
      headStarted.map { $0 &+ GatewayLimits.headSeconds * 1_000_000_000 }
        ?? idleSince &+ GatewayLimits.keepAliveSeconds * 1_000_000_000
    case .active(ended: true): call == nil ? nil : callDeadline
    case .active(ended: false):
      min(
        call == nil ? earlyUntil ?? .max : callDeadline ?? .max,
        lastRead &+ GatewayLimits.bodyIdleSeconds * 1_000_000_000)
    case .lingering where answerSent: idleSince &+ GatewayLimits.lingerMilliseconds * 1_000_000
    case .lingering: idleSince &+ GatewayLimits.answerStallSeconds * 1_000_000_000
    case .tunnel, .closed: nil
    }
  }

  /// One timer a connection: it is set anew only when something is due before it fires.
  func armTimer() {
    guard let due = nextDue, due < timerAt ?? .max, let context else { return }
    timerAt = due
    context.eventLoop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(UInt64(max(0, due)))) { [weak self] in
      guard let self, self.timerAt == due else { return }
      self.timerAt = nil
      self.checkTime(monotonicNow())
      self.armTimer()
    }
  }

  private func checkTime(_ now: Int64) {
    guard let due = nextDue, due <= now else { return }
    switch phase {
    case .idle:
      if headStarted == nil { context?.close(promise: nil) } else { refuse(.requestTimeout, "the head took too long") }
    case .active(let ended):
      if let callDeadline, callDeadline <= now, let call { return call.timedOut() }
      guard !ended else { return }
      guard call != nil else {
        context?.close(promise: nil)
        return
      }
      if call?.awaitsBody ?? true {
        call?.requestBroken(.requestTimeout, "no byte of the body for \(GatewayLimits.bodyIdleSeconds) s")
      } else {
        lastRead = now
      }
    case .lingering: context?.close(promise: nil)
    case .tunnel, .closed: break
    }
  }

  /// The answer is out, but the client still sends: read and forget for a moment, so that no reset eats the answer.
  func linger() {
    answerSent = false
    phase = .lingering
    call = nil
    pipelined = []
    idleSince = monotonicNow()
    armTimer()
    readMore()
  }
}
