import ClusterAPI
import ClusterModel
import Crypto
import NIOCore

/// A request for `/async-result/CALL` while the control plane is asked; used on its connection's loop.
final class ResultLookup {
  /// The call that is asked for.
  let call: String
  /// The fingerprint of the credential the request came with.
  let owner: String
  /// When its head was complete, monotonic nanoseconds.
  let arrived: Int64
  /// What the access record says of it.
  var record: CallRecord

  init(call: String, owner: String, words: CallText) {
    self.call = call
    self.owner = owner
    arrived = monotonicNow()
    record = CallRecord(time: .now(), text: words)
  }
}

/// What is known of a caller's credential: enough to know it again, not enough to use it.
enum Credential {
  /// `sha256:HEX` of the bearer token of a request; nil without one, or with two.
  static func fingerprint(_ lines: HeadLines, _ bytes: UnsafeRawBufferPointer) -> String? {
    var found: Span?
    for field in lines.fields where field.kind == .authorization {
      guard found == nil else { return nil }
      found = field.value
    }
    guard let token = found.flatMap({ bearer($0.of(bytes)) }), !token.isEmpty else { return nil }
    return "sha256:" + SHA256.hash(data: token).hex
  }

  /// The token in the value of `Authorization` (RFC 6750, 2.1); nil when the value has another scheme.
  static func bearer(_ value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    guard ByteScan.starts(value, "bearer ") else { return nil }
    return UnsafeRawBufferPointer(rebasing: value[7...].drop { ByteScan.isBlank($0) })
  }
}

extension ClientConnection {
  /// A request for `/async-result/CALL` whose head may pass.
  func lookup(
    _ head: RequestHead, _ lines: HeadLines, _ call: Span, _ bytes: UnsafeRawBufferPointer, words: CallText
  ) throws(Refusal) -> ResultLookup {
    guard head.isHEAD || ByteScan.same(head.method.of(bytes), "GET") else {
      throw Refusal(.methodNotAllowed, "results are read by GET")
    }
    guard let owner = Credential.fingerprint(lines, bytes) else {
      throw Refusal(
        .callNotFound,
        "no bearer token was sent; a result is shown to the token its call was sent with (others: apus calls show)")
    }
    guard services.calls != nil else {
      throw Refusal(.noControlPlane, "this gateway has nowhere to keep asynchronous calls")
    }
    return ResultLookup(call: call.text(bytes), owner: owner, words: words)
  }

  /// Asks for a result, and answers with it.
  func begin(_ lookup: ResultLookup) {
    guard let queue = services.calls else { return }
    self.lookup = lookup
    if !bodyIsSmall { closes = true }
    services.callStarted()
    let (call, owner) = (lookup.call, lookup.owner)
    let done = loop.eventLoop.makePromise(of: Result<CallDetail, APIStatus>.self)
    done.futureResult.assumeIsolated().whenSuccess { [self] result in
      switch result {
      case .success(let detail): answer(lookup, detail)
      case .failure(let status): refuse(lookup, status)
      }
    }
    // Ends with the deadline of the request to the server; a client that leaves does not stop it.
    Task {
      do throws(APIStatus) {
        done.succeed(.success(try await queue.result(call, owner: owner)))
      } catch {
        done.succeed(.failure(error))
      }
    }
  }

  private func refuse(_ lookup: ResultLookup, _ status: APIStatus) {
    let refusal = Refusal(status.code == 404 ? .callNotFound : .noControlPlane, status.message)
    lookup.record.code = refusal.code
    lookup.record.message = refusal.message
    guard settle(lookup, status: refusal.code.status) else { return }
    answer(error: refusal.code, message: refusal.message, component: "gateway", record: lookup.record)
  }

  /// 200 with the function's header fields and body as a callback has them; 202 while there is no end.
  private func answer(_ lookup: ResultLookup, _ detail: CallDetail) {
    let isOver = detail.call.state == .done || detail.call.state == .dead
    guard settle(lookup, status: isOver ? 200 : 202) else { return }
    if services.isDraining { closeAfterAnswer() }
    let result = isOver ? detail.result : nil
    var text = isOver ? "HTTP/1.1 200 OK\r\n" : "HTTP/1.1 202 Accepted\r\nRetry-After: 1\r\n"
    let ours: Set<String> = [
      "connection", "content-length", "transfer-encoding", "x-call-id", "x-call-state", "x-duration-seconds",
      "x-function-status", "x-result-truncated",
    ]
    for field in result?.headers ?? [] where !ours.contains(field.name.lowercased()) {
      text += "\(field.name): \(field.value)\r\n"
    }
    text += "Content-Length: \(result?.body.count ?? 0)\r\nX-Call-Id: \(lookup.call)\r\n"
    text += "X-Call-State: \(detail.call.state.rawValue)\r\n"
    if let result {
      text += "X-Function-Status: \(result.status)\r\n"
      if result.truncated { text += "X-Result-Truncated: true\r\n" }
    }
    var bytes = ByteBuffer(string: text)
    bytes.write(room: 128) { out in
      out.put("X-Duration-Seconds: ")
      out.put(seconds: lookup.record.duration)
      if closes { out.put("\r\nConnection: close") }
      out.put("\r\n\r\n")
    }
    if let result, !isHEAD { bytes.writeBytes(result.body) }
    finish(bytes)
  }

  /// Accounts for a lookup that is over; answers whether the client still waits for it.
  private func settle(_ lookup: ResultLookup, status: Int) -> Bool {
    let isCurrent = self.lookup === lookup
    if isCurrent { self.lookup = nil }
    lookup.record.status = status
    lookup.record.duration = Double(monotonicNow() &- lookup.arrived) / 1e6
    lookup.record.clientGone = !isCurrent
    services.account(intake: lookup.record, held: 0, loop)
    return isCurrent
  }
}
