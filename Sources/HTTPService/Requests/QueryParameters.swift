/// The parameters of a URL's query; `+` is a space, a name's first value wins.
package struct QueryParameters: Sendable, Hashable {
  private let values: [String: String]

  /// Parameters after the `?`; nil has none.
  package init(_ query: String?) {
    var values: [String: String] = [:]
    for pair in (query ?? "").split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = PercentEncoding.decode(parts[0], plusIsSpace: true)
      let value = parts.count > 1 ? PercentEncoding.decode(parts[1], plusIsSpace: true) : ""
      if values[name] == nil { values[name] = value }
    }
    self.values = values
  }

  /// The value of a name; an empty one counts as missing.
  package subscript(name: String) -> String? { values[name].flatMap { $0.isEmpty ? nil : $0 } }

  /// Whether a name is given as `true`, `1`, or without a value.
  package func flag(_ name: String) -> Bool {
    values[name].map { ["true", "1", ""].contains($0.lowercased()) } ?? false
  }
}

/// Percent-encoding (RFC 3986).
package enum PercentEncoding {
  /// Decodes `%XX`; what is no such triple stays as it is, bytes that are not UTF-8 become U+FFFD.
  package static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String {
    var bytes: [UInt8] = []
    var iterator = Array(text.utf8)[...]
    while let byte = iterator.popFirst() {
      if byte == 37, let high = iterator.first.flatMap(digit), let low = iterator.dropFirst().first.flatMap(digit) {
        bytes.append(high << 4 | low)
        iterator = iterator.dropFirst(2)
      } else {
        bytes.append(byte == 43 && plusIsSpace ? 32 : byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte - 48
    case 65...70: byte - 55
    case 97...102: byte - 87
    default: nil
    }
  }
}
