/// A field whose value a regular expression matches somewhere; upper and lower case differ unless it says otherwise.
package struct RegexFilter: Sendable, Equatable {
  let field: LogField
  let pattern: [UInt8]
  let isFolded: Bool
  let program: RegexProgram

  init(field: LogField, pattern: [UInt8], isFolded: Bool) throws(RegexFault) {
    self.field = field
    self.pattern = pattern
    self.isFolded = isFolded
    program = try RegexProgram(pattern, isFolded: isFolded)
  }

  /// Whether both look for the same in the same field.
  package static func == (left: RegexFilter, right: RegexFilter) -> Bool {
    left.field == right.field && left.pattern == right.pattern && left.isFolded == right.isFolded
  }

  func matches(_ record: IndexedRecord) -> Bool { matches(record.value(field)) }

  func matches(_ value: FieldValue?) -> Bool { program.withMatcher { matches(value, &$0) } }

  /// The same with a matcher that is at hand.
  func matches(_ value: FieldValue?, _ matcher: inout RegexMatcher) -> Bool {
    guard let value, value.kind != .null else { return false }
    if field == .reserved(.level) { return matcher.matches(FieldValue.canonicalLevel(value)) }
    return matcher.matches(value.text)
  }
}
