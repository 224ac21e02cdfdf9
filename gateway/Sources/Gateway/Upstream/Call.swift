import ClusterAPI
import ClusterModel
import NIOCore

/// The client's end of a call, as the call sees it. All on the connection's event loop.
protocol CallClient: AnyObject {
  /// Whether the kernel still takes bytes for the client.
  var clientIsWritable: Bool { get }
  /// The connection ends with this answer.
  func closeAfterAnswer()
  /// Writes a part of the answer: framed bytes.
  func answer(_ bytes: ByteBuffer)
  /// Writes the last part of the answer and sends it out; the call is over.
  func answerEnd(_ bytes: ByteBuffer, at now: Int64)
  /// Sends out what was written.
  func flushAnswer()
  /// Answers with a platform error; the call is over.
  func answer(error code: CallErrorCode, message: String, component: String, record: CallRecord)
  /// Breaks the answer off; the call is over.
  func abortAnswer()
  /// Tells the client to send its body.
  func sendContinue()
  /// The call takes more of the body.
  func readMore()
  /// The time by which the call must be over, nanoseconds.
  func setDeadline(_ deadline: Int64)
  /// Turns both connections into a tunnel after a 101.
  func tunnel(to upstream: UpstreamConnection, lease: Lease)
}

/// One request on its way: waits for a slot, goes to a pod, comes back, is accounted for. Ends exactly once; may be used
/// for another request after that.
///
/// Isolation: everything on the client connection's event loop.
final class Call {
  enum Phase {
    /// In the queue, or its assignment is on the way to this loop.
    case waiting
    /// A slot is reserved, a connection is being opened.
    case connecting
    /// The request is on a connection.
    case forwarding(UpstreamConnection)
    /// The client got its answer, or is gone.
    case done
  }

  /// Parts of a body up to this size are copied behind the head, so that one write sends both.
  static let copiedBytes = 16 * 1024
  /// Bytes of an answer that gather before they are written.
  static let answerBytes = 32 * 1024

  let services: GatewayServices
  let loop: GatewayLoop
  var request: CallRequest
  var client: (any CallClient)?
  var dispatcher: FunctionDispatcher
  var record: CallRecord
  var phase = Phase.done
  var requestID: RequestID = 0
  var assignment: Assignment?
  var requestEnded = false
  var responseStarted = false
  var upstreamKeepAlive = false
  /// Bytes of the answer that were not handed to the client's connection.
  var answer = ByteBuffer()
  /// Whether the answer's body is chunked towards the client.
  var chunks = false
  /// Whether nobody but the client's and the pod's connection ever referred to it.
  private(set) var isLoneReference = true
  private var replays = 0
  private var trailers: ByteBuffer?
  /// Where the head for the pod ends that the deadline is added to.
  private var headEnd = 0
  private var held: [ByteBuffer] = []
  private var heldBytes = 0
  /// Whether the last of `held` is our own copy that takes more.
  private var lastHeldIsCopy = false
  /// When the call must be over, nanoseconds; `Int64.max` while only the queue bounds it.
  var totalDue = Int64.max
  /// When the pod must have begun its answer, or gone on with it, nanoseconds; `Int64.max` while nothing asks for that.
  var stageDue = Int64.max
  /// When the last bytes of the answer came, nanoseconds; kept only where `responseIdle` is set.
  var lastPiece: Int64 = 0
  // False once a part of the body was sent and is not held any more.
  private var replayable = true
  private var continueSent = false
  private var waitingSince: Int64 = 0
  /// When the call must be over, epoch milliseconds: of its first pod, also for a later one.
  private var deadline: Int64 = 0

  /// The pod whose chain of calls this one makes longer; nil for a call from outside.
  private var chained: String?

  // While `start` runs, its caller sends out what was written.
  private var starting = false

  /// A call of a request whose head stands in `loop.head`.
  init(
    _ request: CallRequest, for dispatcher: FunctionDispatcher, client: any CallClient, services: GatewayServices,
    loop: GatewayLoop
  ) {
    self.services = services
    self.loop = loop
    self.request = request
    self.dispatcher = dispatcher
    record = CallRecord(time: request.arrivedAt, text: CallText())
    take(request, for: dispatcher, client: client)
  }

  var pool: UpstreamPool { loop.pool }
  var lease: Lease { Lease(dispatcher: dispatcher, request: requestID) }

  /// Takes a request whose head stands in `loop.head`; the room of the last one's head goes to the loop.
  func take(_ request: CallRequest, for dispatcher: FunctionDispatcher, client: any CallClient) {
    self.request = request
    self.dispatcher = dispatcher
    self.client = client
    var text = CallText()
    swap(&text, &record.text)
    swap(&text, &loop.head)
    headEnd = text.bytes.writerIndex
    record = CallRecord(time: request.arrivedAt, text: text)
    record.info = request.info
    phase = .waiting
    assignment = nil
    requestEnded = false
    responseStarted = false
    upstreamKeepAlive = false
    chunks = false
    replays = 0
    trailers = nil
    heldBytes = 0
    lastHeldIsCopy = false
    replayable = true
    continueSent = false
    totalDue = .max
    stageDue = .max
    waitingSince = request.arrived
  }

  private func makeWaiter() -> FunctionDispatcher.Waiter {
    isLoneReference = false
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    return FunctionDispatcher.Waiter(loop: loop.eventLoop) { bound.value.receive($0) }
  }

  // MARK: the client's side

  /// Takes a free slot, or enters the function's queue. What is written to a pod meanwhile waits for `flushUpstream`.
  func start() {
    starting = true
    defer { starting = false }
    if let (id, assignment) = dispatcher.reserve(now: request.arrived) {
      requestID = id
      return receive(.assigned(assignment))
    }
    if request.limit != .max {
      totalDue = request.limit
      client?.setDeadline(totalDue)
    }
    let (id, delivery) = dispatcher.arrive(makeWaiter(), whole: request.framing == .none && !request.upgrades)
    requestID = id
    if let delivery { receive(delivery) }
  }

  /// Whether the client should be read.
  var wantsBody: Bool {
    switch phase {
    case .waiting, .connecting: heldBytes < GatewayLimits.heldBody
    case .forwarding(let upstream): upstream.isWritable
    case .done: true
    }
  }

  /// Whether the client was asked for its body, so that it is to blame when nothing comes.
  var awaitsBody: Bool {
    if case .forwarding(let upstream) = phase { return upstream.isWritable }
    return false
  }

  /// A part of the body came.
  func body(_ part: ByteBuffer) {
    record.bytesIn += Int64(part.readableBytes)
    if record.bytesIn > request.info.route.maxBody {
      return giveUp(.bodyTooLarge, "the body is larger than \(request.info.route.maxBody) bytes (maxBody)")
    }
    hold(part)
    if case .forwarding(let upstream) = phase { send(part, on: upstream) }
  }

  /// The body is complete, with lines of trailers perhaps.
  func end(trailers: ByteBuffer?) {
    requestEnded = true
    self.trailers = trailers
    switch phase {
    case .forwarding(let upstream):
      sendEnd(on: upstream)
      awaitAnswer()
    case .waiting where isWhole: dispatcher.becameWhole(requestID)
    case .waiting, .connecting, .done: break
    }
  }

  /// Whether all of the request is held, in so few bytes that a pod reads them at once.
  private var isWhole: Bool { requestEnded && replayable && heldBytes <= Self.copiedBytes && !request.upgrades }

  /// Sends out what was forwarded.
  func flushUpstream() {
    if case .forwarding(let upstream) = phase { flush(upstream) }
  }

  /// The client takes bytes again.
  func clientWritable() {
    guard case .forwarding(let upstream) = phase else { return }
    noteProgress()
    upstream.resumeReading()
  }

  /// The client went away.
  func clientGone() {
    guard !isDone else { return }
    record.clientGone = true
    if record.status == 0 { record.status = 499 }
    stop()
    finishRecord()
  }

  /// The client did not send its body in time, or sent what is no HTTP.
  func requestBroken(_ code: CallErrorCode, _ message: String) { giveUp(code, message) }

  /// Whether a pod has the call at this moment, as far as anybody knows here.
  var isInPod: Bool {
    if case .forwarding = phase { return true }
    return false
  }

  var isDone: Bool {
    if case .done = phase { return true }
    return false
  }

  // MARK: the queue's side

  private func receive(_ delivery: Delivery) {
    if isDone {
      if case .assigned = delivery { _ = dispatcher.finish(requestID, suspect: false) }
      return
    }
    switch delivery {
    case .failed(let code, let message):
      noteWait(monotonicNow())
      fail(code, message)
    case .assigned(let assignment):
      // A slot that was free at once: not a moment was waited.
      let now = isLoneReference ? request.arrived : monotonicNow()
      noteWait(now)
      let isFirst = self.assignment == nil
      self.assignment = assignment
      if isFirst {
        let due = min(now &+ request.info.timeout, request.limit)
        deadline = request.arrivedAt.milliseconds + (due &- request.arrived) / 1_000_000
        totalDue = min(due &+ allowance, request.limit)
        client?.setDeadline(totalDue)
      }
      record.pod = assignment.start
      if request.depth > 0 { goIn(assignment.start.key.uid) }
      if assignment.cold { record.cold = true }
      send(assignment)
    }
  }

  /// Time that an early call has for its pod's start, nanoseconds.
  var allowance: Int64 { assignment?.isEarly == true ? GatewayLimits.earlyStartMilliseconds &* 1_000_000 : 0 }
  /// The pod is in the middle of a chain of calls from here on.
  private func goIn(_ uid: String) {
    goOut()
    chained = uid
    services.depths.enter(uid, depth: request.depth)
  }

  private func goOut() {
    guard let uid = chained else { return }
    chained = nil
    services.depths.leave(uid)
  }

  private func noteWait(_ now: Int64) { record.queued += Double(now &- waitingSince) / 1e6 }

  private func send(_ assignment: Assignment) {
    if let connection = pool.take(assignment.start) { return begin(on: connection) }
    phase = .connecting
    isLoneReference = false
    pool.connect(to: assignment) { [self] result in
      switch (result, isDone) {
      case (.success(let connection), false): begin(on: connection)
      case (.success(let connection), true):
        let keep = dispatcher.finish(requestID, suspect: false)
        pool.release(connection, keep: keep)
      case (.failure(let error), false): goBack("pod \(assignment.endpoint.pod) does not take connections: \(error)")
      case (.failure, true): _ = dispatcher.finish(requestID, suspect: true)
      }
    }
  }

  private func begin(on connection: UpstreamConnection) {
    phase = .forwarding(connection)
    record.text.writeDeadline(deadline, at: headEnd)
    connection.begin(self, head: record.text.bytes)
    for part in held { send(part, on: connection) }
    if requestEnded {
      sendEnd(on: connection)
      awaitAnswer()
    }
    if !starting { flush(connection) }
  }

  private func flush(_ connection: UpstreamConnection) {
    connection.flush()
    // The flush may have found the connection dead: then the call is somewhere else by now.
    guard case .forwarding(let current) = phase, current === connection else { return }
    if request.expectsContinue, !continueSent, !requestEnded, record.bytesIn == 0 {
      continueSent = true
      client?.sendContinue()
    }
    client?.readMore()
  }

  private func send(_ part: ByteBuffer, on upstream: UpstreamConnection) {
    guard request.framing == .chunked else { return upstream.send(part) }
    guard part.readableBytes > 0 else { return }
    var line = ByteBuffer()
    line.writeChunkSize(part.readableBytes)
    upstream.send(line)
    upstream.send(part)
    upstream.send(Self.lineEnd)
  }

  private func sendEnd(on upstream: UpstreamConnection) {
    guard request.framing == .chunked else { return }
    var last = ByteBuffer(staticString: "0\r\n")
    if let trailers { last.writeImmutableBuffer(trailers) }
    last.writeStaticString("\r\n")
    upstream.send(last)
  }

  private static let lineEnd = ByteBuffer(staticString: "\r\n")

  /// Back to the head of the queue: the request cannot have run, or may run again.
  private func goBack(_ why: String) {
    if chained != nil { goOut() }
    phase = .waiting
    stageDue = .max
    waitingSince = monotonicNow()
    record.retries += 1
    dispatcher.requeue(
      requestID, makeWaiter(), early: assignment?.isEarly ?? false,
      whole: isWhole || (request.framing == .none && !request.upgrades), why: why)
  }

  private func hold(_ part: ByteBuffer) {
    guard replayable else { return }
    if case .forwarding(let upstream) = phase {
      let mayReplay = request.info.route.idempotent || !upstream.delivered
      guard mayReplay, heldBytes + part.readableBytes <= GatewayLimits.heldBody else {
        replayable = false
        held = []
        return
      }
    }
    heldBytes += part.readableBytes
    // A slice keeps all alive that was read with it: small parts are copied behind one another.
    guard part.readableBytes <= Self.copiedBytes else {
      held.append(part)
      lastHeldIsCopy = false
      return
    }
    if held.isEmpty || !lastHeldIsCopy || (held.last?.readableBytes ?? 0) > Self.answerBytes {
      held.append(ByteBuffer())
      lastHeldIsCopy = true
    }
    held[held.count - 1].writeImmutableBuffer(part)
  }

  // MARK: the pod's side

  /// The pod's connection ended before its answer did.
  func upstreamFailed(_ failure: UpstreamFailure) {
    guard case .forwarding = phase else { return }
    let pod = assignment?.endpoint.pod ?? "?"
    switch failure {
    case .notDelivered(let why) where replayable && !responseStarted:
      return goBack("pod \(pod) closed before the request: \(why)")
    case .broken
    where replayable && !responseStarted && request.info.route.idempotent
      && replays < GatewayLimits.replays:
      replays += 1
      return goBack("pod \(pod) died during the call")
    default: break
    }
    var suspect = true
    var code = CallErrorCode.podCrashed
    var message = "pod \(pod) ended while it handled the call"
    if case .badResponse(let why) = failure {
      suspect = false
      code = .badResponse
      message = "pod \(pod) answered something that is not HTTP/1.1: \(why)"
    }
    if responseStarted { message += ", in the middle of its answer" }
    _ = dispatcher.finish(requestID, suspect: suspect)
    fail(code, message, component: "pod \(pod)")
  }

  // MARK: the end

  /// Answers with an error and gives up what runs.
  func giveUp(_ code: CallErrorCode, _ message: String, component: String = "gateway") {
    guard !isDone else { return }
    stop()
    conclude(code, message, component: component)
  }

  /// Answers with an error; the slot was given back already, or never taken.
  private func fail(_ code: CallErrorCode, _ message: String, component: String = "gateway") {
    guard !isDone else { return }
    phase = .done
    conclude(code, message, component: component)
  }

  private func conclude(_ code: CallErrorCode, _ message: String, component: String) {
    record.code = code
    record.message = message
    record.duration = Double(monotonicNow() &- request.arrived) / 1e6
    if responseStarted {
      sendAnswer()
      client?.abortAnswer()
    } else {
      record.status = code.status
      client?.answer(error: code, message: message, component: component, record: record)
    }
    finishRecord()
  }

  /// Leaves the queue, or abandons the connection; the slot is given back when the pod lets go of it.
  private func stop() {
    let was = phase
    phase = .done
    switch was {
    case .waiting:
      noteWait(monotonicNow())
      _ = dispatcher.cancel(requestID)
    case .connecting, .done: break
    case .forwarding(let upstream): upstream.abandon(lease)
    }
  }

  /// Accounts for the call and lets go of the client.
  func finishRecord(at now: Int64 = monotonicNow()) {
    if chained != nil { goOut() }
    client = nil
    if !held.isEmpty { held = [] }
    answer = ByteBuffer()
    record.duration = Double(now &- request.arrived) / 1e6
    // Out of the object while it is passed around: what may change meanwhile is copied, member by member.
    var ended = CallRecord(time: record.time, text: CallText())
    swap(&ended, &record)
    services.account(ended, early: assignment?.isEarly ?? false, dispatcher, loop)
    swap(&ended, &record)
  }
}
