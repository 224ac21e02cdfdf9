/// The call a handler serves: who calls what, until when, and where to log.
public struct Context: Sendable {
  /// The id under which everything about this call is logged.
  public let callID: String
  /// When the platform stops waiting, in milliseconds since 1970.
  public let deadline: Int
  /// The function's name.
  public let function: String
  /// The revision's name.
  public let revision: String
  /// The namespace.
  public let namespace: String
  /// The W3C trace context of the request, empty without one.
  public let traceparent: String
  /// Writes records under this call's id.
  public let log: CallLog
  private let cancellation: Cancellation

  init(call: Call) {
    callID = call.id
    deadline = call.deadline ?? Clock.epochMilliseconds() + Self.defaultTimeout
    function = ProcessEnvironment["APUS_FUNCTION"] ?? ""
    revision = ProcessEnvironment["APUS_REVISION"] ?? ""
    namespace = ProcessEnvironment["APUS_NAMESPACE"] ?? ""
    traceparent = call.head.headers["traceparent"] ?? ""
    log = CallLog(output: call.output)
    cancellation = call.cancellation
  }

  /// A context as a test makes one: its records are written to standard error.
  public init(function: String, callID: String = "test") {
    self.callID = callID
    self.function = function
    deadline = Clock.epochMilliseconds() + Self.defaultTimeout
    revision = "\(function)-00001"
    namespace = "default"
    traceparent = ""
    log = CallLog(output: CallOutput(frames: Frames(descriptor: 2), call: callID))
    cancellation = Cancellation()
  }

  /// Milliseconds until the deadline, never below 0.
  public var remainingMilliseconds: Int { max(0, deadline - Clock.epochMilliseconds()) }

  /// True once the client has gone or the deadline has passed: stop, nobody waits for the answer.
  public var cancelled: Bool { cancellation.isCancelled || remainingMilliseconds == 0 }

  private static let defaultTimeout = 30_000
}

/// Writes structured records: `context.log.info("paid", ["amount": 12])`.
public struct CallLog: Sendable {
  let output: CallOutput

  /// A record for whoever debugs the function.
  public func debug(_ message: String, _ fields: [String: LogValue] = [:]) { output.record("debug", message, fields) }

  /// A record of something that went as it should.
  public func info(_ message: String, _ fields: [String: LogValue] = [:]) { output.record("info", message, fields) }

  /// A record of something odd that was dealt with.
  public func warn(_ message: String, _ fields: [String: LogValue] = [:]) { output.record("warn", message, fields) }

  /// A record of something that failed.
  public func error(_ message: String, _ fields: [String: LogValue] = [:]) { output.record("error", message, fields) }
}
