/// A quantity in a query: a plain number (sizes count bytes), or a duration.
package enum Measure: Sendable, Equatable {
  /// A number; `1Ki` is 1024 and `1k` is 1000.
  case number(Double)
  /// A duration in nanoseconds.
  case duration(Double)

  private static let durations: [(String, Double)] = [
    ("ns", 1), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86_400e9),
  ]
  private static let sizes: [(String, Double)] = [
    ("Ki", 1024), ("Mi", 1_048_576), ("Gi", 1_073_741_824), ("Ti", 1_099_511_627_776), ("k", 1e3), ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12), ("", 1),
  ]
  private static let suffixes: [(String, Double)] = [
    ("_ns", 1), ("_us", 1e3), ("_ms", 1e6), ("_s", 1e9), ("_sec", 1e9), ("_seconds", 1e9), ("_min", 60e9),
    ("_minutes", 60e9), ("_h", 3600e9), ("_hours", 3600e9), ("_nanoseconds", 1), ("_microseconds", 1e3),
    ("_milliseconds", 1e6),
  ]

  /// A number, size or duration as a query writes it; nil for other text.
  init?(_ text: [UInt8]) {
    if let number = Decimal.parse(text) {
      self = .number(number)
    } else if let nanoseconds = Self.nanoseconds(text) {
      self = .duration(nanoseconds)
    } else if let (value, rest) = Decimal.prefix(text), let factor = Self.size(rest) {
      self = .number(value * factor)
    } else {
      return nil
    }
  }

  /// The nanoseconds of one or more numbers with units, such as `1.5s` or `1m30s`; nil for other text.
  static func nanoseconds(_ text: some RandomAccessCollection<UInt8>) -> Double? {
    var rest = Array(text)[...]
    let negative = rest.first == 0x2D
    if negative { rest.removeFirst() }
    var total: Double = 0
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      guard rest.first != 0x2D, let (value, after) = Decimal.prefix(rest) else { return nil }
      let unit = after.prefix { !ASCII.isDigit($0) && $0 != 0x2D && $0 != 0x2E }
      guard let factor = durations.first(where: { unit.elementsEqual($0.0.utf8) })?.1 else { return nil }
      total += value * factor
      rest = after[unit.endIndex...]
    }
    return negative ? -total : total
  }

  /// The nanoseconds one unit of a field's numbers stands for, by the end of its name; seconds without one.
  static func unit(of field: LogField) -> Double {
    guard case .user(let name) = field else { return 1e9 }
    return suffixes.first { name.hasSuffix($0.0) }?.1 ?? 1e9
  }

  private static func size(_ suffix: ArraySlice<UInt8>) -> Double? {
    let letters = suffix.last == 0x42 ? suffix.dropLast() : suffix
    return sizes.first { letters.elementsEqual($0.0.utf8) }?.1
  }
}
