/// A field's value, wherever it comes from: what filters and statistics look at.
struct FieldValue {
  var kind: JSONSpan.Kind
  /// A string unescaped, anything else as it is spelled.
  var text: ArraySlice<UInt8>

  init(kind: JSONSpan.Kind, text: ArraySlice<UInt8>) {
    self.kind = kind
    self.text = text
  }

  /// A value of a block's column, as it is spelled there.
  init(slot kind: UInt8, raw: [UInt8]) {
    switch kind {
    case SlotKind.number: self.init(kind: .number, text: raw[...])
    case SlotKind.word: self.init(kind: .bool, text: raw[...])
    case SlotKind.raw: self.init(kind: .composite, text: raw[...])
    default:
      if raw.contains(0x5C) {
        self.init(kind: .escaped, text: JSONText.unescaped(raw[...])[...])
      } else {
        self.init(kind: .plain, text: raw[...])
      }
    }
  }

  static let null = FieldValue(kind: .null, text: [])

  var isString: Bool { kind == .plain || kind == .escaped }
  /// There, and neither null nor the empty text.
  var isPresent: Bool { kind != .null && !(isString && text.isEmpty) }
  /// The number it is, or its text is.
  var number: Double? { kind == .number || isString ? Decimal.parse(text) : nil }

  /// A value of the field `level` as readers see it: a known level by its own name.
  static func canonicalLevel(_ value: FieldValue?) -> ArraySlice<UInt8> {
    guard let value, value.kind != .null else { return [] }
    if value.isString, let level = RecordLevel(name: value.text) { return Array(level.name.utf8)[...] }
    return value.text
  }
}

extension IndexedRecord {
  /// The value of a field; nil when it is absent.
  func value(_ field: LogField) -> FieldValue? {
    span(field).map { FieldValue(kind: $0.kind, text: text($0)) }
  }
}
