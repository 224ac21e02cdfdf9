package import ApusFunction

/// Serves the function's callers: makes an invocation of each request, and its answer of the runtime's.
package struct FunctionCalls: CallRunner {
  private let invocations: Invocations
  private let identity: InvocationRequest.Identity
  private let version: String

  /// Calls of a function; `version` is told to callers as `X-Amz-Executed-Version`.
  package init(invocations: Invocations, identity: InvocationRequest.Identity, version: String) {
    self.invocations = invocations
    self.identity = identity
    self.version = version
  }

  /// Serves one call.
  package func run(_ call: Call) {
    var event: [UInt8]
    do throws(Call.BodyError) { event = try call.readBody() } catch {
      switch error {
      case .refused(let bad): call.refuse(bad)
      case .gone: call.cut()
      }
      return
    }
    if event.isEmpty { event = Array("{}".utf8) }
    let invocation = submit(call, event)
    let invocations = invocations
    call.cancellation.onCancel { invocations.withdraw(invocation) }
    var answer = Answer(call: call, version: version, id: invocation.id)
    while !answer.take(invocation.take()) {}
  }

  private func submit(_ call: Call, _ event: [UInt8]) -> Invocation {
    var fields = call.head.headers
    while true {
      let request = InvocationRequest(
        fields, identity: identity, fresh: RequestID.make(), now: Clock.epochMilliseconds())
      let invocation = Invocation(request, event: event, output: call.output)
      if invocations.submit(invocation) { return invocation }
      // A call of the same id runs: this one gets an id of its own.
      fields["x-call-id"] = nil
    }
  }

  /// Writes the answer as its parts come.
  private struct Answer {
    let call: Call
    let version: String
    let id: String
    private var prelude: HTTPPrelude?
    private var isGone = false
    private var isOver = false

    init(call: Call, version: String, id: String) {
      (self.call, self.version, self.id) = (call, version, id)
    }

    /// True once the answer is complete.
    mutating func take(_ part: Invocation.Part) -> Bool {
      switch part {
      case .whole(let type, let body):
        if type.hasPrefix(HTTPPrelude.type) {
          prelude = HTTPPrelude()
          return take(.bytes(body)) || take(.end)
        }
        send(status: 200, headers: headers(type), body: body)
        return true
      case .begin(let type):
        if type.hasPrefix(HTTPPrelude.type) { prelude = HTTPPrelude() } else { begin(200, headers(type)) }
      case .bytes(let bytes): piece(bytes)
      case .end: end()
      case .failed(let fault):
        if !isOver { fail(fault) }
        return true
      case .withdrawn: call.cut()
      }
      switch part {
      case .end, .withdrawn: return true
      default: return false
      }
    }

    private func headers(_ type: String) -> Headers {
      var headers: Headers = ["X-Amz-Executed-Version": version]
      if !type.isEmpty { headers["Content-Type"] = type }
      return headers
    }

    private mutating func piece(_ bytes: [UInt8]) {
      guard !isGone, !isOver else { return }
      guard prelude != nil else {
        isGone = !call.writer.send(bytes)
        return
      }
      switch prelude?.feed(bytes) {
      case .head(let head, let rest):
        prelude = nil
        var headers = head.headers
        headers["X-Amz-Executed-Version"] = version
        begin(head.status, headers)
        if !isGone, !isOver, !rest.isEmpty { isGone = !call.writer.send(rest) }
      case .malformed(let why): fail(FunctionFault(type: "Runtime.InvalidResponse", message: why))
      case .incomplete, nil: break
      }
    }

    private mutating func begin(_ status: Int, _ headers: Headers) {
      do throws(InvalidResponse) { isGone = !(try call.beginStream(status: status, headers: headers)) } catch {
        fail(FunctionFault(type: "Runtime.InvalidResponse", message: error.description))
      }
    }

    private mutating func end() {
      if prelude != nil, !isOver {
        return fail(FunctionFault(type: "Runtime.InvalidResponse", message: "the answer ended within its HTTP head"))
      }
      if isGone { call.cut() } else if !isOver { call.finishStream() }
    }

    private mutating func send(status: Int, headers: Headers, body: [UInt8]) {
      do throws(InvalidResponse) { try call.answer(status: status, headers: headers, body: body) } catch {
        fail(FunctionFault(type: "Runtime.InvalidResponse", message: error.description))
      }
    }

    /// A failed invocation: a 500 as every runner answers, or, for who invokes as Lambda's API does, the error itself.
    private mutating func fail(_ fault: FunctionFault) {
      isOver = true
      call.output.flush()
      let message = String("\(fault.type): \(fault.message)".prefix(1024))
      call.output.record("error", message, fault.fields)
      guard !call.answered else { return call.cut() }
      let body =
        call.head.headers["x-forwarded-prefix"]?.hasPrefix("/2015-03-31/functions/") == true
        ? fault.payload(request: id)
        : JSONText.object([
          ("code", "function_failed"), ("message", message), ("component", "function"), ("call", call.id),
        ])
      var headers = headers("application/json")
      headers["X-Function-Error"] = String(decoding: fault.type.utf8.filter(HeadParser.isToken), as: UTF8.self)
      headers["X-Amz-Function-Error"] = "Unhandled"
      _ = try? call.answer(status: 500, headers: headers, body: body)
    }
  }
}
