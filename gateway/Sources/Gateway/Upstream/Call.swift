import ClusterAPI
import ClusterModel
import NIOCore
import NIOHTTP1

/// The client's end of a call, as the call sees it. All on the connection's event loop.
protocol CallClient: AnyObject {
  /// Whether the kernel still takes bytes for the client.
  var clientIsWritable: Bool { get }
  /// Writes the head of the answer.
  func answer(head: HTTPResponseHead)
  /// Writes a part of the answer's body.
  func answer(body: ByteBuffer)
  /// Ends the answer; the call is over.
  func answerEnd(trailers: HTTPHeaders?)
  /// Sends out what was written.
  func flushAnswer()
  /// Answers with a platform error; the call is over.
  func answer(error code: CallErrorCode, message: String, component: String)
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

/// One request on its way: waits for a slot, goes to a pod, comes back, is accounted for. Ends exactly once.
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

  let request: CallRequest
  let services: GatewayServices
  let eventLoop: any EventLoop
  var client: (any CallClient)?
  let pool: UpstreamPool
  let dispatcher: FunctionDispatcher
  var record: CallRecord
  var phase = Phase.waiting
  var requestID: RequestID = 0
  var assignment: Assignment?
  var requestEnded = false
  var trailers: HTTPHeaders?
  var responseStarted = false
  var upstreamKeepAlive = false
  var replays = 0
  private var held: [ByteBuffer] = []
  private var heldBytes = 0
  // False once a part of the body was sent and is not held any more.
  private var replayable = true
  private var continueSent = false
  private var waitingSince: Int64
  /// When the call must be over, epoch milliseconds: of its first pod, also for a later one.
  private var deadline: Int64 = 0

  init(
    request: CallRequest, client: any CallClient, dispatcher: FunctionDispatcher, services: GatewayServices,
    pool: UpstreamPool, eventLoop: any EventLoop
  ) {
    self.request = request
    self.client = client
    self.dispatcher = dispatcher
    self.services = services
    self.pool = pool
    self.eventLoop = eventLoop
    waitingSince = request.arrived
    record = request.record()
  }

  var lease: Lease { Lease(dispatcher: dispatcher, request: requestID) }

  private var waiter: FunctionDispatcher.Waiter {
    let bound = NIOLoopBound(self, eventLoop: eventLoop)
    return FunctionDispatcher.Waiter(loop: eventLoop) { bound.value.receive($0) }
  }

  // MARK: the client's side

  /// Enters the function's queue.
  func start() {
    let (id, delivery) = dispatcher.arrive(waiter)
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
    if record.bytesIn > request.route.maxBody {
      return giveUp(.bodyTooLarge, "the body is larger than \(request.route.maxBody) bytes (maxBody)")
    }
    if case .length(let length) = request.framing, record.bytesIn > length {
      return giveUp(.badRequest, "the body is longer than its Content-Length")
    }
    hold(part)
    if case .forwarding(let upstream) = phase { upstream.send(body: part) }
  }

  /// The body is complete.
  func end(trailers: HTTPHeaders?) {
    if case .length(let length) = request.framing, record.bytesIn != length {
      return giveUp(.badRequest, "the body is shorter than its Content-Length")
    }
    requestEnded = true
    self.trailers = trailers.map(HeaderRules.trailers)
    if case .forwarding(let upstream) = phase { upstream.sendEnd(trailers: self.trailers) }
  }

  /// Sends out what was forwarded.
  func flushUpstream() {
    if case .forwarding(let upstream) = phase { upstream.flush() }
  }

  /// The client takes bytes again.
  func clientWritable() {
    if case .forwarding(let upstream) = phase { upstream.resumeReading() }
  }

  /// The client went away.
  func clientGone() {
    guard !isDone else { return }
    record.clientGone = true
    if record.status == 0 { record.status = 499 }
    stop()
    finishRecord()
  }

  /// The function's time for a call is over.
  func timedOut() {
    guard !isDone else { return }
    let component = assignment.map { "pod \($0.endpoint.pod)" } ?? "gateway"
    giveUp(.functionTimeout, "spec.timeout (\(request.route.timeout)) reached", component: component)
  }

  /// The client did not send its body in time, or sent what is no HTTP.
  func requestBroken(_ code: CallErrorCode, _ message: String) { giveUp(code, message) }

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
    record.queued += Double(monotonicNow() &- waitingSince) / 1e6
    switch delivery {
    case .failed(let code, let message): fail(code, message)
    case .assigned(let assignment):
      if self.assignment == nil {
        client?.setDeadline(monotonicNow() &+ request.route.timeout.milliseconds &* 1_000_000)
        deadline = Timestamp.now().milliseconds + request.route.timeout.milliseconds
      }
      self.assignment = assignment
      note(assignment)
      send(assignment)
    }
  }

  private func note(_ assignment: Assignment) {
    record.pod = assignment.endpoint.pod
    record.node = assignment.endpoint.node
    record.revision = assignment.endpoint.revision
    if assignment.cold {
      record.cold = true
      record.startup = assignment.endpoint.startup
    }
  }

  private func send(_ assignment: Assignment) {
    if let connection = pool.take(assignment.key) { return begin(on: connection) }
    phase = .connecting
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
    connection.begin(self, head: request.upstreamHead(deadline: deadline))
    for part in held { connection.send(body: part) }
    if requestEnded { connection.sendEnd(trailers: trailers) }
    connection.flush()
    // The flush may have found the connection dead: then the call is somewhere else by now.
    guard case .forwarding(let current) = phase, current === connection else { return }
    if request.expectsContinue, !continueSent, !requestEnded, record.bytesIn == 0 {
      continueSent = true
      client?.sendContinue()
    }
    client?.readMore()
  }

  /// Back to the head of the queue: the request cannot have run, or may run again.
  private func goBack(_ why: String) {
    phase = .waiting
    waitingSince = monotonicNow()
    record.retries += 1
    dispatcher.requeue(requestID, waiter, why: why)
  }

  private func hold(_ part: ByteBuffer) {
    guard replayable else { return }
    if case .forwarding(let upstream) = phase {
      let mayReplay = request.route.idempotent || !upstream.delivered
      guard mayReplay, heldBytes + part.readableBytes <= GatewayLimits.heldBody else {
        replayable = false
        held = []
        return
      }
    }
    held.append(part)
    heldBytes += part.readableBytes
  }

  // MARK: the pod's side

  /// The pod's connection ended before its answer did.
  func upstreamFailed(_ failure: UpstreamFailure) {
    guard case .forwarding = phase else { return }
    let pod = assignment?.endpoint.pod ?? "?"
    switch failure {
    case .notDelivered(let why) where replayable && !responseStarted:
      return goBack("pod \(pod) closed before the request: \(why)")
    case .broken where replayable && !responseStarted && request.route.idempotent && replays < GatewayLimits.replays:
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
    if responseStarted {
      client?.abortAnswer()
    } else {
      record.status = code.status
      client?.answer(error: code, message: message, component: component)
    }
    finishRecord()
  }

  /// Leaves the queue, or abandons the connection; the slot is given back when the pod lets go of it.
  private func stop() {
    let was = phase
    phase = .done
    switch was {
    case .waiting: _ = dispatcher.cancel(requestID)
    case .connecting, .done: break
    case .forwarding(let upstream): upstream.abandon(lease)
    }
  }

  /// Accounts for the call and lets go of the client.
  func finishRecord() {
    client = nil
    held = []
    record.duration = Double(monotonicNow() &- request.arrived) / 1e6
    services.account(record, dispatcher)
  }
}
