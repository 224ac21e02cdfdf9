import ClusterAPI
import NIOCore
import NIOHTTP1

/// The answer's way back.
extension Call {
  /// The head of the answer came.
  func upstreamHead(_ head: HTTPResponseHead) {
    guard case .forwarding(let upstream) = phase else { return }
    let elapsed = Double(monotonicNow() &- request.arrived) / 1e6
    // A 101 nobody asked for, or before the request was complete, has no meaning.
    if head.status == .switchingProtocols, request.upgrade == nil || !requestEnded { return upstream.close() }
    responseStarted = true
    record.firstByte = elapsed
    record.status = Int(head.status.code)
    if head.status == .switchingProtocols { return switchProtocols(head, upstream, elapsed) }
    upstreamKeepAlive = head.isKeepAlive
    client?.answer(head: request.clientHead(head, elapsed: elapsed, bodyPending: !requestEnded || services.isDraining))
  }

  /// A part of the answer's body came.
  func upstreamBody(_ body: ByteBuffer) {
    guard case .forwarding = phase else { return }
    record.bytesOut += Int64(body.readableBytes)
    client?.answer(body: body)
  }

  /// The answer is complete.
  func upstreamEnd(_ trailers: HTTPHeaders?) {
    guard case .forwarding(let upstream) = phase else { return }
    phase = .done
    upstream.detach()
    client?.answerEnd(trailers: trailers.map(HeaderRules.trailers))
    finishRecord()
    let mayKeep = upstreamKeepAlive && requestEnded
    let keep = dispatcher.finish(requestID, suspect: false)
    pool.release(upstream, keep: keep && mayKeep)
  }

  /// What was read is forwarded; answers whether to read on.
  func upstreamReadComplete() -> Bool {
    client?.flushAnswer()
    return client?.clientIsWritable ?? true
  }

  /// The pod takes bytes again.
  func upstreamWritable() { client?.readMore() }

  private func switchProtocols(_ head: HTTPResponseHead, _ upstream: UpstreamConnection, _ elapsed: Double) {
    phase = .done
    client?.answer(head: request.clientHead(head, elapsed: elapsed, bodyPending: false))
    client?.flushAnswer()
    client?.tunnel(to: upstream, lease: lease)
    finishRecord()
  }
}
