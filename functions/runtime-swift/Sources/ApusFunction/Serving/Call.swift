import Glibc

/// One request on its connection, in the hands of the thread that serves it: reads the body, writes the answer.
package final class Call {
  /// How reading the body ended early.
  package enum BodyError: Error {
    case refused(BadRequest)
    case gone
  }

  /// The head of the request.
  package let head: RequestHead
  /// The connection's descriptor.
  package let descriptor: Int32
  /// Set once the client has gone.
  package let cancellation: Cancellation
  /// The call's id, empty if the request carried none.
  package let id: String
  /// When the platform stops waiting, in milliseconds since 1970; nil if the request did not say.
  package let deadline: Int?
  /// What the call writes.
  package let output: CallOutput
  /// Bytes that arrived behind the head: the body's begin, or later the next request.
  package private(set) var buffer: [UInt8]
  /// Whether the connection can take another request after this answer.
  package private(set) var keepAlive: Bool
  /// Whether the head of the answer was sent.
  package private(set) var answered = false
  /// Whether the whole body was read.
  package private(set) var bodyComplete: Bool

  /// The fields behind a body in chunks, once it is complete.
  package var trailers: Headers { chunks?.fields ?? Headers() }

  private let limit: Int
  private var left: Int
  private var chunks: ChunkedDecoder?
  private var chunkedAnswer = false
  private var continueDue: Bool

  /// A request whose head was read, on its connection; `buffer` holds what came behind the head.
  package init(
    head: RequestHead, descriptor: Int32, buffer: [UInt8], cancellation: Cancellation, frames: Frames, maxBody: Int,
    draining: Bool
  ) {
    self.head = head
    self.descriptor = descriptor
    self.buffer = buffer
    self.cancellation = cancellation
    self.limit = maxBody
    id = head.headers["x-call-id"] ?? ""
    deadline = head.headers["x-apus-deadline"].flatMap { $0.utf8.count < 16 ? Int($0) : nil }
    output = CallOutput(frames: frames, call: id)
    keepAlive = head.keepAlive && !draining
    continueDue = head.expectsContinue
    switch head.length {
    case .fixed(let count): (left, bodyComplete) = (count, count == 0)
    case .chunked: (left, bodyComplete, chunks) = (0, false, ChunkedDecoder(limit: maxBody))
    }
  }

  /// Reads the whole body.
  package func readBody() throws(BodyError) -> [UInt8] {
    var body: [UInt8] = []
    if left > limit { throw .refused(tooLarge()) }
    body.reserveCapacity(left)
    while try !takeBody(into: &body) {
      switch Sockets.receive(descriptor, into: &buffer, limit: min(max(left, 4096), 1 << 20), wait: true) {
      case .bytes: continue
      case .closed: throw .gone
      case .wouldBlock:
        throw .refused(BadRequest("the body stopped arriving", status: 408, code: "request_timeout"))
      }
    }
    return body
  }

  /// Moves the part of the body that has arrived to the end of `body`; true once the body is complete.
  package func takeBody(into body: inout [UInt8]) throws(BodyError) -> Bool {
    if bodyComplete { return true }
    if left > limit { throw .refused(tooLarge()) }
    if chunks != nil {
      do throws(BadRequest) {
        bodyComplete = try chunks?.feed(&buffer, into: &body) ?? true
      } catch {
        throw .refused(error)
      }
    } else {
      let take = min(left, buffer.count)
      if take == buffer.count, body.isEmpty {
        swap(&body, &buffer)
      } else {
        body += buffer[..<take]
        buffer.removeFirst(take)
      }
      left -= take
      bodyComplete = left == 0
    }
    if !bodyComplete, continueDue {
      continueDue = false
      guard Sockets.sendAll(descriptor, Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)[...]) else { throw .gone }
    }
    return bodyComplete
  }

  /// Reads at once what the connection has of the body; false when the client has gone.
  package func receiveBody() -> Bool {
    Sockets.receive(descriptor, into: &buffer, wait: false) != .closed
  }

  /// Waits for more of the body for as long as it takes, and takes at most `limit` bytes at once; false when the client has
  /// gone.
  package func receiveMore(_ limit: Int) -> Bool {
    while true {
      switch Sockets.receive(descriptor, into: &buffer, limit: limit, wait: true) {
      case .bytes: return true
      case .closed: return false
      case .wouldBlock: continue
      }
    }
  }

  /// Sends a whole answer; a bodiless status or HEAD sends no body. False when the client has gone.
  @discardableResult
  package func answer(status: Int, headers: Headers, body: [UInt8]) throws(InvalidResponse) -> Bool {
    let bodiless = AnswerHead.isBodiless(status)
    var bytes = try AnswerHead.render(
      status: status, headers: headers, framing: bodiless ? .none : .fixed(body.count), keepAlive: keepAlive,
      minor: head.minor)
    answered = true
    let sent: Bool
    if bodiless || head.method == "HEAD" {
      sent = Sockets.sendAll(descriptor, bytes[...])
    } else if body.count <= 64 * 1024 {
      bytes += body
      sent = Sockets.sendAll(descriptor, bytes[...])
    } else {
      sent = Sockets.sendAll(descriptor, bytes[...]) && Sockets.sendAll(descriptor, body[...])
    }
    if !sent { cut() }
    return sent
  }

  /// Begins an answer whose length is not known; `finishStream` ends it. False when the client has gone.
  package func beginStream(status: Int, headers: Headers) throws(InvalidResponse) -> Bool {
    let bodiless = AnswerHead.isBodiless(status)
    chunkedAnswer = head.minor == 1
    if !chunkedAnswer { keepAlive = false }
    let bytes = try AnswerHead.render(
      status: status, headers: headers, framing: bodiless ? .none : (chunkedAnswer ? .chunked : .untilClose),
      keepAlive: keepAlive, minor: head.minor)
    answered = true
    streams = head.method != "HEAD" && !bodiless
    return Sockets.sendAll(descriptor, bytes[...])
  }

  /// Whether pieces of a begun stream are sent at all: not to HEAD.
  package private(set) var streams = false

  /// The writer of a begun stream.
  package var writer: ResponseWriter {
    ResponseWriter(descriptor: descriptor, chunked: chunkedAnswer, silent: !streams, cancellation: cancellation)
  }

  /// Ends a begun stream.
  package func finishStream() {
    if streams, chunkedAnswer, !Sockets.sendAll(descriptor, Array("0\r\n\r\n".utf8)[...]) { cut() }
  }

  /// Closes the connection after this call: the only way to say that a begun answer failed.
  package func cut() { keepAlive = false }

  /// Answers a request that could not be read and closes the connection.
  package func refuse(_ bad: BadRequest) {
    cut()
    Self.refuse(bad, descriptor)
  }

  /// Answers that the function failed, unless an answer was begun, and writes one error record.
  package func fail(kind: String, message: String, fields: [String: LogValue] = [:]) {
    output.flush()
    let message = String(message.prefix(1024))
    output.record("error", message, fields.merging(["error": .string(kind)]) { mine, _ in mine })
    guard !answered else { return cut() }
    let body = JSONText.object([
      ("code", "function_failed"), ("message", message), ("component", "function"), ("call", id),
    ])
    let token = String(decoding: kind.utf8.filter(HeadParser.isToken), as: UTF8.self)
    do {
      try answer(
        status: 500, headers: ["Content-Type": "application/json", "X-Function-Error": token], body: body)
    } catch {
      cut()
    }
  }

  /// The same for a connection whose request has no `Call`.
  package static func refuse(_ bad: BadRequest, _ descriptor: Int32) {
    let body = JSONText.object([("code", bad.code), ("message", bad.message), ("component", "function")])
    guard
      let head = try? AnswerHead.render(
        status: bad.status, headers: ["Content-Type": "application/json"], framing: .fixed(body.count),
        keepAlive: false, minor: 1), Sockets.sendAll(descriptor, (head + body)[...])
    else { return }
    shutdown(descriptor, Int32(SHUT_WR))
    var rest: [UInt8] = []
    for _ in 0..<16 {  // closing with unread bytes would cut our answer off
      rest.removeAll(keepingCapacity: true)
      guard case .bytes = Sockets.receive(descriptor, into: &rest, wait: false) else { break }
    }
  }

  private func tooLarge() -> BadRequest {
    BadRequest("the body is larger than \(limit) bytes", status: 413, code: "body_too_large")
  }
}

/// Writes the pieces of a streamed answer.
public struct ResponseWriter: Sendable {
  let descriptor: Int32
  let chunked: Bool
  let silent: Bool
  let cancellation: Cancellation

  /// Sends bytes at once. Throws `CancellationError` when the client has gone.
  public func write(_ bytes: [UInt8]) async throws {
    guard send(bytes) else { throw CancellationError() }
  }

  /// Sends text at once. Throws `CancellationError` when the client has gone.
  public func write(_ text: String) async throws { try await write(Array(text.utf8)) }

  /// Sends bytes at once; false when the client has gone.
  package func send(_ bytes: [UInt8]) -> Bool {
    if cancellation.isCancelled { return false }
    if silent || bytes.isEmpty { return true }
    guard chunked else { return Sockets.sendAll(descriptor, bytes[...]) }
    return Sockets.sendAll(descriptor, (Array((String(bytes.count, radix: 16) + "\r\n").utf8) + bytes + [13, 10])[...])
  }
}
