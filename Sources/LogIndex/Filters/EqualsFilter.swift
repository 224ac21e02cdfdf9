/// A field whose whole value is this one, upper and lower case told apart.
///
/// The record's own fields are compared as text. A user's number also equals another spelling of it (`5`, `5.0`), and
/// a number in the unit its name ends in equals a duration (`duration_ms:1.5s`).
package struct EqualsFilter: Sendable, Equatable {
  let field: LogField
  let text: [UInt8]
  private let isInteger: Bool
  private let number: Double?
  private let duration: Double?

  init(field: LogField, text: [UInt8]) {
    self.field = field
    self.text = text
    isInteger = Decimal.isCanonicalInteger(text)
    number = Decimal.parse(text)
    duration = number == nil ? Measure.nanoseconds(text).map { $0 / Measure.unit(of: field) } : nil
  }

  /// Whether only a string of this very text can match.
  var isText: Bool { number == nil && duration == nil }

  func matches(_ record: IndexedRecord) -> Bool { matches(record.value(field)) }

  func matches(_ value: FieldValue?) -> Bool {
    guard let value else { return false }
    if case .reserved = field { return value.kind != .null && value.text.elementsEqual(text) }
    if value.kind == .null { return text.elementsEqual("null".utf8) }
    if value.text.elementsEqual(text) { return true }
    guard value.kind == .number, let wanted = number ?? duration else { return false }
    // Long integers differ as texts even where they are one Double.
    if isInteger, Decimal.isCanonicalInteger(value.text) { return false }
    return Decimal.parse(value.text) == wanted
  }
}
