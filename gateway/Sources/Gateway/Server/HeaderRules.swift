import NIOHTTP1

/// Which header fields pass, in both directions.
enum HeaderRules {
  /// Fields that belong to one connection, not to the message.
  static let hopByHop: Set<String> = [
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "expect", "http2-settings",
  ]

  /// Names listed in `Connection`, lower case. Fields that frame or address the message cannot be taken out that way.
  static func named(in headers: HTTPHeaders) -> Set<String> {
    var names: Set<String> = []
    for value in headers["connection"] {
      for part in value.split(separator: ",") {
        let name = trim(part).lowercased()
        if !name.isEmpty, name != "host", name != "content-length" { names.insert(name) }
      }
    }
    return names
  }

  /// A client's fields for the function: without those of the connection, ours, and framing (added anew).
  static func toFunction(_ headers: HTTPHeaders) -> HTTPHeaders {
    let named = named(in: headers)
    var kept: [(String, String)] = []
    kept.reserveCapacity(headers.count + 10)
    for (name, value) in headers {
      // CGI and what follows it read `_` as `-`: a name that becomes one of ours there is one of ours.
      let lower = name.lowercased().replacing("_", with: "-")
      if hopByHop.contains(lower) || named.contains(lower) || lower.hasPrefix("x-apus-") { continue }
      switch lower {
      case "content-length", "x-call-id", "traceparent", "host", "x-forwarded-for", "x-forwarded-host",
        "x-forwarded-proto", "x-forwarded-prefix", "forwarded":
        continue
      default: kept.append((name, value))
      }
    }
    return HTTPHeaders(kept)
  }

  /// A function's fields for the client: without those of the connection, and without names only we may use.
  static func toClient(_ headers: HTTPHeaders) -> HTTPHeaders {
    let named = named(in: headers)
    var kept: [(String, String)] = []
    kept.reserveCapacity(headers.count + 4)
    for (name, value) in headers {
      let lower = name.lowercased()
      if hopByHop.contains(lower) || named.contains(lower) || lower.hasPrefix("x-apus-") { continue }
      if lower == "content-length" || lower == "x-call-id" || lower == "x-duration-seconds" { continue }
      kept.append((name, value))
    }
    return HTTPHeaders(kept)
  }

  /// Trailers that may pass: none that frames, routes, or is ours.
  static func trailers(_ trailers: HTTPHeaders) -> HTTPHeaders {
    HTTPHeaders(
      trailers.filter { name, _ in
        let lower = name.lowercased()
        return !hopByHop.contains(lower) && !lower.hasPrefix("x-apus-") && lower != "content-length" && lower != "host"
          && lower != "x-call-id" && lower != "authorization" && lower != "cookie" && lower != "set-cookie"
      })
  }

  /// Whether a client's call id is kept: `^[A-Za-z0-9._:-]{1,64}$`.
  static func isCallID(_ text: String) -> Bool {
    let bytes = text.utf8
    guard (1...64).contains(bytes.count) else { return false }
    return bytes.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"),
        UInt8(ascii: "-"):
        true
      default: false
      }
    }
  }

  /// Whether a `traceparent` is one of W3C version 00: `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero.
  static func isTraceparent(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard bytes.count == 55, bytes[0] == 48, bytes[1] == 48, bytes[2] == 45, bytes[35] == 45, bytes[52] == 45 else {
      return false
    }
    func hex(_ range: Range<Int>) -> Bool {
      bytes[range].allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }
    guard hex(3..<35), hex(36..<52), hex(53..<55) else { return false }
    return bytes[3..<35].contains { $0 != 48 } && bytes[36..<52].contains { $0 != 48 }
  }

  /// A new `traceparent`, sampled.
  static func makeTraceparent(using generator: inout some RandomNumberGenerator) -> String {
    func hex(_ value: UInt64) -> String {
      let text = String(value, radix: 16)
      return String(repeating: "0", count: 16 - text.count) + text
    }
    let high = generator.next()
    let low = generator.next() | 1
    let span = generator.next() | 1
    return "00-\(hex(high))\(hex(low))-\(hex(span))-01"
  }

  /// Without blanks and tabs at both ends.
  static func trim(_ text: some StringProtocol) -> String {
    var view = Substring(text)
    while let first = view.utf8.first, first == 32 || first == 9 { view = view.dropFirst() }
    while let last = view.utf8.last, last == 32 || last == 9 { view = view.dropLast() }
    return String(view)
  }
}
