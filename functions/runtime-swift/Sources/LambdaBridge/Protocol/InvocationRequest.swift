package import ApusFunction

/// What a runtime is told of a call, made of the request's fields.
package struct InvocationRequest: Sendable {
  /// Who the function is, to a program made for Lambda.
  package struct Identity: Sendable {
    /// The function's ARN.
    package var arn: String
    /// How long a call may take if it does not say, milliseconds.
    package var timeout: Int

    /// An identity.
    package init(arn: String, timeout: Int) {
      self.arn = arn
      self.timeout = timeout
    }
  }

  /// The fields of the answer to the poll that gets the invocation.
  package let headers: Headers
  /// Its id.
  package let id: String

  /// Of a request's fields; `fresh` is the id to use when the call has none that can stand in a path. `now` is
  /// milliseconds since 1970.
  package init(_ fields: Headers, identity: Identity, fresh: String, now: Int) {
    id = fields["x-call-id"].flatMap { Self.fits($0) ? $0 : nil } ?? fresh
    let deadline = fields["x-apus-deadline"].flatMap { $0.utf8.count < 16 ? Int($0) : nil } ?? now + identity.timeout
    var headers: Headers = [
      "Lambda-Runtime-Aws-Request-Id": id, "Lambda-Runtime-Deadline-Ms": "\(deadline)",
      "Lambda-Runtime-Invoked-Function-Arn": identity.arn,
    ]
    if let trace = fields["traceparent"].flatMap(Self.trace) { headers.append("Lambda-Runtime-Trace-Id", trace) }
    if let context = fields["x-amz-client-context"].flatMap(Base64.decode) {
      // A field is one line; in JSON a line's end outside a text means nothing, and inside one it is not allowed.
      let line = String(decoding: context.filter { $0 >= 0x20 && $0 != 0x7F }, as: UTF8.self)
      if !line.isEmpty { headers.append("Lambda-Runtime-Client-Context", line) }
    }
    headers.append("Content-Type", Self.type(of: fields["content-type"]))
    self.headers = headers
  }

  private static func fits(_ id: String) -> Bool {
    (1...64).contains(id.utf8.count)
      && id.utf8.allSatisfy { HeadParser.isToken($0) && !"!#$%&'*+^`|~".utf8.contains($0) }
  }

  /// JSON, unless the caller says that it is something else. Runtime clients compare the type as it is, so that it comes
  /// without parameters; and a form is what curl calls any body that was given no type.
  static func type(of sent: String?) -> String {
    guard let sent, !sent.isEmpty else { return "application/json" }
    let name = sent.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
    let isJSON = name == "application/json" || name == "text/json" || name.hasSuffix("+json")
    return isJSON || name == "application/x-www-form-urlencoded" ? "application/json" : sent
  }

  /// A W3C trace context in the words of X-Ray; nil when it is none.
  static func trace(_ parent: String) -> String? {
    let parts = parent.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 4, parts[1].utf8.count == 32, parts[2].utf8.count == 16, let flags = UInt8(parts[3], radix: 16)
    else { return nil }
    return "Root=1-\(parts[1].prefix(8))-\(parts[1].dropFirst(8));Parent=\(parts[2]);Sampled=\(flags & 1)"
  }
}

/// Decodes base64.
package enum Base64 {
  /// The bytes; nil when the text is no base64. Padding may be missing.
  package static func decode(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    var (bits, count) = (UInt32(0), 0)
    var digits = Substring(text).utf8
    while digits.last == UInt8(ascii: "=") { digits.removeLast() }
    for byte in digits {
      let value: UInt8
      switch byte {
      case 0x41...0x5A: value = byte - 0x41
      case 0x61...0x7A: value = byte - 0x61 + 26
      case 0x30...0x39: value = byte - 0x30 + 52
      case 0x2B, 0x2D: value = 62
      case 0x2F, 0x5F: value = 63
      default: return nil
      }
      (bits, count) = (bits << 6 | UInt32(value), count + 6)
      if count >= 8 {
        count -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
      }
    }
    return digits.count % 4 == 1 ? nil : bytes
  }
}
