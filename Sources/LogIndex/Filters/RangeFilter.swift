/// A field whose value lies between two bounds: plain numbers and sizes, or durations.
///
/// A number bound compares with numbers and texts that are numbers. A duration bound compares with numbers in the unit
/// the field's name ends in (`_ms`, `_us`, `_s` …; seconds without one) and with texts such as `250ms` or `1m30s`.
package struct RangeFilter: Sendable, Equatable {
  struct Bound: Sendable, Equatable {
    var value: Measure
    var isIncluded: Bool
  }

  let field: LogField
  let lower: Bound?
  let upper: Bound?

  func matches(_ record: IndexedRecord) -> Bool { matches(record.value(field)) }

  func matches(_ value: FieldValue?) -> Bool {
    guard let value, value.kind == .number || value.isString else { return false }
    let plain = Decimal.parse(value.text)
    return holds(lower, value.text, plain) { $0 > $1 } && holds(upper, value.text, plain) { $0 < $1 }
  }

  /// The same for a number.
  func matches(number: Double) -> Bool {
    holds(lower, [], number) { $0 > $1 } && holds(upper, [], number) { $0 < $1 }
  }

  private func holds(
    _ bound: Bound?, _ text: ArraySlice<UInt8>, _ plain: Double?, _ comes: (Double, Double) -> Bool
  ) -> Bool {
    guard let bound else { return true }
    let value: Double?
    let wanted: Double
    switch bound.value {
    case .number(let number): (value, wanted) = (plain, number)
    case .duration(let nanoseconds):
      if let plain {
        (value, wanted) = (plain, nanoseconds / Measure.unit(of: field))
      } else {
        (value, wanted) = (Measure.nanoseconds(text), nanoseconds)
      }
    }
    guard let value else { return false }
    return comes(value, wanted) || (bound.isIncluded && value == wanted)
  }
}
