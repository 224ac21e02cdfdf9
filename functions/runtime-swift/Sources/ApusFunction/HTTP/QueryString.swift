/// Decodes the query of a request.
enum QueryString {
  /// The names and values, decoded; of a repeated name the first value.
  static func parse(_ query: String) -> [String: String] {
    var found: [String: String] = [:]
    for pair in query.split(separator: "&") {
      let equals = pair.firstIndex(of: "=") ?? pair.endIndex
      let name = decode(pair[..<equals])
      let value = equals < pair.endIndex ? decode(pair[pair.index(after: equals)...]) : ""
      if found[name] == nil { found[name] = value }
    }
    return found
  }

  /// Decodes %XX and +; a broken escape stays as it is.
  static func decode(_ text: Substring) -> String {
    let bytes = Array(text.utf8)
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      if bytes[index] == 0x25, index + 2 < bytes.count, let high = hex(bytes[index + 1]),
        let low = hex(bytes[index + 2])
      {
        out.append(high << 4 | low)
        index += 3
      } else {
        out.append(bytes[index] == 0x2B ? 0x20 : bytes[index])
        index += 1
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  private static func hex(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
  }
}
