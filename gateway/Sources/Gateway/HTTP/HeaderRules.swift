/// Which header fields pass, in both directions, and what values of ours look like.
enum HeaderRules {
  /// Whether a client's field goes to the function as it is. Those of the connection, of framing and ours do not.
  static func passesToFunction(_ kind: FieldName) -> Bool {
    kind == .other || kind == .credential || kind == .authorization || kind == .sessionToken
  }

  /// The same, for a function whose callers show tokens: it gets none to keep.
  static func passesToGuarded(_ kind: FieldName) -> Bool { kind == .other || kind == .credential }

  /// Whether a function's field goes to the client as it is.
  static func passesToClient(_ kind: FieldName) -> Bool {
    switch kind {
    case .other, .credential, .authorization, .host, .traceparent, .forwarded, .forwardedFor, .forwardedDetail,
      .disguised, .timeout, .sessionToken:
      true
    case .contentLength, .transferEncoding, .connection, .upgrade, .expect, .hopByHop, .callID, .platform: false
    }
  }

  /// Whether `Connection` takes a field out. Fields that frame or address the message cannot be taken out that way.
  static func isNamed(_ field: Field, _ lines: HeadLines, _ bytes: UnsafeRawBufferPointer) -> Bool {
    if field.kind == .host || field.kind == .contentLength { return false }
    let name = field.name.of(bytes)
    var found = false
    for other in lines.fields where other.kind == .connection {
      ByteScan.list(other.value, bytes) { part in
        if part.count == name.count, sameName(part.of(bytes), name) { found = true }
      }
    }
    return found
  }

  /// Copies the lines that pass, runs of them at once.
  static func copy(
    _ lines: HeadLines, _ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, namesFields: Bool,
    passes: (FieldName) -> Bool
  ) {
    var run = Span.none
    for field in lines.fields where passes(field.kind) && !(namesFields && isNamed(field, lines, bytes)) {
      // Lines that stand behind one another are copied with the line's end between them.
      if run.isEmpty || field.name.start != run.end + 2 {
        if !run.isEmpty {
          out.put(run.of(bytes))
          out.put("\r\n")
        }
        run.start = field.name.start
      }
      run.end = field.value.end
    }
    if !run.isEmpty {
      out.put(run.of(bytes))
      out.put("\r\n")
    }
  }

  private static func sameName(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Bool {
    for index in 0..<one.count where lower(one[index]) != lower(other[index]) { return false }
    return true
  }

  private static func lower(_ byte: UInt8) -> UInt8 { byte >= 65 && byte <= 90 ? byte + 32 : byte }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
  }

  /// Whether a client's call id is kept: `^[A-Za-z0-9._:-]{1,64}$`.
  static func isCallID(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard (1...64).contains(bytes.count) else { return false }
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "-"): continue
      default: guard isAlphanumeric(byte) else { return false }
      }
    }
    return true
  }

  /// Whether a `Host` holds only what names and addresses hold.
  static func isHost(_ bytes: UnsafeRawBufferPointer) -> Bool {
    for byte in bytes {
      guard byte < 128, (byte < 64 ? hostLow >> byte & 1 : hostHigh >> (byte - 64) & 1) == 1 else { return false }
    }
    return true
  }

  // % - . 0-9 :
  private static let hostLow: UInt64 = 0x07FF_6020_0000_0000
  // A-Z [ ] _ a-z ~
  private static let hostHigh: UInt64 = 0x47FF_FFFE_AFFF_FFFE

  /// Whether a `traceparent` is one of W3C version 00: `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero.
  static func isTraceparent(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count == 55, bytes[0] == 48, bytes[1] == 48, bytes[2] == 45, bytes[35] == 45, bytes[52] == 45 else {
      return false
    }
    func hex(_ range: Range<Int>) -> Bool {
      bytes[range].allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }
    guard hex(3..<35), hex(36..<52), hex(53..<55) else { return false }
    return bytes[3..<35].contains { $0 != 48 } && bytes[36..<52].contains { $0 != 48 }
  }
}
