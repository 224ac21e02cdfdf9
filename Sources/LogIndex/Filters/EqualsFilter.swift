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

  func matches(_ record: IndexedRecord) -> Bool {
    if case .reserved(let field) = field { return reservedMatches(record, field) }
    guard let span = record.span(field) else { return false }
    let value = record.text(span)
    if value.elementsEqual(text) { return true }
    guard span.kind == .number, let wanted = number ?? duration else { return false }
    // Long integers differ as texts even where they are one Double.
    if isInteger, Decimal.isCanonicalInteger(value) { return false }
    return Decimal.parse(value) == wanted
  }

  private func reservedMatches(_ record: IndexedRecord, _ field: ReservedField) -> Bool {
    guard let span = record.span(field), span.kind != .null else { return false }
    return record.text(span).elementsEqual(text)
  }
}
