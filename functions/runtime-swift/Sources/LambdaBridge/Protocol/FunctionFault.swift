package import ApusFunction

/// Why an invocation has no result.
package struct FunctionFault: Equatable, Sendable {
  /// The kind of error: the class of an exception, or a `Runtime.…` or `Function.…` of the platform.
  package var type: String
  /// What went wrong.
  package var message: String
  /// Where, a line each, the innermost last.
  package var trace: [String] = []
  /// The error as the runtime told it; empty where the platform noticed it.
  package var body: [UInt8] = []

  /// An error that the platform noticed.
  package init(type: String, message: String) {
    self.type = type
    self.message = message
  }

  /// An error that a runtime told: the field `Lambda-Runtime-Function-Error-Type`, and the body.
  package init(header: String?, body: [UInt8]) {
    let told = JSONTree(body)
    let named = header.map { String(decoding: $0.utf8.prefix(Self.typeBytes), as: UTF8.self) }
    type = told?["errorType"]?.text.flatMap { $0.isEmpty ? nil : $0 } ?? named ?? "Function.Unknown"
    message = told?["errorMessage"]?.text ?? (told == nil ? String(decoding: body.prefix(1024), as: UTF8.self) : "")
    if case .list(let lines)? = told?["stackTrace"] { trace = lines.compactMap(\.text) }
    self.body = body
  }

  private static let typeBytes = 256
  private static let traceBytes = 32 * 1024

  /// The error as an invoker of Lambda gets it.
  package func payload(request: String) -> [UInt8] {
    if !body.isEmpty, JSONTree(body) != nil { return body }
    return JSONText.object([("errorType", type), ("errorMessage", message), ("requestId", request)])
  }

  /// The fields of its record in the log.
  package var fields: [String: LogValue] {
    var fields: [String: LogValue] = ["error": .string(type)]
    var text = ""
    for line in trace where text.utf8.count < Self.traceBytes { text += line.hasSuffix("\n") ? line : line + "\n" }
    if !text.isEmpty { fields["traceback"] = .string(text) }
    return fields
  }
}
