import ClusterAPI
import ClusterModel
import NIOCore

/// A request for `/async-function/NAME` while its body is read and made durable; used on its connection's loop.
final class AsyncIntake {
  /// What the function will see, without the body.
  let head: AsyncCall.Head
  let queue: any CallQueue
  /// Bytes of a body at most.
  let bodyMax: Int
  /// Whether the client waits for `100 Continue`.
  let expectsContinue: Bool
  /// When its head was complete, monotonic nanoseconds.
  let arrived: Int64
  /// What the access record says of it.
  var record: CallRecord
  private var body: [UInt8] = []

  init(
    head: AsyncCall.Head, words: CallText, queue: any CallQueue, info: RouteInfo, expectsContinue: Bool, arrived: Int64
  ) {
    self.head = head
    self.queue = queue
    bodyMax = Int(min(Int64(Limits.asyncBody), info.route.maxBody))
    self.expectsContinue = expectsContinue
    self.arrived = arrived
    record = CallRecord(time: head.enqueued, text: words)
    record.info = info
  }

  /// Takes a piece of the body; false when it is longer than allowed.
  func take(_ bytes: ByteBuffer) -> Bool {
    record.bytesIn += Int64(bytes.readableBytes)
    guard body.count + bytes.readableBytes <= bodyMax else { return false }
    body.append(contentsOf: bytes.readableBytesView)
    return true
  }

  /// When the body must be complete, monotonic nanoseconds.
  var bodyDue: Int64 { arrived &+ GatewayLimits.asyncBodySeconds * 1_000_000_000 }

  /// Bytes of the body that the gateway counted as held.
  var held: Int { Int(record.bytesIn) }

  /// The whole call.
  var call: AsyncCall { AsyncCall(head, body: body) }

  /// Why a body is refused.
  var tooLarge: Refusal { Refusal(.bodyTooLarge, "the body is larger than \(bodyMax) bytes, for a call that waits") }

  /// What the client is told when the call was not taken.
  static func refusal(_ status: APIStatus) -> Refusal {
    let code: CallErrorCode =
      switch status.code {
      case 400: .badRequest
      case 404: .functionNotFound
      case 409: .callKnown
      case 413: .bodyTooLarge
      case 429: .queueFull
      case 507: .storageFull
      default: .noControlPlane
      }
    return Refusal(code, status.message)
  }

  /// What the function will see of a request: the fields that may pass, and the way it came.
  static func head(
    _ head: RequestHead, _ lines: HeadLines, _ target: FunctionTarget, _ bytes: UnsafeRawBufferPointer, id: String,
    client: ClientAddress, at time: Timestamp
  ) throws(Refusal) -> AsyncCall.Head {
    var headers: [CallHeader] = []
    var callback: String?
    var before: [String] = []
    for field in lines.fields {
      let name = field.name.text(bytes)
      if name.lowercased() == "x-callback-url" {
        guard callback == nil else { throw Refusal(.badRequest, "X-Callback-Url stands twice") }
        callback = field.value.text(bytes)
      } else if field.kind == .forwardedFor, !field.value.isEmpty {
        before.append(field.value.text(bytes))
      } else if field.kind == .timeout {
        // It bounds each attempt, which passes a gateway like any call.
        headers.append(CallHeader("x-timeout", field.value.text(bytes)))
      } else if head.keepsAuthorization
        ? HeaderRules.passesToGuarded(field.kind) : HeaderRules.passesToFunction(field.kind),
        !(head.namesFields && HeaderRules.isNamed(field, lines, bytes))
      {
        headers.append(CallHeader(name, field.value.text(bytes)))
      }
    }
    if let callback, case .failure(let fault) = CallbackRules.check(callback) {
      throw Refusal(.badRequest, fault.message)
    }
    if !head.host.isEmpty { headers.append(CallHeader("host", head.host.text(bytes))) }
    if let trace = head.traceparent { headers.append(CallHeader("traceparent", trace.text(bytes))) }
    before.append(String(decoding: client.plain, as: UTF8.self))
    headers.append(CallHeader("x-forwarded-for", before.joined(separator: ", ")))
    return AsyncCall.Head(
      id: id, namespace: target.namespace(bytes), function: target.function(bytes), method: head.method.text(bytes),
      path: target.rest.text(bytes), headers: headers, callback: callback, enqueued: time,
      owner: Credential.fingerprint(lines, bytes))
  }
}

extension ClientConnection {
  /// A request for `/async-function/…` whose head may pass.
  func intake(
    _ head: RequestHead, _ lines: HeadLines, _ target: FunctionTarget, _ bytes: UnsafeRawBufferPointer,
    words: CallText, info: RouteInfo, client: ClientAddress
  ) throws(Refusal) -> AsyncIntake {
    guard ByteScan.same(head.method.of(bytes), "POST") else {
      throw Refusal(.methodNotAllowed, "asynchronous calls are sent by POST")
    }
    guard let queue = services.calls else {
      throw Refusal(.noControlPlane, "this gateway has nowhere to keep asynchronous calls")
    }
    let time = Timestamp.now()
    let callHead = try AsyncIntake.head(
      head, lines, target, bytes, id: words.callID, client: client, at: time)
    let intake = AsyncIntake(
      head: callHead, words: words, queue: queue, info: info, expectsContinue: head.expectsContinue,
      arrived: monotonicNow())
    if case .length(let length) = head.framing, length > Int64(intake.bodyMax) { throw intake.tooLarge }
    return intake
  }

  /// The body begins.
  func begin(_ intake: AsyncIntake) {
    self.intake = intake
    services.callStarted()
    armTimer()
    if intake.expectsContinue { sendContinue() }
  }

  /// A piece of its body.
  func take(_ bytes: ByteBuffer, for intake: AsyncIntake) {
    let hasRoom = services.takeIntake(bytes.readableBytes)
    guard intake.take(bytes) else { return refuse(intake, intake.tooLarge) }
    if !hasRoom {
      refuse(
        intake, Refusal(.queueFull, "this gateway holds \(services.configuration.intakeBytes) bytes of calls already"))
    }
  }

  /// The body is complete: the call is made durable, and only then acknowledged.
  func ended(_ intake: AsyncIntake) {
    let queue = intake.queue
    let call = intake.call
    let done = loop.eventLoop.makePromise(of: APIStatus?.self)
    done.futureResult.assumeIsolated().whenSuccess { [self] failure in
      if let failure { refuse(intake, AsyncIntake.refusal(failure)) } else { acknowledge(intake) }
    }
    // Ends with the commit, or with the deadline of the request to the server; a client that leaves does not stop it.
    Task {
      do throws(APIStatus) {
        try await queue.enqueue(call)
        done.succeed(nil)
      } catch {
        done.succeed(error)
      }
    }
  }

  /// The call is not taken.
  func refuse(_ intake: AsyncIntake, _ refusal: Refusal) {
    let isCurrent = settle(intake, status: refusal.code.status) { record in
      record.code = refusal.code
      record.message = refusal.message
    }
    guard isCurrent else { return }
    answer(error: refusal.code, message: refusal.message, component: "gateway", record: intake.record)
  }

  private func acknowledge(_ intake: AsyncIntake) {
    guard settle(intake, status: 202, { _ in }) else { return }
    if services.isDraining { closeAfterAnswer() }
    var bytes = ByteBuffer()
    bytes.write(room: 256 + 3 * intake.head.id.utf8.count) { out in
      out.put("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nX-Call-Id: ")
      out.put(text: intake.head.id)
      if intake.head.owner != nil {
        out.put("\r\nLocation: /async-result/")
        out.put(text: intake.head.id)
      }
      if invokes {
        out.put("\r\nX-Amzn-RequestId: ")
        out.put(text: intake.head.id)
      }
      out.put("\r\nX-Duration-Seconds: ")
      out.put(seconds: intake.record.duration)
      if closes { out.put("\r\nConnection: close") }
      out.put("\r\n\r\n")
    }
    finish(bytes)
  }

  /// Accounts for an intake that is over; answers whether the client still waits for it.
  private func settle(_ intake: AsyncIntake, status: Int, _ change: (inout CallRecord) -> Void) -> Bool {
    let isCurrent = self.intake === intake
    if isCurrent { self.intake = nil }
    intake.record.status = status
    intake.record.duration = Double(monotonicNow() &- intake.arrived) / 1e6
    intake.record.clientGone = !isCurrent
    change(&intake.record)
    services.account(intake: intake.record, held: intake.held, loop)
    return isCurrent
  }
}
