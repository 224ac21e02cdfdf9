/// One decoded record: its bytes exactly as they came, and where its values lie in them.
package struct IndexedRecord: Sendable {
  /// The longest record taken, in bytes.
  package static let maximumBytes = 256 * 1024
  static let flattenDepth = 8

  struct UserField: Sendable {
    var key: JSONSpan
    /// The dotted key when it is not spelled so in one place: nested objects and escaped keys.
    var joinedKey: [UInt8]?
    var value: JSONSpan
  }

  /// The record as one line of JSON, without the line break.
  package let bytes: [UInt8]
  /// Nanoseconds since 1970.
  package private(set) var time: Int64 = 0
  /// The level, when the record has a known one.
  package private(set) var level: RecordLevel?
  private(set) var fields: [UserField] = []
  private var spans: Spans = Spans()

  private struct Spans: Sendable {
    var time, namespace, function, revision, pod, node, stream, level, call, msg: JSONSpan?
  }

  /// Decodes one line; a trailing line break is cut. Throws when it is no JSON object on one line, has no time, or
  /// is too long.
  package init(_ line: [UInt8]) throws(RecordFault) {
    var end = line.count
    while end > 0, line[end - 1] == 0x0A || line[end - 1] == 0x0D { end -= 1 }
    guard end <= Self.maximumBytes else { throw .tooLarge(bytes: end) }
    bytes = end == line.count ? line : Array(line[..<end])
    var decoder = RecordDecoder(bytes)
    try decoder.run()
    for (field, span) in decoder.reserved { self.set(field, span) }
    fields = decoder.fields
    guard let span = spans.time, span.isString, let time = RecordTime.parse(text(span)) else { throw .noTime }
    self.time = time
    if let span = spans.level, span.isString { level = RecordLevel(name: text(span)) }
  }

  /// The text of a reserved field, unescaped; empty when it is absent or null. A known level has its canonical name.
  package func text(_ field: ReservedField) -> String {
    String(decoding: reservedBytes(field), as: UTF8.self)
  }

  func span(_ field: ReservedField) -> JSONSpan? {
    switch field {
    case .time: spans.time
    case .namespace: spans.namespace
    case .function: spans.function
    case .revision: spans.revision
    case .pod: spans.pod
    case .node: spans.node
    case .stream: spans.stream
    case .level: spans.level
    case .call: spans.call
    case .msg: spans.msg
    }
  }

  /// The value of a field; of a key that is there twice, the last.
  func span(_ field: LogField) -> JSONSpan? {
    switch field {
    case .reserved(let field): return span(field)
    case .user(let name):
      return name.utf8.withContiguousStorageIfAvailable { key in last(key) } ?? last(Array(name.utf8))
    }
  }

  func reservedBytes(_ field: ReservedField) -> [UInt8] {
    if field == .level, let level { return Array(level.name.utf8) }
    guard let span = span(field), span.kind != .null else { return [] }
    return Array(text(span))
  }

  /// The text a value stands for: a string unescaped, anything else as it is spelled.
  func text(_ span: JSONSpan) -> ArraySlice<UInt8> {
    let raw = bytes[span.start..<span.end]
    return span.kind == .escaped ? JSONText.unescaped(raw)[...] : raw
  }

  /// The key of a user's field.
  func key(_ field: UserField) -> ArraySlice<UInt8> {
    field.joinedKey.map { $0[...] } ?? bytes[field.key.start..<field.key.end]
  }

  private func last(_ name: some RandomAccessCollection<UInt8>) -> JSONSpan? {
    for field in fields.reversed() where field.joinedKey != nil || field.key.end - field.key.start == name.count {
      if key(field).elementsEqual(name) { return field.value }
    }
    return nil
  }

  private mutating func set(_ field: ReservedField, _ span: JSONSpan) {
    switch field {
    case .time: spans.time = span
    case .namespace: spans.namespace = span
    case .function: spans.function = span
    case .revision: spans.revision = span
    case .pod: spans.pod = span
    case .node: spans.node = span
    case .stream: spans.stream = span
    case .level: spans.level = span
    case .call: spans.call = span
    case .msg: spans.msg = span
    }
  }
}
