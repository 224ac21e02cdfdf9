/// How serious a record is, in rising order; the raw value is the order.
package enum RecordLevel: UInt8, Sendable, CaseIterable, Comparable {
  case trace = 1, debug, info, warn, error, fatal

  /// The name records and queries use.
  package var name: String {
    switch self {
    case .trace: "trace"
    case .debug: "debug"
    case .info: "info"
    case .warn: "warn"
    case .error: "error"
    case .fatal: "fatal"
    }
  }

  /// The level of a name in any case, `warning` and `err` among them; nil for any other word.
  package init?(name: some Sequence<UInt8>) {
    switch String(decoding: name.map(ASCII.lowered), as: UTF8.self) {
    case "trace": self = .trace
    case "debug": self = .debug
    case "info": self = .info
    case "warn", "warning": self = .warn
    case "error", "err": self = .error
    case "fatal": self = .fatal
    default: return nil
    }
  }

  /// The same for a short text, without making a string of it.
  init?(short text: UnsafeBufferPointer<UInt8>) {
    var word: UInt64 = 0
    for byte in text { word = word << 8 | UInt64(ASCII.lowered(byte)) }
    switch word {
    case 0x7472_6163_65: self = .trace
    case 0x6465_6275_67: self = .debug
    case 0x696E_666F: self = .info
    case 0x7761_726E, 0x77_6172_6E69_6E67: self = .warn
    case 0x6572_726F_72, 0x65_7272: self = .error
    case 0x6661_7461_6C: self = .fatal
    default: return nil
    }
  }

  /// Orders by seriousness.
  package static func < (left: RecordLevel, right: RecordLevel) -> Bool { left.rawValue < right.rawValue }
}

/// What is known of single bytes.
enum ASCII {
  /// `A`…`Z` as `a`…`z`, everything else unchanged.
  static func lowered(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }

  static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }

  /// Letters, digits, underscore and every byte of a character beyond ASCII.
  static func isWord(_ byte: UInt8) -> Bool {
    let low = byte | 0x20
    return (low >= 0x61 && low <= 0x7A) || isDigit(byte) || byte == 0x5F || byte >= 0x80
  }
}
