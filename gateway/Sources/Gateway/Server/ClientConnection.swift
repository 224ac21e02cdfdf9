import ClusterAPI
import ClusterModel
import NIOCore

/// One client connection: requests one after the other, each becoming a call.
///
/// What was read and has no taker yet stays in `input`; a piece is taken out when its turn comes, so that requests behind
/// one another keep their order. Isolation: everything happens on the channel's event loop. Reading is asked for
/// explicitly, so that a body is read only as fast as the function takes it. A stream of HTTP/2 has one of its own, for
/// its one request; its channel is the stream's.
final class ClientConnection: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

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

  static let everyMethod: StaticString = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

  let services: GatewayServices
  let loop: GatewayLoop
  /// The connection this is a stream of.
  let multiplexer: HTTP2Connection?
  /// Whether it came through the socket that only the server itself can open: its calls are those that were let in before.
  let isOwn: Bool
  /// Whether its bytes go to a socket as they are.
  private let isPlain: Bool
  var socket = PlainSocket()
  /// As its channel last said.
  private(set) var clientIsWritable = true
  var context: ChannelHandlerContext?
  var phase = Phase.idle
  var call: Call?
  /// A call for later whose body is read, or which is being made durable.
  var intake: AsyncIntake?
  /// A question for a result that was not answered yet.
  var lookup: ResultLookup?
  var closes = false
  /// Answered while the rest of a small body is still read and thrown away; the connection goes on after it.
  var answeredEarly = false
  /// Of the request that is being answered.
  var isHEAD = false
  /// What a refusal of its token says in `WWW-Authenticate`.
  var challenge: StaticString?
  /// The methods its path takes.
  var allowed = ClientConnection.everyMethod
  /// Whether it was made as AWS Lambda's clients make it.
  var invokes = false
  /// Whether its body is so small that it is cheaper to read it to its end than to close the connection.
  var bodyIsSmall = true
  /// What was read and not taken yet.
  var input = ByteBuffer()
  private(set) var lines = HeadLines(hasStartLine: true)
  private var body = BodyReader(.none)
  /// A request for an upgrade: what comes behind it is no request.
  private var holdsRest = false
  /// The function whose limits refuse the request that was read, until that is accounted for.
  var refusedBy: FunctionDispatcher?
  var address: ClientAddress?
  /// The pod it comes from; nil for all who are no pods.
  var caller: PodCaller?
  private var processing = false
  private var readHeld = false
  var headStarted: Int64?
  var callDeadline: Int64?
  var lastRead: Int64 = 0
  var idleSince: Int64
  /// Whether the last answer was taken by the kernel; the connection lingers from then on.
  var answerSent = false
  /// Until when the rest of a body whose request was answered early may come.
  var earlyUntil: Int64?
  var timerAt: Int64?
  var timer: Scheduled<Void>?

  init(
    services: GatewayServices, loop: GatewayLoop, stream multiplexer: HTTP2Connection? = nil, isOwn: Bool = false,
    isPlain: Bool = false
  ) {
    self.services = services
    self.loop = loop
    self.isOwn = isOwn
    self.isPlain = isPlain
    self.multiplexer = multiplexer
    idleSince = monotonicNow()
  }

  // MARK: channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    clientIsWritable = context.channel.isWritable
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    socket.close()
    self.context = nil
  }

  func channelActive(context: ChannelHandlerContext) {
    clientIsWritable = context.channel.isWritable
    if let multiplexer {
      multiplexer.opened(self, context.channel)
      return context.read()
    }
    if isPlain { socket.open(context) }
    let open = services.metrics.clientConnected()
    loop.clients[ObjectIdentifier(self)] = self
    if open > services.configuration.connectionsMax, !isOwn {
      // Behind TLS an answer would cost the handshake that there is no room for.
      guard isPlain else { return context.close(promise: nil) }
      return refuse(Refusal(.noCapacity, "this gateway holds \(open) connections already"))
    }
    armTimer()
    context.read()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
    lastRead = monotonicNow()
    process()
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    readHeld = true
    readMore()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    clientIsWritable = context.channel.isWritable
    guard clientIsWritable else { return }
    call?.clientWritable()
    if case .idle = phase { process() }
    readMore()
  }

  func channelInactive(context: ChannelHandlerContext) {
    closed()
    context.fireChannelInactive()
  }

  private func closed() {
    socket.close()
    if case .closed = phase { return }
    // A tunnel counts its client's end itself, also of one that left before it was dug.
    let isCounted = if case .tunnel = phase { false } else { true }
    // One whose body is complete is made durable all the same.
    if let intake, case .active(ended: false) = phase { refuse(intake, Refusal(.badRequest, "the client went away")) }
    intake = nil
    lookup = nil
    phase = .closed
    timer?.cancel()
    timer = nil
    if let multiplexer {
      multiplexer.closed(self)
    } else if isCounted {
      services.clientDisconnected()
      loop.clients[ObjectIdentifier(self)] = nil
    }
    call?.clientGone()
    call = nil
    input = ByteBuffer()
  }

  /// Leaves a connection that turned out to speak another protocol, before its first request; false when it cannot.
  func handOver() -> Bool {
    guard case .idle = phase, headStarted == nil else { return false }
    phase = .closed
    timer?.cancel()
    timer = nil
    loop.clients[ObjectIdentifier(self)] = nil
    return true
  }

  /// The gateway shuts down: a connection between two requests is closed, others close after their answer.
  func drain() {
    if case .idle = phase, headStarted == nil { closeWhenSent() }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  // MARK: requests

  /// Takes out of `input` what has its turn now, and sends it on its way.
  func process() {
    // A call may be over before its `start` returns; the loop below goes on with the next one then.
    guard !processing else { return }
    processing = true
    while step() {}
    // What ends inside the flush goes on by itself.
    processing = false
    call?.flushUpstream()
    // What was read is let go, so that its room can be read into again.
    if input.readableBytes == 0 { input = ByteBuffer() }
  }

  private func step() -> Bool {
    guard input.readableBytes > 0 else { return false }
    switch phase {
    // Answers that nobody takes hold further requests up.
    case .idle: return clientIsWritable && readHead()
    case .active(ended: false): return readBody()
    case .active(ended: true), .tunnel: return false
    case .lingering, .closed:
      input.clear()
      return false
    }
  }

  private func readBody() -> Bool {
    do throws(ParseFailure) {
      switch try body.next(&input) {
      case .more: return false
      case .bytes(let bytes):
        call?.body(bytes)
        if let intake { take(bytes, for: intake) }
        if body.isEnded { ended(nil) }
      case .end(let trailers): ended(trailers)
      }
    } catch {
      closes = true
      if let intake {
        refuse(intake, Refusal(.badRequest, "this is not HTTP/1.1: \(error.message)"))
        return true
      }
      guard let call else {
        context?.close(promise: nil)
        return false
      }
      call.requestBroken(.badRequest, "this is not HTTP/1.1: \(error.message)")
    }
    return true
  }

  /// The request was read to its end.
  private func ended(_ trailers: ByteBuffer?) {
    guard case .active(ended: false) = phase else { return }
    phase = .active(ended: true)
    call?.end(trailers: trailers)
    if let intake { ended(intake) }
    if answeredEarly { nextRequest(at: lastRead) }
  }

  private func readHead() -> Bool {
    // An empty line before a request is passed over, as RFC 9112 (2.2) asks of servers.
    if lines.lineStart == 0, input.getInteger(at: input.readerIndex, as: UInt16.self) == 0x0D0A {
      input.moveReaderIndex(forwardBy: 2)
      headStarted = nil
      return true
    }
    let reading = input.withUnsafeReadableBytes { read($0) }
    switch reading {
    case .incomplete:
      if headStarted == nil {
        headStarted = lastRead
        armTimer()
      }
      return false
    case .refused(let refusal, let text, let namespace, let length):
      begin(length)
      // Where a head cannot be read, neither can what follows.
      if length == nil { closes = true }
      refuse(refusal, text, namespace: namespace)
    case .health(let length):
      begin(length)
      answerHealth()
    case .call(let call, let length):
      begin(length)
      self.call = call
      services.callStarted()
      call.start()
    case .intake(let intake, let length):
      begin(length)
      begin(intake)
    case .lookup(let lookup, let length):
      begin(length)
      begin(lookup)
    case .dryRun(let words, let length):
      begin(length)
      answerDryRun(words)
    }
    if body.isEnded { ended(nil) }
    return true
  }

  /// A head was read; the body begins behind it.
  private func begin(_ length: Int?) {
    headStarted = nil
    lines.reset()
    if let length { input.moveReaderIndex(forwardBy: length) } else { input.clear() }
    phase = .active(ended: false)
  }

  /// Understands a head, and makes a call of it if it is for a function.
  private func read(_ bytes: UnsafeRawBufferPointer) -> Reading {
    var head = RequestHead()
    let length: Int
    do throws(ParseFailure) {
      guard let end = try lines.read(bytes) else { return .incomplete }
      length = end
    } catch {
      isHEAD = false
      bodyIsSmall = false
      return .refused(Refusal(error), CallText(method: "-", path: "-", call: UUIDv7.make()), namespace: "", length: nil)
    }
    do throws(Refusal) {
      try head.check(lines, bytes)
      note(head)
    } catch {
      closes = true
      isHEAD = head.isHEAD
      bodyIsSmall = false
      return .refused(error, words(head, bytes), namespace: "", length: length)
    }
    let meaning = FunctionTarget.parse(bytes, head.target, isAbsolute: head.isAbsolute)
    if let caller, let refusal = caller.refusal(of: meaning) {
      return .refused(refusal, words(head, bytes), namespace: caller.namespace, length: length)
    }
    switch meaning {
    case .malformed(let why):
      return .refused(Refusal(.badRequest, why), words(head, bytes), namespace: "", length: length)
    case .unknown:
      let refusal = Refusal(.functionNotFound, "nothing is served here; functions are at /function/NAME")
      return .refused(refusal, words(head, bytes), namespace: "", length: length)
    case .health: return .health(length)
    case .invoke(let target): return invocation(head, target, bytes, length: length)
    case .result(let call):
      let words = words(head, bytes)
      allowed = "GET, HEAD"
      do throws(Refusal) {
        return .lookup(try lookup(head, lines, call, bytes, words: words), length)
      } catch {
        return .refused(error, words, namespace: "", length: length)
      }
    case .async(let target):
      let words = words(head, bytes)
      allowed = "POST"
      do throws(Refusal) {
        let info = try found(head, target, bytes).1
        head.keepsAuthorization = info.needsToken
        return .intake(
          try intake(head, lines, target, bytes, words: words, info: info, client: client()), length)
      } catch {
        return .refused(error, words, namespace: target.namespace(bytes), length: length)
      }
    case .function(let target):
      do throws(Refusal) {
        return .call(try route(head, target, bytes), length)
      } catch {
        return .refused(error, words(head, bytes), namespace: namespace(of: target, bytes), length: length)
      }
    }
  }

  /// What the connection keeps of a request.
  private func note(_ head: RequestHead) {
    isHEAD = head.isHEAD
    allowed = Self.everyMethod
    challenge = nil
    invokes = false
    body = BodyReader(head.framing)
    holdsRest = head.upgrade != nil
    closes = !head.keepAlive || services.isDraining || holdsRest || multiplexer != nil
    bodyIsSmall =
      switch head.framing {
      case .none: true
      case .length(let length): length <= GatewayLimits.heldBody && !head.expectsContinue
      case .chunked, .close: false
      }
  }

  func words(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> CallText {
    let path = head.target.text(bytes).prefix { $0 != "?" }.prefix(1024)
    return CallText(
      method: head.method.isEmpty ? "-" : String(head.method.text(bytes).prefix(32)),
      path: path.isEmpty ? "-" : String(path),
      call: head.callID.map { $0.text(bytes) } ?? UUIDv7.make())
  }

  /// The function a request is for, if it may be called and the request is one it takes.
  /// With it what the caller grants the call, nanoseconds.
  func found(_ head: RequestHead, _ target: FunctionTarget, _ bytes: UnsafeRawBufferPointer) throws(Refusal)
    -> (FunctionDispatcher, RouteInfo, granted: Int64?)
  {
    let found = try dispatcher(of: target, bytes)
    let info = found?.info
    guard let dispatcher = found, let info else {
      if !services.table.loaded {
        throw Refusal(.noControlPlane, "this gateway has not heard from the control plane yet")
      }
      let name = target.function(bytes)
      throw Refusal(.functionNotFound, "no function \"\(name)\" in namespace \"\(namespace(of: target, bytes))\"")
    }
    if !isOwn, caller == nil, info.needsToken || (services.configuration.publicOnly && !info.route.isPublic) {
      do throws(Refusal) { try admit(lines, bytes, to: info.route) } catch {
        refusedBy = dispatcher
        throw error
      }
    }
    if case .length(let length) = head.framing, length > info.route.maxBody {
      refusedBy = dispatcher
      throw Refusal(.bodyTooLarge, "the body is larger than \(info.route.maxBody) bytes (maxBody)")
    }
    if let other = head.otherExpectation {
      refusedBy = dispatcher
      throw Refusal(.badRequest, "the expectation \"\(other.text(bytes))\" cannot be met")
    }
    guard let timeout = head.timeout else { return (dispatcher, info, nil) }
    guard let granted = CallTimeout.nanoseconds(timeout.of(bytes)) else {
      refusedBy = dispatcher
      throw Refusal(.badRequest, CallTimeout.rule)
    }
    return (dispatcher, info, granted)
  }

  func route(_ head: RequestHead, _ target: FunctionTarget, _ bytes: UnsafeRawBufferPointer) throws(Refusal)
    -> Call
  {
    let (dispatcher, info, granted) = try found(head, target, bytes)
    let upgrades = !invokes && head.upgrade.map { !ByteScan.starts($0.of(bytes), "h2") } ?? false
    var passed = head
    if !upgrades { passed.upgrade = nil }
    passed.keepsAuthorization = info.needsToken || invokes
    let time = Timestamp.now()
    loop.head.writeHead(passed, lines, target, bytes, client: client(), at: time, using: &loop.random)
    var request = CallRequest(
      info: info, isHEAD: head.isHEAD, isHTTP10: head.isHTTP10, framing: head.framing,
      expectsContinue: head.expectsContinue, upgrades: upgrades, keepAlive: !closes, arrived: lastRead, arrivedAt: time)
    if let granted { request.limit = lastRead &+ granted }
    request.invokes = invokes
    request.depth = try depth(to: dispatcher)
    return loop.makeCall(request, for: dispatcher, client: self, services: services)
  }

  /// A request was answered and read to its end: the next one may come.
  func nextRequest(at now: Int64) {
    phase = .idle
    call = nil
    answeredEarly = false
    earlyUntil = nil
    callDeadline = nil
    idleSince = now
    if input.readableBytes == 0 {
      if services.closesUnannounced { closeWhenSent() } else { readMore() }
    } else if !processing {
      // Not from inside the pool's bookkeeping: the next call starts on a clean stack.
      loop.eventLoop.assumeIsolated().execute { [self] in
        lastRead = monotonicNow()
        process()
        readMore()
      }
    }
  }

  /// Reads on if somebody takes what comes.
  func readMore() {
    guard readHeld, let context else { return }
    switch phase {
    case .lingering: break
    // Answers that nobody takes hold further requests up.
    case .idle: guard clientIsWritable else { return }
    // Requests behind the one that is answered wait; a few bytes of them, so that the client's leaving is seen.
    case .active(ended: true): guard input.readableBytes < GatewayLimits.pipelinedBytes, !holdsRest else { return }
    case .active(ended: false): guard call?.wantsBody ?? true else { return }
    case .tunnel, .closed: return
    }
    readHeld = false
    // The client's time begins when it may send.
    if case .active(ended: false) = phase { lastRead = monotonicNow() }
    context.read()
  }

  /// The answer is out, but the client still sends: read and forget for a moment, so that no reset eats the answer.
  func linger() {
    // The end of an answer may be the end of its channel.
    if case .closed = phase { return }
    answerSent = false
    phase = .lingering
    call = nil
    input = ByteBuffer()
    idleSince = monotonicNow()
    armTimer()
    readMore()
  }
}
