/// Cuts records down to some fields, their values spelled as they were sent.
struct LogProjection: Sendable {
  let fields: [LogField]

  /// One line of JSON with the fields that are there: the record's own first, in the order asked for, then the user's
  /// inside `fields`.
  func apply(_ record: IndexedRecord) -> [UInt8] {
    var output: [UInt8] = [0x7B]
    var inner: [UInt8] = []
    for field in fields {
      guard let span = record.span(field) else { continue }
      switch field {
      case .reserved(let reserved): append(reserved.rawValue, span, record, to: &output)
      case .user(let name): append(name, span, record, to: &inner)
      }
    }
    if !inner.isEmpty {
      if output.count > 1 { output.append(0x2C) }
      output += Array("\"fields\":{".utf8) + inner + [0x7D]
    }
    output.append(0x7D)
    return output
  }

  /// The same of a record's bytes; those that are none stay as they are.
  func apply(_ bytes: [UInt8]) -> [UInt8] { (try? IndexedRecord(bytes)).map { apply($0) } ?? bytes }

  private func append(_ name: String, _ span: JSONSpan, _ record: IndexedRecord, to output: inout [UInt8]) {
    if let last = output.last, last != 0x7B { output.append(0x2C) }
    JSONText.appendQuoted(name.utf8, to: &output)
    output.append(0x3A)
    if span.isString { output.append(0x22) }
    output += record.bytes[span.start..<span.end]
    if span.isString { output.append(0x22) }
  }
}
