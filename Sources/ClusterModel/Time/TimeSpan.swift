/// A length of time as people write it in a manifest: `30s`, `1m30s`, `500ms`, `2h`.
package struct TimeSpan: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// The length in milliseconds, 0 or more.
  package let milliseconds: Int64
  /// The text as written.
  package let description: String

  private static let units: [(String, Int64)] = [
    ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
  ]

  /// Parses a time span: one or more `<integer or decimal><ms|s|m|h|d>` pairs; nil otherwise.
  package init?(_ text: String) {
    var rest = Substring(text)
    var total = 0.0
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
      guard !number.isEmpty, let value = Double(number) else { return nil }
      rest = rest.dropFirst(number.count)
      let unit = rest.prefix { $0.isASCII && $0.isLetter }
      guard let factor = Self.units.first(where: { $0.0 == unit })?.1 else { return nil }
      rest = rest.dropFirst(unit.count)
      total += value * Double(factor)
    }
    guard total.isFinite, total <= 1e13 else { return nil }
    milliseconds = Int64(total.rounded())
    description = text
  }

  /// A span of whole milliseconds, written in the shortest exact form.
  package init(milliseconds: Int64) {
    let milliseconds = max(0, milliseconds)
    self.milliseconds = milliseconds
    if milliseconds % 86_400_000 == 0, milliseconds > 0 {
      description = "\(milliseconds / 86_400_000)d"
    } else if milliseconds % 3_600_000 == 0, milliseconds > 0 {
      description = "\(milliseconds / 3_600_000)h"
    } else if milliseconds % 60_000 == 0, milliseconds > 0 {
      description = "\(milliseconds / 60_000)m"
    } else if milliseconds % 1000 == 0 {
      description = "\(milliseconds / 1000)s"
    } else {
      description = "\(milliseconds)ms"
    }
  }

  /// A span of whole seconds.
  package static func seconds(_ seconds: Int64) -> TimeSpan { TimeSpan(milliseconds: seconds * 1000) }

  /// The span as a standard duration.
  package var duration: Duration { .milliseconds(milliseconds) }

  /// Orders by length.
  package static func < (left: TimeSpan, right: TimeSpan) -> Bool { left.milliseconds < right.milliseconds }
  /// Equal when equally long, however written.
  package static func == (left: TimeSpan, right: TimeSpan) -> Bool { left.milliseconds == right.milliseconds }
  /// Hashes the length.
  package func hash(into hasher: inout Hasher) { hasher.combine(milliseconds) }
}

extension TimeSpan: Codable {
  /// Decodes the manifest's text form.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let span = TimeSpan(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(text)\" is not a duration")
    }
    self = span
  }

  /// Encodes the text as written.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
