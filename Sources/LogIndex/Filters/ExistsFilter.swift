/// A field that is there and neither null nor the empty text.
package struct ExistsFilter: Sendable, Equatable {
  let field: LogField

  func matches(_ record: IndexedRecord) -> Bool {
    record.value(field)?.isPresent ?? false
  }
}
