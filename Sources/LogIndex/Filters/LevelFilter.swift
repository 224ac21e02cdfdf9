/// A set of levels, one bit each; records without a known level never match.
package struct LevelFilter: Sendable, Equatable {
  /// Bit n stands for the level of raw value n.
  let mask: UInt8

  init(_ levels: some Sequence<RecordLevel>) {
    mask = levels.reduce(0) { $0 | 1 << $1.rawValue }
  }

  var levels: [RecordLevel] { RecordLevel.allCases.filter { mask & (1 << $0.rawValue) != 0 } }

  func matches(_ record: IndexedRecord) -> Bool {
    guard let level = record.level else { return false }
    return mask & (1 << level.rawValue) != 0
  }

  func matches(_ value: FieldValue?) -> Bool {
    guard let value, value.isString, let level = RecordLevel(name: value.text) else { return false }
    return mask & (1 << level.rawValue) != 0
  }
}
