package import ApusFunction
import Synchronization

/// The AWS Lambda Runtime API, version 2018-06-01, as a runtime in the pod sees it.
package final class RuntimeAPI: Sendable {
  /// The largest result that is not streamed: Lambda's 6 MiB and the 100 bytes it allows on top.
  package static let resultBytes = 6 * 1024 * 1024 + 100
  /// A larger one is read up to here, so that the runtime gets the answer that says so.
  static let readBytes = 64 * 1024 * 1024
  /// The largest streamed result.
  static let streamBytes = 1 << 40
  /// The most extensions.
  static let extensionsMaximum = 10
  private static let pieceBytes = 64 * 1024

  private let invocations: Invocations
  private let frames: Frames
  private let function: (name: String, version: String, handler: String)
  private let becameReady: @Sendable () -> Void
  private let pump: @Sendable (_ endsCall: Bool) -> Void
  private let initFailed: @Sendable (FunctionFault) -> Void
  private let ready = Atomic<Bool>(false)
  private let extensions = Mutex(0)
  private let never = Semaphore()

  /// An API; `becameReady` is called at the first poll, `pump` before an answer is taken and before an invocation is given,
  /// so that what the runtime printed before it is known, and whose it is.
  package init(
    invocations: Invocations, frames: Frames, function: (name: String, version: String, handler: String),
    becameReady: @escaping @Sendable () -> Void, pump: @escaping @Sendable (_ endsCall: Bool) -> Void,
    initFailed: @escaping @Sendable (FunctionFault) -> Void
  ) {
    self.invocations = invocations
    self.frames = frames
    self.function = function
    self.becameReady = becameReady
    self.pump = pump
    self.initFailed = initFailed
  }

  /// A request of the runtime.
  func call(_ head: RequestHead, on connection: Int32, buffer: [UInt8]) -> Call {
    let isStream = head.headers[Self.mode] != nil
    return Call(
      head: head, descriptor: connection, buffer: buffer, cancellation: Cancellation(), frames: frames,
      maxBody: isStream ? Self.streamBytes : Self.readBytes, draining: false)
  }

  /// Answers a request that cannot be read.
  func refuse(_ bad: BadRequest, on connection: Int32) { Call.refuse(bad, connection) }

  /// Serves one request of the runtime.
  func serve(_ call: Call) {
    let route = RuntimeRoute(method: call.head.method, path: call.head.path)
    switch route {
    case .ping: read(call) { _ in answer(call, 200, type: "text/plain", Array("pong".utf8)) }
    case .next: read(call) { _ in next(call) }
    case .response(let id): response(call, id)
    case .error(let id): error(call, id)
    case .initError: read(call) { initError(call, $0) }
    case .restoreNext: read(call) { _ in answer(call, 200, type: "text/plain", []) }
    case .restoreError, .extensionError, .subscribe: read(call) { _ in accepted(call) }
    case .registerExtension: read(call) { _ in register(call) }
    case .nextExtensionEvent:
      // Extensions are told of nothing; this one sleeps as it would between two events.
      read(call) { _ in never.wait() }
    case .wrongMethod:
      read(call) { _ in refuse(call, 405, "MethodNotAllowed", "\(call.head.path) takes another method") }
    case .unknown: read(call) { _ in refuse(call, 404, "NotFound", "\(call.head.path) is not of the Runtime API") }
    }
  }

  private static let mode = "lambda-runtime-function-response-mode"
  private static let errorType = "lambda-runtime-function-error-type"

  /// Reads a small body and goes on with it.
  private func read(_ call: Call, _ then: ([UInt8]) -> Void) {
    do throws(Call.BodyError) { then(try call.readBody()) } catch { broken(call, error) }
  }

  private func broken(_ call: Call, _ error: Call.BodyError) {
    switch error {
    case .refused(let bad): call.refuse(bad)
    case .gone: call.cut()
    }
  }

  // MARK: next

  private func next(_ call: Call) {
    pump(false)
    if !ready.exchange(true, ordering: .acquiringAndReleasing) { becameReady() }
    guard case .invocation(let invocation) = invocations.next(on: call.descriptor) else {
      return refuse(call, 403, "InvalidStateTransition", "an invocation is out: answer it before asking for the next")
    }
    guard !Sockets.isGone(call.descriptor) else {
      call.cut()
      return invocations.undelivered(invocation)
    }
    do throws(InvalidResponse) {
      if !(try call.answer(status: 200, headers: invocation.headers, body: invocation.event)) {
        invocations.undelivered(invocation)
      }
    } catch {
      call.cut()
      _ = invocations.answer(invocation.id)
      invocations.answered(
        invocation, last: .failed(FunctionFault(type: "Runtime.InvalidRequest", message: error.description)))
    }
  }

  // MARK: answers

  /// The invocation a request answers; otherwise the request is refused, its body read first.
  private func invocation(_ call: Call, _ id: String) -> Invocation? {
    switch invocations.answer(id) {
    case .invocation(let invocation): return invocation
    case .unknownID: read(call) { _ in refuse(call, 400, "InvalidRequestID", "no invocation \(id) is out") }
    case .outOfOrder:
      read(call) { _ in refuse(call, 403, "InvalidStateTransition", "invocation \(id) is not waiting for an answer") }
    }
    return nil
  }

  private func response(_ call: Call, _ id: String) {
    let mode = call.head.headers[Self.mode]
    guard mode == nil || mode?.lowercased() == "streaming" else {
      return read(call) { _ in
        refuse(call, 400, "InvalidFunctionResponseMode", "the response mode is streaming, or not given")
      }
    }
    guard let invocation = invocation(call, id) else { return }
    let type = call.head.headers["content-type"] ?? "application/json"
    if mode == nil { buffered(call, invocation, type) } else { stream(call, invocation, type) }
  }

  private func buffered(_ call: Call, _ invocation: Invocation, _ type: String) {
    var body: [UInt8] = []
    var size = 0
    let failure = receive(call) { piece in
      size += piece.count
      if size <= Self.resultBytes { body += piece } else { body = [] }
    }
    pump(true)
    if let failure { return truncated(call, invocation, failure) }
    guard size <= Self.resultBytes else {
      let message = "the result has \(size) bytes; at most \(Self.resultBytes) are taken, more can be streamed"
      finish(invocation, .failed(FunctionFault(type: "Function.ResponseSizeTooLarge", message: message)))
      return refuse(call, 413, "RequestEntityTooLarge", message)
    }
    // A failed invocation may also be told in a result's field.
    if let named = call.head.headers[Self.errorType] {
      finish(invocation, .failed(FunctionFault(header: named, body: body)))
    } else {
      finish(invocation, .whole(type: type, body: body))
    }
    accepted(call)
  }

  private func stream(_ call: Call, _ invocation: Invocation, _ type: String) {
    var hasBegun = false
    let failure = receive(call) { piece in
      if !hasBegun {
        hasBegun = true
        invocation.offer(.begin(type: type))
      }
      invocation.offer(.bytes(piece))
    }
    pump(true)
    if let failure { return truncated(call, invocation, failure) }
    if let named = call.trailers[Self.errorType] {
      let told = call.trailers["lambda-runtime-function-error-body"].flatMap(Base64.decode) ?? []
      finish(invocation, .failed(FunctionFault(header: named, body: told)))
    } else {
      if !hasBegun { invocation.offer(.begin(type: type)) }
      finish(invocation, .end)
    }
    accepted(call)
  }

  /// Reads the body piece by piece; nil when it came whole.
  private func receive(_ call: Call, _ take: ([UInt8]) -> Void) -> Call.BodyError? {
    var piece: [UInt8] = []
    do throws(Call.BodyError) {
      while true {
        let isComplete = try call.takeBody(into: &piece)
        if !piece.isEmpty { take(piece) }
        piece.removeAll(keepingCapacity: true)
        if isComplete { return nil }
        if !call.receiveMore(Self.pieceBytes) { return .gone }
      }
    } catch {
      return error
    }
  }

  private func truncated(_ call: Call, _ invocation: Invocation, _ why: Call.BodyError) {
    switch why {
    case .gone:
      call.cut()
      let message = "the runtime's connection broke off within its result"
      finish(invocation, .failed(FunctionFault(type: "Runtime.TruncatedResponse", message: message)))
    case .refused(let bad):
      let isLarge = bad.status == 413
      let type = isLarge ? "Function.ResponseSizeTooLarge" : "Runtime.TruncatedResponse"
      finish(invocation, .failed(FunctionFault(type: type, message: bad.message)))
      call.cut()
      refuse(call, isLarge ? 413 : 400, isLarge ? "RequestEntityTooLarge" : "TruncatedHTTPRequest", bad.message)
    }
  }

  private func finish(_ invocation: Invocation, _ last: Invocation.Part) {
    invocations.answered(invocation, last: last)
  }

  private func error(_ call: Call, _ id: String) {
    guard let invocation = invocation(call, id) else { return }
    var body: [UInt8] = []
    let failure = receive(call) { if body.count + $0.count <= Self.resultBytes { body += $0 } }
    pump(true)
    if let failure { return truncated(call, invocation, failure) }
    finish(invocation, .failed(FunctionFault(header: call.head.headers[Self.errorType], body: body)))
    accepted(call)
  }

  private func initError(_ call: Call, _ body: [UInt8]) {
    let fault = FunctionFault(header: call.head.headers[Self.errorType], body: body)
    guard invocations.failInit(fault) else {
      return refuse(call, 403, "InvalidStateTransition", "the runtime was ready, or has said that it cannot start")
    }
    pump(false)
    initFailed(fault)
    accepted(call)
  }

  // MARK: extensions

  private func register(_ call: Call) {
    let isTaken = extensions.withLock { count in
      guard count < Self.extensionsMaximum else { return false }
      count += 1
      return true
    }
    guard isTaken else {
      return refuse(call, 403, "Extension.TooMany", "\(Self.extensionsMaximum) extensions are registered already")
    }
    let body = JSONText.object([
      ("functionName", function.name), ("functionVersion", function.version), ("handler", function.handler),
    ])
    answer(call, 200, type: "application/json", body, ["Lambda-Extension-Identifier": RequestID.make()])
  }

  // MARK: answering

  private func accepted(_ call: Call) { answer(call, 202, type: "application/json", Array(#"{"status":"OK"}"#.utf8)) }

  private func refuse(_ call: Call, _ status: Int, _ type: String, _ message: String) {
    answer(
      call, status, type: "application/json", JSONText.object([("errorMessage", message), ("errorType", type)]))
  }

  private func answer(
    _ call: Call, _ status: Int, type: String, _ body: [UInt8], _ headers: Headers = [:]
  ) {
    var headers = headers
    headers["Content-Type"] = type
    if (try? call.answer(status: status, headers: headers, body: body)) != true { call.cut() }
  }
}
