/// A field whose whole value matches a pattern: `*` stands for any run of characters, upper and lower case differ.
package struct PatternFilter: Sendable, Equatable {
  let field: LogField
  /// The literal parts between the stars, at least two; either end may be empty.
  let parts: [[UInt8]]

  init(field: LogField, parts: [[UInt8]]) {
    self.field = field
    self.parts = parts
  }

  func matches(_ record: IndexedRecord) -> Bool { matches(record.value(field)) }

  func matches(_ value: FieldValue?) -> Bool {
    if field == .reserved(.level) { return matches(FieldValue.canonicalLevel(value)) }
    guard let value, value.kind != .null else { return false }
    return matches(value.text)
  }

  func matches(_ value: ArraySlice<UInt8>) -> Bool {
    guard parts.count > 1, let head = parts.first, let tail = parts.last, value.count >= head.count + tail.count,
      value.starts(with: head), value.suffix(tail.count).elementsEqual(tail)
    else { return false }
    var rest = value.dropFirst(head.count).dropLast(tail.count)
    for part in parts.dropFirst().dropLast() {
      guard let end = Self.end(of: part, in: rest) else { return false }
      rest = rest[end...]
    }
    return true
  }

  private static func end(of part: [UInt8], in text: ArraySlice<UInt8>) -> Int? {
    guard let first = part.first else { return text.startIndex }
    var start = text.startIndex
    while start + part.count <= text.endIndex {
      if text[start] == first, text[start..<(start + part.count)].elementsEqual(part) { return start + part.count }
      start += 1
    }
    return nil
  }
}
