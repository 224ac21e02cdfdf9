import ClusterAPI
import ClusterModel
import FoundationEssentials
import NIOCore
import NIOHTTP1

/// What a call, or a refusal, writes to the client.
extension ClientConnection: CallClient {
  var clientIsWritable: Bool { context?.channel.isWritable ?? true }

  func answer(head: HTTPResponseHead) {
    if head.headers["connection"].contains("close") { closeAfterAnswer = true }
    context?.write(wrapOutboundOut(.head(head)), promise: nil)
  }

  func answer(body: ByteBuffer) {
    context?.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
  }

  func answerEnd(trailers: HTTPHeaders?) { finish(trailers: trailers) }

  func flushAnswer() { context?.flush() }

  func answer(error code: CallErrorCode, message: String, component: String) {
    guard let call else { return }
    write(code, message, component, callID: call.request.callID, elapsed: monotonicNow() &- call.request.arrived)
  }

  func abortAnswer() {
    // The answer has no proper end, and that is how the client learns that it is not complete.
    call = nil
    context?.flush()
    context?.close(promise: nil)
  }

  func sendContinue() {
    let head = HTTPResponseHead(version: .http1_1, status: .continue)
    context?.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
  }

  /// Answers a request that never became a call.
  func refuse(_ code: CallErrorCode, _ message: String, _ target: FunctionTarget? = nil) {
    var callID = UUIDv7.make()
    if let own = head?.headers.first(name: "x-call-id"), HeaderRules.isCallID(own) { callID = own }
    if case .idle = phase {
      phase = .active(ended: false)
      closeAfterAnswer = true
    }
    var record = CallRecord(time: .now())
    record.call = callID
    record.method = head?.method.rawValue ?? "-"
    record.path = String(Self.withoutQuery(head?.uri ?? "-").prefix(1024))
    record.namespace = target?.namespace ?? "default"
    record.status = code.status
    record.code = code
    record.message = message
    services.account(record)
    write(code, message, "gateway", callID: callID, elapsed: 0)
  }

  /// `/healthz`.
  func answerHealth() {
    let body = ByteBuffer(string: "ok\n")
    var headers = HTTPHeaders([("content-type", "text/plain; charset=utf-8"), ("content-length", "3")])
    let bodyPending = head.map { !Self.isSmall($0) } ?? true
    if closeAfterAnswer || bodyPending { headers.add(name: "connection", value: "close") }
    answer(head: HTTPResponseHead(version: .http1_1, status: .ok, headers: headers))
    if head?.method != .HEAD { answer(body: body) }
    finish(trailers: nil)
  }

  private func write(_ code: CallErrorCode, _ message: String, _ component: String, callID: String, elapsed: Int64) {
    let error = CallError(code: code, message: message, component: component, call: callID)
    var body = ByteBuffer()
    // A value of four strings always encodes.
    body.writeBytes((try? JSONCoding.encoder.encode(error)) ?? Data("{}".utf8))
    body.writeString("\n")
    if case .active(ended: false) = phase, !(head.map(Self.isSmall) ?? false) { closeAfterAnswer = true }
    var headers = HTTPHeaders([
      ("Content-Type", "application/json"), ("Content-Length", String(body.readableBytes)), ("X-Call-Id", callID),
      ("X-Duration-Seconds", CallRequest.seconds(Double(elapsed) / 1e6)), ("X-Apus-Error", code.rawValue),
    ])
    if code == .queueFull { headers.add(name: "Retry-After", value: "1") }
    if code == .methodNotAllowed { headers.add(name: "allow", value: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") }
    if closeAfterAnswer || services.isDraining {
      closeAfterAnswer = true
      headers.add(name: "connection", value: "close")
    }
    let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: code.status), headers: headers)
    context?.write(wrapOutboundOut(.head(head)), promise: nil)
    if self.head?.method != .HEAD { context?.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
    finish(trailers: nil)
  }

  /// Ends the answer and decides what becomes of the connection.
  private func finish(trailers: HTTPHeaders?) {
    guard let context else { return }
    call = nil
    guard closeAfterAnswer else {
      context.writeAndFlush(wrapOutboundOut(.end(trailers)), promise: nil)
      if case .active(ended: true) = phase { return nextRequest() }
      answeredEarly = true
      earlyUntil = monotonicNow() &+ GatewayLimits.earlySeconds * 1_000_000_000
      armTimer()
      return readMore()
    }
    let sent = context.eventLoop.makePromise(of: Void.self)
    let readAll: Bool
    if case .active(ended: true) = phase { readAll = true } else { readAll = false }
    sent.futureResult.assumeIsolated().whenComplete { [weak self] _ in
      guard let self, let context = self.context else { return }
      self.answerSent = true
      self.idleSince = monotonicNow()
      self.armTimer()
      if readAll { context.close(promise: nil) } else { context.close(mode: .output, promise: nil) }
    }
    context.writeAndFlush(wrapOutboundOut(.end(trailers)), promise: sent)
    linger()
  }

  /// Whether the body is so small that it is cheaper to read it to its end than to close the connection.
  private static func isSmall(_ head: HTTPRequestHead) -> Bool {
    guard head.headers["transfer-encoding"].isEmpty, head.headers["expect"].isEmpty else { return false }
    guard let length = head.headers["content-length"].first else { return true }
    return Int(length).map { $0 <= GatewayLimits.heldBody } ?? false
  }

  func tunnel(to upstream: UpstreamConnection, lease: Lease) {
    call = nil
    // The flush of the 101 may have found the client gone.
    guard case .active = phase, let client = context?.channel, let pod = upstream.channel else {
      upstream.abandon(lease)
      return
    }
    phase = .tunnel
    upstream.becomeTunnel()
    loop.pool.release(upstream)
    let loop = loop
    let services = services
    let id = ObjectIdentifier(self)
    loop.clients[id] = nil
    loop.tunnels[id] = client
    let events = Tunnel.Events(
      podClosed: { _ = lease.dispatcher.finish(lease.request, suspect: false) },
      podLingers: { lease.dispatcher.quarantine(lease.request) },
      clientClosed: {
        loop.tunnels[id] = nil
        services.metrics.clientDisconnected()
      })
    // Not from inside the decoder: what it holds of the bytes after the 101 comes out when it leaves the pipeline.
    loop.eventLoop.assumeIsolated().execute { [self] in
      Tunnel.join(client: client, clientHandler: self, pod: pod, podHandler: upstream, events: events)
    }
  }
}
