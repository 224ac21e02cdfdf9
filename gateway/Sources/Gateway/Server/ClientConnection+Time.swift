import ClusterAPI
import NIOCore

/// What is due when on a client connection, and what is done then.
extension ClientConnection {
  // These bounds are the same for everybody, so that no client holds a connection for longer (gateway/README.md).
  private static let headTooSlow =
    "the head was not complete \(GatewayLimits.headSeconds) s after its first byte (headSeconds, which is fixed); "
    + "send it at once"
  private static let bodySilent =
    "no byte of the body for \(GatewayLimits.bodyIdleSeconds) s (bodyIdleSeconds, which is fixed); send it without "
    + "such pauses"
  private static let bodyTooSlow =
    "the body was not complete after \(GatewayLimits.asyncBodySeconds) s (asyncBodySeconds, which is fixed); send it "
    + "faster, or call the function without async-"

  /// Limits the current call.
  func setDeadline(_ deadline: Int64) {
    callDeadline = deadline
    armTimer()
  }

  /// What is due next in this phase, nanoseconds.
  var nextDue: Int64? {
    switch phase {
    case .idle:
      headStarted.map { $0 &+ GatewayLimits.headSeconds * 1_000_000_000 }
        ?? idleSince &+ GatewayLimits.keepAliveSeconds * 1_000_000_000
    case .active(ended: true): call == nil ? nil : callDeadline
    case .active(ended: false):
      min(
        call == nil ? earlyUntil ?? intake?.bodyDue ?? .max : callDeadline ?? .max,
        lastRead &+ GatewayLimits.bodyIdleSeconds * 1_000_000_000)
    case .lingering where answerSent: idleSince &+ GatewayLimits.lingerMilliseconds * 1_000_000
    case .lingering: idleSince &+ GatewayLimits.answerStallSeconds * 1_000_000_000
    case .tunnel, .closed: nil
    }
  }

  /// One timer a connection: it is set anew only when something is due before it fires.
  func armTimer() {
    if let multiplexer { return multiplexer.armTimer(nextDue) }
    guard let due = nextDue, due < timerAt ?? .max, let context else { return }
    timerAt = due
    timer?.cancel()
    let deadline = NIODeadline.uptimeNanoseconds(UInt64(max(0, due)))
    // Not weakly: an object that was referred to weakly is slower to retain for the rest of its life.
    timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [self] in
      guard timerAt == due else { return }
      timerAt = nil
      checkTime(monotonicNow())
      armTimer()
    }
  }

  /// Does what is due.
  func checkTime(_ now: Int64) {
    guard let due = nextDue, due <= now else { return }
    switch phase {
    case .idle:
      if headStarted == nil {
        closeWhenSent()
      } else {
        closes = true
        isHEAD = false
        bodyIsSmall = false
        phase = .active(ended: false)
        refuse(Refusal(.requestTimeout, Self.headTooSlow))
      }
    case .active(let ended):
      if let callDeadline, callDeadline <= now, let call { return call.checkTime(now) }
      guard !ended else { return }
      if let intake {
        closes = true
        return refuse(intake, Refusal(.requestTimeout, intake.bodyDue <= now ? Self.bodyTooSlow : Self.bodySilent))
      }
      guard call != nil else {
        context?.close(promise: nil)
        return
      }
      if call?.awaitsBody ?? true {
        call?.requestBroken(.requestTimeout, Self.bodySilent)
      } else {
        lastRead = now
      }
    case .lingering: context?.close(promise: nil)
    case .tunnel, .closed: break
    }
  }
}
