/// An amount of a resource as Kubernetes writes it: `128Mi`, `1.5G`, `500m`, `2`.
///
/// Holds thousandths, so that `500m` is exact; the text is kept as it was written.
/// Source of the grammar: Kubernetes `apimachinery/pkg/api/resource`, without exponents.
package struct Quantity: Hashable, Sendable, CustomStringConvertible {
  /// The amount in thousandths of the unit (bytes, cores).
  package let milli: Int64
  /// The text as written.
  package let description: String

  private static let suffixes: [(String, Double)] = [
    ("Ki", 1024), ("Mi", 1_048_576), ("Gi", 1_073_741_824), ("Ti", 1_099_511_627_776),
    ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("m", 1e-3), ("", 1),
  ]

  /// Parses a quantity, or nil when the text is none (or negative, or above 2^53).
  package init?(_ text: String) {
    guard let (suffix, factor) = Self.suffixes.first(where: { $0.0.isEmpty || text.hasSuffix($0.0) }) else {
      return nil
    }
    let number = text.dropLast(suffix.count)
    guard !number.isEmpty, number.utf8.allSatisfy({ ($0 >= 48 && $0 <= 57) || $0 == 46 }), number.first != ".",
      number.last != ".", let value = Double(number)
    else { return nil }
    let milli = value * factor * 1000
    guard milli.isFinite, milli >= 0, milli <= 9_007_199_254_740_992 * 1000 else { return nil }
    guard milli < Double(Int64.max) else { return nil }
    self.milli = Int64(milli.rounded(.up))
    self.description = text
  }

  /// A quantity of whole bytes, written with the largest binary unit that is exact.
  package init(bytes: Int64) {
    let units: [(Int64, String)] = [(1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")]
    milli = bytes.multipliedReportingOverflow(by: 1000).overflow ? Int64.max : bytes * 1000
    if let (size, unit) = units.first(where: { bytes >= $0.0 && bytes % $0.0 == 0 }) {
      description = "\(bytes / size)\(unit)"
    } else {
      description = "\(bytes)"
    }
  }

  /// A quantity of thousandths of a core.
  package init(milliCores: Int64) {
    milli = milliCores
    description = milliCores % 1000 == 0 ? "\(milliCores / 1000)" : "\(milliCores)m"
  }

  /// The amount in whole units, rounded up.
  package var value: Int64 { milli / 1000 + (milli % 1000 > 0 ? 1 : 0) }
}

extension Quantity: Codable {
  /// Decodes a string, or a plain number as kubectl users write it.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text =
      if let text = try? container.decode(String.self) {
        text
      } else if let number = try? container.decode(Int64.self) {
        String(number)
      } else {
        String(try container.decode(Double.self))
      }
    guard let quantity = Quantity(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(text)\" is not a quantity")
    }
    self = quantity
  }

  /// Encodes the text as written.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
