import ClusterAPI
import NIOCore

/// The answer's way back.
extension Call {
  /// The head of the answer came: it is written anew for the client, and waits in `answer` for what comes with it.
  func upstreamHead(_ head: ResponseHead, _ lines: HeadLines, _ source: UnsafeRawBufferPointer, at now: Int64) {
    guard case .forwarding = phase else { return }
    let elapsed = Double(now &- request.arrived) / 1e6
    responseStarted = true
    answerBegan(now)
    record.firstByte = elapsed
    record.status = head.status
    upstreamKeepAlive = head.keepAlive
    let closes = closesConnection(head)
    if closes { client?.closeAfterAnswer() }
    swap(&answer, &loop.answer)
    answer.clear()
    answer.write(room: source.count + 2 * lines.fields.count + 320 + (request.invokes ? Self.invokedRoom : 0)) { out in
      out.put("HTTP/1.1 ")
      if request.invokes {
        writeInvoked(head, lines, source, into: &out)
      } else {
        out.put(head.statusAndReason.of(source))
        if head.statusAndReason.count == 3 { out.put(" ") }
        out.put("\r\n")
        HeaderRules.copy(lines, source, into: &out, namesFields: head.namesFields, passes: HeaderRules.passesToClient)
      }
      writeFraming(head, closes, source, into: &out)
      out.put("X-Call-Id: ")
      record.text.bytes.withUnsafeReadableBytes { out.put(record.text.call.of($0)) }
      out.put("\r\nX-Duration-Seconds: ")
      out.put(seconds: elapsed)
      out.put("\r\n\r\n")
    }
  }

  private func closesConnection(_ head: ResponseHead) -> Bool {
    if head.status == 101 { return false }
    let unframed = head.framing == .chunked || head.framing == .close
    return !request.keepAlive || !requestEnded || services.isDraining || (unframed && request.isHTTP10)
  }

  private func writeFraming(
    _ head: ResponseHead, _ closes: Bool, _ source: UnsafeRawBufferPointer, into out: inout ByteWriter
  ) {
    chunks = false
    switch head.framing {
    case .length(let length): Self.put(length: length, into: &out)
    // An invocation is a 200 also where the function answered with a status that has no body.
    case .none: if let length = request.invokes ? 0 : head.toldLength { Self.put(length: length, into: &out) }
    case .chunked, .close:
      chunks = !request.isHTTP10
      if chunks { out.put("transfer-encoding: chunked\r\n") }
    }
    if head.status == 101 {
      out.put("connection: upgrade\r\n")
      guard let upgrade = head.upgrade else { return }
      out.put("upgrade: ")
      out.put(upgrade.of(source))
      out.put("\r\n")
    } else if closes {
      out.put("connection: close\r\n")
    } else if request.isHTTP10 {
      out.put("connection: keep-alive\r\n")
    }
  }

  private static func put(length: Int64, into out: inout ByteWriter) {
    out.put("content-length: ")
    out.put(decimal: length)
    out.put("\r\n")
  }

  /// A part of the answer's body came.
  func upstreamBody(_ body: ByteBuffer) {
    guard case .forwarding = phase else { return }
    record.bytesOut += Int64(body.readableBytes)
    if chunks { answer.writeChunkSize(body.readableBytes) }
    if body.readableBytes <= Self.copiedBytes, answer.readableBytes + body.readableBytes <= Self.answerBytes {
      answer.writeImmutableBuffer(body)
    } else {
      sendAnswer()
      client?.answer(body)
    }
    if chunks { answer.writeStaticString("\r\n") }
  }

  /// The answer is complete, with lines of trailers perhaps.
  func upstreamEnd(_ trailers: ByteBuffer?, at now: Int64) {
    guard case .forwarding(let upstream) = phase else { return }
    phase = .done
    upstream.detach()
    if chunks {
      answer.writeStaticString("0\r\n")
      if let trailers { answer.writeImmutableBuffer(trailers) }
      answer.writeStaticString("\r\n")
    }
    let client = client
    var last = ByteBuffer()
    swap(&last, &answer)
    let keep = dispatcher.finish(requestID, suspect: false, at: now)
    let mayKeep = upstreamKeepAlive && requestEnded
    pool.release(upstream, keep: keep && mayKeep)
    finishRecord(at: now)
    client?.answerEnd(last, at: now)
    loop.returnAnswer(&last)
    if isLoneReference { loop.recycle(self) }
  }

  /// What was read is forwarded; answers whether to read on.
  func upstreamReadComplete() -> Bool {
    if answer.readableBytes > 0 { sendAnswer() }
    noteProgress()
    client?.flushAnswer()
    return client?.clientIsWritable ?? true
  }

  /// The pod takes bytes again.
  func upstreamWritable() { client?.readMore() }

  /// Hands the bytes that wait to the client's connection.
  func sendAnswer() {
    guard answer.readableBytes > 0 else { return }
    client?.answer(answer)
    loop.returnAnswer(&answer)
  }

  /// Whether a 101 has a meaning: it was asked for, and the request is complete.
  var mayUpgrade: Bool { request.upgrades && requestEnded }

  /// A 101 came: the connections belong together from now on.
  func switchProtocols() {
    guard case .forwarding(let upstream) = phase else { return }
    phase = .done
    sendAnswer()
    let client = client
    let lease = lease
    finishRecord()
    client?.flushAnswer()
    client?.tunnel(to: upstream, lease: lease)
  }
}

extension ByteBuffer {
  /// The line before a chunk.
  mutating func writeChunkSize(_ count: Int) {
    write(room: 18) { out in
      out.put(hex: count)
      out.put("\r\n")
    }
  }
}
