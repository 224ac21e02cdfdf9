/// A request target of ours, taken apart without decoding anything: the function gets the bytes the client sent.
struct FunctionTarget: Equatable {
  /// The function's name, with its namespace behind a dot if the client wrote one.
  var label: Span
  /// The dot in it.
  var dot: Int?
  /// What is taken off: `/function/NAME[.NAMESPACE]`.
  var prefix: Span
  /// What the function sees: the rest of the path, and the query. Without a leading `/` where the client wrote none.
  var rest: Span
  /// The rest of the path alone.
  var restPath: Span

  /// What a target means.
  enum Meaning: Equatable {
    case function(FunctionTarget)
    /// `/async-function/NAME…`: the call is kept and run later.
    case async(FunctionTarget)
    /// `/async-result/CALL`: what became of a call that was kept.
    case result(Span)
    /// `/2015-03-31/functions/NAME/invocations`: a call as AWS Lambda's clients make it.
    case invoke(FunctionTarget)
    case health
    case unknown
    case malformed(String)
  }

  /// Reads a target in origin form (`/function/NAME…`) whose bytes were checked; one that came out of an absolute form
  /// may lack the `/`.
  static func parse(_ bytes: UnsafeRawBufferPointer, _ target: Span, isAbsolute: Bool = false) -> Meaning {
    guard !target.isEmpty, bytes[target.start] == UInt8(ascii: "/") else {
      return isAbsolute ? .unknown : .malformed("the target does not start with /")
    }
    var pathEnd = target.start
    while pathEnd < target.end, bytes[pathEnd] != UInt8(ascii: "?") { pathEnd += 1 }
    // Two bytes tell which it can be.
    let isAsync =
      pathEnd - target.start > asyncLead.utf8CodeUnitCount && bytes[target.start + 1] == UInt8(ascii: "a")
      && starts(bytes, target.start, asyncLead)
    let start = target.start + (isAsync ? asyncLead : lead).utf8CodeUnitCount
    guard isAsync || (pathEnd > start && starts(bytes, target.start, lead)) else {
      let path = Span(start: target.start, end: pathEnd)
      if let call = call(bytes, path) { return .result(call) }
      if let found = invocation(bytes, target, pathEnd: pathEnd) { return .invoke(found) }
      return ByteScan.same(path.of(bytes), "/healthz") ? .health : .unknown
    }
    var end = start
    var dot: Int?
    while end < pathEnd, bytes[end] != UInt8(ascii: "/") {
      if bytes[end] == UInt8(ascii: "."), dot == nil { dot = end }
      end += 1
    }
    guard isLabel(bytes, start, dot ?? end), dot.map({ isLabel(bytes, $0 + 1, end) }) ?? true else { return .unknown }
    let found = FunctionTarget(
      label: Span(start: start, end: end), dot: dot, prefix: Span(start: target.start, end: end),
      rest: Span(start: end, end: target.end), restPath: Span(start: end, end: pathEnd))
    return isAsync ? .async(found) : .function(found)
  }

  private static let lead: StaticString = "/function/"
  private static let asyncLead: StaticString = "/async-function/"
  private static let resultLead: StaticString = "/async-result/"

  /// The call a path asks for; nil when it asks for none.
  private static func call(_ bytes: UnsafeRawBufferPointer, _ path: Span) -> Span? {
    let length = resultLead.utf8CodeUnitCount
    guard path.count > length, starts(bytes, path.start, resultLead) else { return nil }
    let id = Span(start: path.start + length, end: path.end)
    return HeaderRules.isCallID(id.of(bytes)) ? id : nil
  }

  /// Whether a text stands at an offset; there is room for it.
  static func starts(_ bytes: UnsafeRawBufferPointer, _ offset: Int, _ text: StaticString) -> Bool {
    ByteScan.same(Span(start: offset, end: offset + text.utf8CodeUnitCount).of(bytes), text)
  }

  /// The function's name.
  func function(_ bytes: UnsafeRawBufferPointer) -> String {
    Span(start: label.start, end: dot ?? label.end).text(bytes)
  }

  /// Its namespace; `default` when not named.
  func namespace(_ bytes: UnsafeRawBufferPointer) -> String {
    dot.map { Span(start: $0 + 1, end: label.end).text(bytes) } ?? "default"
  }

  /// A DNS label: lower-case letters, digits and inner hyphens, 1 to 63.
  static func isLabel(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Bool {
    guard (1...63).contains(end - start), bytes[start] != UInt8(ascii: "-"), bytes[end - 1] != UInt8(ascii: "-") else {
      return false
    }
    for byte in bytes[start..<end] {
      guard (97...122).contains(byte) || (48...57).contains(byte) || byte == UInt8(ascii: "-") else { return false }
    }
    return true
  }
}
