/// A field that is there and neither null nor the empty text.
package struct ExistsFilter: Sendable, Equatable {
  let field: LogField

  func matches(_ record: IndexedRecord) -> Bool {
    guard let span = record.span(field) else { return false }
    return span.kind != .null && !(span.isString && span.start == span.end)
  }
}
