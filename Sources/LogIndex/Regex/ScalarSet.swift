/// A set of Unicode scalars, as ranges in rising order that neither meet nor overlap.
struct ScalarSet: Sendable, Equatable {
  private(set) var ranges: [ClosedRange<UInt32>]

  static let last: UInt32 = 0x10_FFFF

  init(_ ranges: [ClosedRange<UInt32>] = []) { self.ranges = Self.ordered(ranges) }

  init(_ scalar: Unicode.Scalar) { ranges = [scalar.value...scalar.value] }

  /// The one scalar there is; nil when there are none or more.
  var single: UInt32? {
    guard ranges.count == 1, let only = ranges.first, only.lowerBound == only.upperBound else { return nil }
    return only.lowerBound
  }

  func contains(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }

  func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

  /// All scalars that are not in the set.
  var inverted: ScalarSet {
    var result: [ClosedRange<UInt32>] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { result.append(next...(range.lowerBound - 1)) }
      next = range.upperBound + 1
    }
    if next <= Self.last { result.append(next...Self.last) }
    return ScalarSet(result)
  }

  /// The set with both cases of its letters: of ASCII always, of others when the set is small.
  var folded: ScalarSet {
    var result = ranges
    for range in ranges {
      for (from, to) in [(0x41 as UInt32, 0x61 as UInt32), (0x61, 0x41)] {
        let low = max(range.lowerBound, from)
        let high = min(range.upperBound, from + 25)
        if low <= high { result.append((low - from + to)...(high - from + to)) }
      }
      guard range.upperBound >= 0x80, range.count <= 1_024 else { continue }
      for value in range {
        guard value >= 0x80, let scalar = Unicode.Scalar(value) else { continue }
        for text in [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping] {
          let other = text.unicodeScalars
          if other.count == 1, let one = other.first { result.append(one.value...one.value) }
        }
      }
    }
    return ScalarSet(result)
  }

  static let digits = ScalarSet([0x30...0x39])
  static let spaces = ScalarSet([0x09...0x0D, 0x20...0x20])
  /// What the query language calls a word: letters, digits, `_` and everything beyond ASCII.
  static let words = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A, 0x80...last])
  /// Everything but a line break.
  static let anything = ScalarSet([0x0A...0x0A]).inverted

  private static func ordered(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
    var result: [ClosedRange<UInt32>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let before = result.last, range.lowerBound <= before.upperBound &+ 1 {
        result[result.count - 1] = before.lowerBound...max(before.upperBound, range.upperBound)
      } else {
        result.append(range)
      }
    }
    return result
  }
}

/// The UTF-8 of ranges of scalars, as sequences of ranges of bytes.
enum UTF8Ranges {
  /// Sequences of one to four ranges; together they stand for exactly the scalars from the first to the last.
  static func sequences(_ range: ClosedRange<UInt32>) -> [[ClosedRange<UInt8>]] {
    var result: [[ClosedRange<UInt8>]] = []
    let lengths: [ClosedRange<UInt32>] = [0...0x7F, 0x80...0x7FF, 0x800...0xFFFF, 0x1_0000...0x10_FFFF]
    for (more, length) in lengths.enumerated() {
      let low = max(range.lowerBound, length.lowerBound)
      let high = min(range.upperBound, length.upperBound)
      if low <= high { split(low, high, more, &result) }
    }
    return result
  }

  /// Halves a range until its first and its last scalar differ in no byte whose followers are not all there.
  private static func split(_ low: UInt32, _ high: UInt32, _ more: Int, _ result: inout [[ClosedRange<UInt8>]]) {
    for place in stride(from: more, to: 0, by: -1) {
      let mask = (UInt32(1) << UInt32(6 * place)) - 1
      guard low & ~mask != high & ~mask else { continue }
      if low & mask != 0 {
        split(low, low | mask, more, &result)
        return split((low | mask) + 1, high, more, &result)
      }
      if high & mask != mask {
        split(low, (high & ~mask) - 1, more, &result)
        return split(high & ~mask, high, more, &result)
      }
    }
    result.append(zip(bytes(low, more), bytes(high, more)).map { $0...$1 })
  }

  private static func bytes(_ value: UInt32, _ more: Int) -> [UInt8] {
    if more == 0 { return [UInt8(value)] }
    let marks: [UInt8] = [0, 0xC0, 0xE0, 0xF0]
    var bytes = [marks[more] | UInt8(value >> UInt32(6 * more))]
    for place in stride(from: more - 1, through: 0, by: -1) {
      bytes.append(0x80 | UInt8(value >> UInt32(6 * place) & 0x3F))
    }
    return bytes
  }
}
