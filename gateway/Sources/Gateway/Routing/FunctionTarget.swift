/// A request target of ours, taken apart without decoding anything: the function gets the bytes the client sent.
struct FunctionTarget: Equatable {
  /// The function's name.
  var function: String
  /// Its namespace; `default` when not named.
  var namespace: String
  /// What the function sees: the path after the name, at least `/`, and the query.
  var path: String
  /// The part that was taken off: `/function/NAME[.NAMESPACE]`.
  var prefix: String

  /// `namespace/function`.
  var key: String { "\(namespace)/\(function)" }

  /// What a target means.
  enum Meaning: Equatable {
    case function(FunctionTarget)
    case health
    case unknown
    case malformed(String)
  }

  /// Reads an origin-form target (`/function/NAME…`).
  static func parse(_ target: String) -> Meaning {
    let bytes = Array(target.utf8)
    guard bytes.first == UInt8(ascii: "/") else { return .malformed("the target does not start with /") }
    for byte in bytes where byte <= 0x20 || byte >= 0x7F || byte == UInt8(ascii: "#") {
      return .malformed("the target holds a character that must be percent-encoded")
    }
    let pathEnd = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.count
    if bytes[..<pathEnd].elementsEqual("/healthz".utf8) { return .health }
    let lead = Array("/function/".utf8)
    guard pathEnd > lead.count, bytes.starts(with: lead) else { return .unknown }
    let nameEnd = bytes[lead.count..<pathEnd].firstIndex(of: UInt8(ascii: "/")) ?? pathEnd
    let label = bytes[lead.count..<nameEnd]
    let dot = label.firstIndex(of: UInt8(ascii: "."))
    let name = label[..<(dot ?? label.endIndex)]
    let namespace = dot.map { label[($0 + 1)...] }
    guard isLabel(name), namespace.map(isLabel) ?? true else { return .unknown }
    var path = String(decoding: bytes[nameEnd...], as: UTF8.self)
    if nameEnd == pathEnd { path = "/" + path }
    return .function(
      FunctionTarget(
        function: String(decoding: name, as: UTF8.self),
        namespace: namespace.map { String(decoding: $0, as: UTF8.self) } ?? "default", path: path,
        prefix: String(decoding: bytes[..<nameEnd], as: UTF8.self)))
  }

  /// Splits an absolute-form target (`http://HOST/PATH`) into host and origin form; nil for other forms.
  static func splitAbsolute(_ target: String) -> (host: String, target: String)? {
    let lower = target.prefix(8).lowercased()
    let scheme = lower.hasPrefix("http://") ? 7 : lower == "https://" ? 8 : 0
    guard scheme > 0 else { return nil }
    let rest = Array(target.utf8.dropFirst(scheme))
    let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? rest.count
    let host = String(decoding: rest[..<end], as: UTF8.self)
    guard !host.isEmpty, !host.utf8.contains(UInt8(ascii: "@")) else { return nil }
    var origin = String(decoding: rest[end...], as: UTF8.self)
    if !origin.hasPrefix("/") { origin = "/" + origin }
    return (host, origin)
  }

  /// A DNS label: lower-case letters, digits and inner hyphens, 1 to 63.
  private static func isLabel(_ bytes: ArraySlice<UInt8>) -> Bool {
    guard (1...63).contains(bytes.count), bytes.first != UInt8(ascii: "-"), bytes.last != UInt8(ascii: "-") else {
      return false
    }
    return bytes.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == UInt8(ascii: "-") }
  }
}
