import ClusterAPI
import ClusterModel
import FoundationEssentials
import NIOCore

/// What a call, or a refusal, writes to the client.
extension ClientConnection: CallClient {
  func closeAfterAnswer() { closes = true }

  func answer(_ bytes: ByteBuffer) {
    socket.queued()
    context?.write(wrapOutboundOut(bytes), promise: nil)
  }

  func answerEnd(_ bytes: ByteBuffer, at now: Int64) { finish(bytes, at: now) }

  func flushAnswer() { context?.flush() }

  func answer(error code: CallErrorCode, message: String, component: String, record: CallRecord) {
    write(code, message, component, callID: record.text.callID, elapsed: record.duration)
  }

  func abortAnswer() {
    // The answer has no proper end, and that is how the client learns that it is not complete.
    call = nil
    context?.flush()
    context?.close(promise: nil)
  }

  func sendContinue() {
    socket.queued()
    context?.writeAndFlush(wrapOutboundOut(Self.continuing), promise: nil)
  }

  private static let continuing = ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n")

  /// Answers a request that never became a call.
  func refuse(_ refusal: Refusal, _ words: CallText? = nil, namespace: String = "") {
    let words = words ?? CallText(method: "-", path: "-", call: UUIDv7.make())
    if case .idle = phase {
      phase = .active(ended: false)
      closes = true
      bodyIsSmall = false
    }
    var record = CallRecord(time: .now(), text: words)
    record.namespace = namespace
    record.status = refusal.code.status
    record.code = refusal.code
    record.message = refusal.message
    services.account(refused: record, refusedBy, loop)
    refusedBy = nil
    write(refusal.code, refusal.message, "gateway", callID: words.callID, elapsed: 0)
  }

  /// `/healthz`.
  func answerHealth() {
    if !bodyIsSmall { closes = true }
    var bytes = ByteBuffer(
      staticString: "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 3\r\n")
    bytes.writeStaticString(closes ? "connection: close\r\n\r\n" : "\r\n")
    if !isHEAD { bytes.writeStaticString("ok\n") }
    finish(bytes)
  }

  private func write(_ code: CallErrorCode, _ message: String, _ component: String, callID: String, elapsed: Double) {
    if invokes { return answerInvocation(code, message, callID: callID, elapsed: elapsed) }
    let error = CallError(code: code, message: message, component: component, call: callID)
    var body = ByteBuffer()
    // A value of four strings always encodes.
    body.writeBytes((try? JSONCoding.encoder.encode(error)) ?? Data("{}".utf8))
    body.writeString("\n")
    if case .active(ended: false) = phase, !bodyIsSmall { closes = true }
    if services.isDraining { closes = true }
    var bytes = ByteBuffer()
    bytes.write(room: 512 + callID.utf8.count) { out in
      out.put("HTTP/1.1 ")
      out.put(decimal: Int64(code.status))
      out.put(" ")
      out.put(Self.reason(code))
      out.put("\r\nContent-Type: application/json\r\nContent-Length: ")
      out.put(decimal: Int64(body.readableBytes))
      putError(code, callID: callID, elapsed: elapsed, &out)
      if code == .queueFull { out.put("\r\nRetry-After: 1") }
      putEndOfError(code, &out)
    }
    if !isHEAD { bytes.writeBuffer(&body) }
    finish(bytes)
  }

  /// The fields that every error of the gateway has, in whoever's words its body is.
  func putError(_ code: CallErrorCode, callID: String, elapsed: Double, _ out: inout ByteWriter) {
    out.put("\r\nX-Call-Id: ")
    out.put(text: callID)
    out.put("\r\nX-Duration-Seconds: ")
    out.put(seconds: elapsed)
    out.put("\r\nX-Apus-Error: ")
    out.put(text: code.rawValue)
    guard let challenge else { return }
    out.put("\r\nWWW-Authenticate: ")
    out.put(challenge)
    self.challenge = nil
  }

  /// The last fields of an error's head, and its end.
  func putEndOfError(_ code: CallErrorCode, _ out: inout ByteWriter) {
    if code == .methodNotAllowed {
      out.put("\r\nAllow: ")
      out.put(allowed)
    }
    if closes { out.put("\r\nConnection: close") }
    out.put("\r\n\r\n")
  }

  /// The reason phrase of a code's status (RFC 9110, 15).
  private static func reason(_ code: CallErrorCode) -> StaticString {
    switch code.status {
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 507: "Insufficient Storage"
    default: "Error"
    }
  }

  /// Ends the answer and decides what becomes of the connection.
  func finish(_ last: ByteBuffer, at now: Int64 = monotonicNow()) {
    guard let context else { return }
    call = nil
    if services.closesUnannounced { closes = true }
    guard closes else {
      if let rest = socket.send(last, context) { context.writeAndFlush(wrapOutboundOut(rest), promise: nil) }
      if case .active(ended: true) = phase { return nextRequest(at: now) }
      answeredEarly = true
      earlyUntil = now &+ GatewayLimits.earlySeconds * 1_000_000_000
      armTimer()
      return readMore()
    }
    let sent = context.eventLoop.makePromise(of: Void.self)
    let readAll: Bool
    if case .active(ended: true) = phase { readAll = true } else { readAll = false }
    let services = services
    services.answerStarted()
    sent.futureResult.assumeIsolated().whenComplete { [weak self] _ in
      services.answerTaken()
      guard let self, let context = self.context else { return }
      self.answerSent = true
      self.idleSince = monotonicNow()
      self.armTimer()
      if readAll { context.close(promise: nil) } else { context.close(mode: .output, promise: nil) }
    }
    linger()
    socket.queued()
    context.writeAndFlush(wrapOutboundOut(last), promise: sent)
  }

  /// Closes once everything that was written is taken. No request is begun any more, and what a client never takes has
  /// its bound: the phase's time, or the timer would find the same moment due again and again.
  func closeWhenSent() {
    guard let context else { return }
    linger()
    let sent = context.eventLoop.makePromise(of: Void.self)
    let services = services
    services.answerStarted()
    sent.futureResult.assumeIsolated().whenComplete { [weak self] _ in
      services.answerTaken()
      self?.context?.close(promise: nil)
    }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: sent)
  }

  func tunnel(to upstream: UpstreamConnection, lease: Lease) {
    call = nil
    // The flush of the 101 may have found the client gone.
    guard case .active = phase, let client = context?.channel, let pod = upstream.channel else {
      upstream.abandon(lease)
      return
    }
    phase = .tunnel
    timer?.cancel()
    upstream.becomeTunnel()
    loop.pool.release(upstream)
    let loop = loop
    let services = services
    let id = ObjectIdentifier(self)
    loop.clients[id] = nil
    loop.tunnels[id] = client
    var isOpen = true
    let events = Tunnel.Events(
      podClosed: { _ = lease.dispatcher.finish(lease.request, suspect: false) },
      podLingers: { lease.dispatcher.quarantine(lease.request) },
      clientClosed: {
        guard isOpen else { return }
        isOpen = false
        loop.tunnels[id] = nil
        services.clientDisconnected()
      })
    // Not from inside the reading of the pod's connection, whose handler leaves its pipeline.
    loop.eventLoop.assumeIsolated().execute { [self] in
      // One event may read more than once: what came until now belongs in front of what the tunnel reads.
      let fromClient = input
      input = ByteBuffer()
      Tunnel.join(
        client: client, clientHandler: self, read: fromClient, pod: pod, podHandler: upstream,
        readFromPod: upstream.takeRest(), events: events)
    }
  }
}
