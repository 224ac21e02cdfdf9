/// Header fields the gateway treats in a way of their own; all others are `other` and pass.
enum FieldName: UInt8 {
  case other
  case host, contentLength, transferEncoding, connection, upgrade, expect
  /// Belongs to one connection, not to the message (RFC 9110, 7.6.1).
  case hopByHop
  case callID, traceparent, forwarded, forwardedFor
  /// What the gateway says about the way here; nobody else may.
  case forwardedDetail
  /// `X-Apus-*` and `X-Duration-Seconds`: the platform's own.
  case platform
  /// A name that CGI and what follows it would read as one of the above, because it takes `_` for `-`.
  case disguised
  /// May not stand in trailers: credentials and cookies.
  case credential

  private static let known: [(name: StaticString, field: FieldName)] = [
    ("te", .hopByHop), ("host", .host), ("expect", .expect), ("cookie", .credential), ("upgrade", .upgrade),
    ("trailer", .hopByHop), ("forwarded", .forwarded), ("x-call-id", .callID), ("connection", .connection),
    ("keep-alive", .hopByHop), ("set-cookie", .credential), ("traceparent", .traceparent),
    ("authorization", .credential), ("content-length", .contentLength), ("http2-settings", .hopByHop),
    ("x-forwarded-for", .forwardedFor), ("x-forwarded-host", .forwardedDetail), ("proxy-connection", .hopByHop),
    ("transfer-encoding", .transferEncoding), ("x-forwarded-proto", .forwardedDetail),
    ("x-forwarded-prefix", .forwardedDetail), ("proxy-authenticate", .hopByHop), ("x-duration-seconds", .platform),
    ("proxy-authorization", .hopByHop),
  ]

  /// Names of each length.
  private static let byLength: [[(name: StaticString, field: FieldName)]] = {
    var lists = [[(name: StaticString, field: FieldName)]](repeating: [], count: 20)
    for entry in known { lists[entry.name.utf8CodeUnitCount].append(entry) }
    return lists
  }()

  /// The field of a name, whatever its case.
  static func of(_ name: UnsafeRawBufferPointer) -> FieldName {
    guard let first = name.first else { return .other }
    // Most names begin with none of these letters: a c e f h k p s t u x.
    let letter = Int(first | 0x20) - 97
    guard letter >= 0, letter < 26, 0b1001_1100_1000_0100_1011_0101 >> letter & 1 == 1 else {
      return .other
    }
    if name.count < byLength.count {
      for entry in byLength[name.count] {
        if let match = match(name, entry.name) { return match ? entry.field : .disguised }
      }
    }
    if name.count >= 7, let match = match(UnsafeRawBufferPointer(rebasing: name[..<7]), "x-apus-") {
      return match ? .platform : .disguised
    }
    return .other
  }

  /// Whether a name is the known one (true), reads like it with `_` for `-` (false), or neither (nil).
  private static func match(_ name: UnsafeRawBufferPointer, _ known: StaticString) -> Bool? {
    var exact = true
    for index in 0..<name.count {
      let byte = name[index]
      let wanted = known.utf8Start[index]
      if isSame(byte, wanted) { continue }
      guard wanted == UInt8(ascii: "-"), byte == UInt8(ascii: "_") else { return nil }
      exact = false
    }
    return exact
  }

  /// Whether a byte is a known lower-case one or its capital.
  private static func isSame(_ byte: UInt8, _ wanted: UInt8) -> Bool {
    byte == wanted || (wanted >= 97 && wanted <= 122 && byte == wanted - 32)
  }
}
