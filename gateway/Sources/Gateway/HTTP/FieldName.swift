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
  /// `X-Timeout`: what the caller grants the call.
  case timeout
  /// A name that CGI and what follows it would read as one of the above, because it takes `_` for `-`.
  case disguised
  /// May not stand in trailers: cookies and proxies' credentials.
  case credential
  /// `Authorization`: the function's, or ours where it asks for tokens.
  case authorization
  /// `X-Amz-Security-Token`, where clients of AWS Lambda put a token.
  case sessionToken

  /// The field of a name, whatever its case.
  static func of(_ name: UnsafeRawBufferPointer) -> FieldName {
    guard let first = name.first else { return .other }
    // Most names begin with none of these letters: a c e f h k p s t u x.
    let letter = Int(first | 0x20) - 97
    guard letter >= 0, letter < 26, 0b1001_1100_1000_0100_1011_0101 >> letter & 1 == 1 else {
      return .other
    }
    if let found = name.count < 16 ? short(name) : long(name) { return found }
    if name.count >= 7, let exact = match(UnsafeRawBufferPointer(rebasing: name[..<7]), "x-apus-") {
      return exact ? .platform : .disguised
    }
    return .other
  }

  /// Among known names of up to 15 bytes.
  private static func short(_ name: UnsafeRawBufferPointer) -> FieldName? {
    switch name.count {
    case 2: found(name, "te", .hopByHop)
    case 4: found(name, "host", .host)
    case 6: found(name, "expect", .expect) ?? found(name, "cookie", .credential)
    case 7: found(name, "upgrade", .upgrade) ?? found(name, "trailer", .hopByHop)
    case 9:
      found(name, "forwarded", .forwarded) ?? found(name, "x-call-id", .callID) ?? found(name, "x-timeout", .timeout)
    case 10:
      found(name, "connection", .connection) ?? found(name, "keep-alive", .hopByHop)
        ?? found(name, "set-cookie", .credential)
    case 11: found(name, "traceparent", .traceparent)
    case 13: found(name, "authorization", .authorization)
    case 14: found(name, "content-length", .contentLength) ?? found(name, "http2-settings", .hopByHop)
    case 15: found(name, "x-forwarded-for", .forwardedFor)
    default: nil
    }
  }

  /// Among known names of 16 bytes and more.
  private static func long(_ name: UnsafeRawBufferPointer) -> FieldName? {
    switch name.count {
    case 16: found(name, "x-forwarded-host", .forwardedDetail) ?? found(name, "proxy-connection", .hopByHop)
    case 17: found(name, "transfer-encoding", .transferEncoding) ?? found(name, "x-forwarded-proto", .forwardedDetail)
    case 18:
      found(name, "x-forwarded-prefix", .forwardedDetail) ?? found(name, "proxy-authenticate", .hopByHop)
        ?? found(name, "x-duration-seconds", .platform)
    case 19: found(name, "proxy-authorization", .hopByHop)
    case 20: found(name, "x-amz-security-token", .sessionToken)
    default: nil
    }
  }

  /// The field if the name is the known one, or reads like it.
  @inline(__always)
  private static func found(_ name: UnsafeRawBufferPointer, _ known: StaticString, _ field: FieldName) -> FieldName? {
    // Most names of the same length differ in their first letter.
    guard name[0] | 0x20 == known.utf8Start[0], let exact = match(name, known) else { return nil }
    return exact ? field : .disguised
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
