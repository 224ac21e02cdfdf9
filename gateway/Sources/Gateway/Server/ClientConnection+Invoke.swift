import ClusterAPI
import ClusterModel
import FoundationEssentials
import NIOCore

/// Calls as AWS Lambda's Invoke makes them: the kind of call in a field, errors in the shape that SDKs read.
extension ClientConnection {
  /// What became of the bytes of a head.
  enum Reading {
    case incomplete
    case refused(Refusal, CallText, namespace: String, length: Int?)
    case health(Int)
    case call(Call, Int)
    case intake(AsyncIntake, Int)
    case lookup(ResultLookup, Int)
    /// Nothing is to be done, but it could be.
    case dryRun(CallText, Int)
  }

  /// What `X-Amz-Invocation-Type` asks for.
  private enum Kind { case call, event, dryRun }

  /// A request for `/2015-03-31/functions/…` whose head may pass.
  func invocation(_ head: RequestHead, _ target: FunctionTarget, _ bytes: UnsafeRawBufferPointer, length: Int)
    -> Reading
  {
    var head = head
    allowed = "POST"
    invokes = true
    do throws(Refusal) {
      guard ByteScan.same(head.method.of(bytes), "POST") else {
        throw Refusal(.methodNotAllowed, "functions are invoked by POST")
      }
      switch try kind(bytes) {
      case .call: return .call(try route(head, target, bytes), length)
      case .event:
        if caller != nil { throw PodCaller.onlySynchronous }
        let info = try found(head, target, bytes).1
        head.keepsAuthorization = true
        return .intake(
          try intake(head, lines, target, bytes, words: words(head, bytes), info: info, client: client()), length)
      case .dryRun:
        _ = try found(head, target, bytes)
        return .dryRun(words(head, bytes), length)
      }
    } catch {
      return .refused(error, words(head, bytes), namespace: target.namespace(bytes), length: length)
    }
  }

  private func kind(_ bytes: UnsafeRawBufferPointer) throws(Refusal) -> Kind {
    var found: Kind?
    for field in lines.fields where ByteScan.equals(field.name.of(bytes), "x-amz-invocation-type") {
      let value = field.value.of(bytes)
      guard found == nil else { throw Refusal(.badRequest, "X-Amz-Invocation-Type stands twice") }
      if ByteScan.equals(value, "requestresponse") {
        found = .call
      } else if ByteScan.equals(value, "event") {
        found = .event
      } else if ByteScan.equals(value, "dryrun") {
        found = .dryRun
      } else {
        throw Refusal(.badRequest, "X-Amz-Invocation-Type is RequestResponse, Event or DryRun")
      }
    }
    return found ?? .call
  }

  /// The function is there and may be called.
  func answerDryRun(_ words: CallText) {
    if !bodyIsSmall || services.isDraining { closes = true }
    var bytes = ByteBuffer()
    bytes.write(room: 256 + 2 * words.call.count) { out in
      out.put("HTTP/1.1 204 No Content\r\nX-Amzn-RequestId: ")
      out.put(text: words.callID)
      if closes { out.put("\r\nConnection: close") }
      out.put("\r\n\r\n")
    }
    finish(bytes)
  }

  /// Answers an invocation with an error of the platform. One that is the function's own is a 200 that says so: SDKs
  /// take 500 and above for a sign to send the same call again.
  func answerInvocation(_ code: CallErrorCode, _ message: String, callID: String, elapsed: Double) {
    let failure = InvokeFailure(code)
    let pairs =
      failure.isFunctions
      ? ["errorType": failure.type, "errorMessage": message] : ["Type": failure.fault, "Message": message]
    var body = ByteBuffer()
    // A map of texts always encodes.
    body.writeBytes((try? JSONCoding.encoder.encode(pairs)) ?? Data("{}".utf8))
    if case .active(ended: false) = phase, !bodyIsSmall { closes = true }
    if services.isDraining { closes = true }
    var bytes = ByteBuffer()
    bytes.write(room: 768 + 4 * callID.utf8.count) { out in
      out.put("HTTP/1.1 ")
      out.put(decimal: Int64(failure.status))
      out.put(failure.isFunctions ? " OK" : " Error")
      out.put("\r\nContent-Type: application/json\r\nContent-Length: ")
      out.put(decimal: Int64(body.readableBytes))
      if failure.isFunctions {
        out.put("\r\nX-Amz-Function-Error: Unhandled")
      } else {
        out.put("\r\nX-Amzn-ErrorType: ")
        out.put(text: failure.type)
      }
      out.put("\r\nX-Amzn-RequestId: ")
      out.put(text: callID)
      putError(code, callID: callID, elapsed: elapsed, &out)
      putEndOfError(code, &out)
    }
    if !isHEAD { bytes.writeBuffer(&body) }
    finish(bytes)
  }
}

/// An error of the platform in the words of Lambda.
struct InvokeFailure: Equatable {
  /// The status of the answer.
  let status: Int
  /// The kind of error.
  let type: String
  /// Whether the caller or the service is at fault.
  let fault: String
  /// Whether the function was called and failed.
  let isFunctions: Bool

  /// What a code of ours is there.
  init(_ code: CallErrorCode) {
    let type: String
    switch code {
    case .functionTimeout, .responseStartTimeout, .idleTimeout: type = "Sandbox.Timedout"
    case .podCrashed, .startFailed: type = "Runtime.ExitError"
    case .badResponse: type = "Runtime.InvalidResponse"
    case .functionFailed, .callLoop: type = "Runtime.Unknown"
    case .functionNotFound, .callNotFound: type = "ResourceNotFoundException"
    case .unauthorized, .forbidden: type = "AccessDeniedException"
    case .bodyTooLarge: type = "RequestTooLargeException"
    case .queueFull: type = "TooManyRequestsException"
    case .callKnown: type = "ResourceConflictException"
    case .badRequest, .methodNotAllowed, .requestTimeout, .headTooLarge, .uriTooLong:
      type = "InvalidRequestContentException"
    case .queueTimeout, .noCapacity, .draining, .noControlPlane, .storageFull: type = "ServiceException"
    }
    self.type = type
    isFunctions = type.contains(".")
    status = isFunctions ? 200 : code.status
    fault = code.actor == .platformOperator && code != .queueFull ? "Service" : "User"
  }
}
