/// Splits a text, as JSON spells it, into what repeats and what varies: values that the record has in other columns are
/// references; UUIDs, and runs of letters and digits with a digit in them or only the digits of such a run, are variables.
final class Tokenizer {
  /// Stands for a variable in a template's text.
  static let variable: UInt8 = 0x01
  /// Stands for a variable that is a UUID in each text of its template; in the file it is a variable as any other.
  static let identifier: UInt8 = 0x03
  /// Stands, with the number of the reference after it, for the value of another column.
  static let reference: UInt8 = 0x02
  static let referenceBase: UInt8 = 0x20
  static let variablesMaximum = 48
  static let bytesMaximum = 16 * 1024

  /// A value of another column of the record that may be in the text.
  struct Wanted {
    var span: Span
    var number: UInt8
  }

  /// The variables of the text read last.
  private(set) var variables: [Span] = []
  /// The parts of it that are other columns' values.
  private(set) var references: [Span] = []
  /// A bit for each number of them.
  private(set) var found: UInt32 = 0
  /// Whether it has escapes, its references too.
  private(set) var hasEscape = false
  private let skeletonBytes: UnsafeMutablePointer<UInt8>
  private var skeletonCount = 0
  private let base: UnsafePointer<UInt8>

  // What a byte is in a run; beyond `letter` it ends one.
  private static let digit: UInt8 = 1
  private static let hexLetter: UInt8 = 2
  private static let letter: UInt8 = 4
  private static let other: UInt8 = 8
  private static let escape: UInt8 = 16
  private static let classes: [UInt8] = (0..<256).map { byte in
    let byte = UInt8(byte)
    if ASCII.isDigit(byte) { return digit }
    if byte >= 0x61 && byte <= 0x66 { return hexLetter }
    if (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A { return letter }
    return byte == 0x5C ? escape : other
  }
  private let classes = Tokenizer.classes

  init(base: UnsafePointer<UInt8>) {
    self.base = base
    // Each part of a text becomes something no longer than it is.
    skeletonBytes = .allocate(capacity: Self.bytesMaximum)
  }

  deinit { skeletonBytes.deallocate() }

  /// The template's text of the text read last.
  var skeleton: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: skeletonBytes, count: skeletonCount) }

  /// Reads a text; false when it is too long, or has too many variables.
  func read(_ span: Span, _ wanted: [Wanted]) -> Bool {
    skeletonCount = 0
    found = 0
    hasEscape = false
    variables.removeAll(keepingCapacity: true)
    references.removeAll(keepingCapacity: true)
    guard span.length <= Self.bytesMaximum else { return false }
    if wanted.isEmpty { split(span, wanted, 0, 0) } else { split(span, wanted) }
    return variables.count <= Self.variablesMaximum
  }

  private func split(_ span: Span, _ wanted: [Wanted]) {
    var (low, high): (UInt64, UInt64) = (0, 0)
    for item in wanted {
      let byte = base[Int(item.span.start)]
      if byte < 64 { low |= 1 << UInt64(byte) } else if byte < 128 { high |= 1 << UInt64(byte - 64) }
    }
    split(span, wanted, low, high)
  }

  /// `low` and `high` have a bit for each byte below 128 that something wanted begins with.
  @inline(__always) private func split(_ span: Span, _ wanted: [Wanted], _ low: UInt64, _ high: UInt64) {
    let (start, end) = (Int(span.start), span.end)
    var index = start
    var copied = start
    classes.withUnsafeBufferPointer { classes in
      while index < end {
        let byte = base[index]
        if low | high != 0, byte < 128, (byte < 64 ? low : high) >> UInt64(byte & 63) & 1 != 0,
          let item = reference(index, start, end, wanted)
        {
          copy(copied, index)
          skeletonBytes[skeletonCount] = Self.reference
          skeletonBytes[skeletonCount + 1] = Self.referenceBase + item.number
          skeletonCount += 2
          references.append(Span(index, index + Int(item.span.length)))
          if item.span.bytes(base).contains(0x5C) { hasEscape = true }
          found |= 1 << UInt32(item.number)
          index += Int(item.span.length)
          copied = index
          continue
        }
        var kind = classes[Int(byte)]
        if kind == Self.other {
          index += 1
        } else if kind == Self.escape {
          hasEscape = true
          // An escape is a literal as a whole, and no part of a run of letters.
          index += index + 1 < end && base[index + 1] == 0x75 ? 6 : 2
        } else {
          let first = index
          var kinds: UInt8 = 0
          repeat {
            kinds |= kind
            index += 1
            kind = index < end ? classes[Int(base[index])] : Self.other
          } while kind < Self.other
          if index - first == 8, kinds & Self.letter == 0, kind == Self.other, isUUID(first, start, end) {
            copy(copied, first)
            add(first, first + 36, Self.identifier)
            index = first + 36
            copied = index
            continue
          }
          let isWhole = kinds & Self.letter == 0 && index - first >= 8
          guard kinds & Self.digit != 0 || isWhole else { continue }
          copy(copied, first)
          run(first, index, isWhole)
          copied = index
        }
      }
    }
    copy(copied, end)
  }

  /// What is wanted and begins here, its sides edges of words.
  private func reference(_ index: Int, _ start: Int, _ end: Int, _ wanted: [Wanted]) -> Wanted? {
    if index > start, ASCII.isWord(base[index - 1]) || base[index - 1] == 0x5C { return nil }
    for item in wanted {
      let after = index + Int(item.span.length)
      guard after <= end, ByteSearch.isSame(base + index, base + Int(item.span.start), Int(item.span.length)) else {
        continue
      }
      if after == end || !ASCII.isWord(base[after]) { return item }
    }
    return nil
  }

  /// A run with digits, or one of hexadecimal ones: a variable as a whole, or each group of digits in it is one.
  private func run(_ start: Int, _ end: Int, _ isWhole: Bool) {
    if isWhole { return add(start, end) }
    var groups = 0
    var wasDigit = false
    for index in start..<end {
      let isDigit = ASCII.isDigit(base[index])
      if isDigit, !wasDigit { groups += 1 }
      wasDigit = isDigit
    }
    if groups > 2 { return add(start, end) }
    var index = start
    while index < end {
      let first = index
      while index < end, ASCII.isDigit(base[index]) { index += 1 }
      if index > first { add(first, index) }
      let letters = index
      while index < end, !ASCII.isDigit(base[index]) { index += 1 }
      copy(letters, index)
    }
  }

  /// Whether a UUID begins here that nothing makes longer.
  private func isUUID(_ index: Int, _ start: Int, _ end: Int) -> Bool {
    let after = index + 36
    guard after <= end, HexText.isUUID(UnsafeBufferPointer(start: base + index, count: 36)) else { return false }
    // Letters and digits before it would be part of its run; `_` is a side as any other: `of_6cbc36de-…`.
    if after < end, base[after] == 0x2D || Self.classes[Int(base[after])] < Self.other { return false }
    return index == start || base[index - 1] != 0x2D
  }

  @inline(__always) private func add(_ start: Int, _ end: Int, _ mark: UInt8 = Tokenizer.variable) {
    skeletonBytes[skeletonCount] = mark
    skeletonCount += 1
    variables.append(Span(start, end))
  }

  @inline(__always) private func copy(_ start: Int, _ end: Int) {
    guard end > start else { return }
    (skeletonBytes + skeletonCount).update(from: base + start, count: end - start)
    skeletonCount += end - start
  }
}
