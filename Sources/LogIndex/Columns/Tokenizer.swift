/// Splits a text, as JSON spells it, into what repeats and what varies: runs of letters and digits with a digit in
/// them, or only the digits of such a run, are variables.
struct Tokenizer {
  /// Stands for a variable in a template's text.
  static let variable: UInt8 = 0x01
  /// Stands, with the number of the reference after it, for the value of another column.
  static let reference: UInt8 = 0x02
  static let referenceBase: UInt8 = 0x20
  static let variablesMaximum = 48
  static let bytesMaximum = 16 * 1024

  /// A part of a text that is the value of another column.
  struct Reference {
    var value: Int
    var span: Span
    var number: UInt8
  }

  /// The template's text of the text read last.
  private(set) var skeleton: [UInt8] = []
  /// Its variables.
  private(set) var variables: [Span] = []

  private static let classes: [UInt8] = (0..<256).map { byte in
    let byte = UInt8(byte)
    if ASCII.isDigit(byte) { return 1 }
    if byte >= 0x61 && byte <= 0x66 { return 3 }
    if (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A { return 2 }
    return byte == 0x5C ? 4 : 0
  }

  /// Reads a text; `references` lie in it, in order. False when it has too many variables.
  mutating func read(
    _ span: Span, _ base: UnsafePointer<UInt8>, _ references: ArraySlice<Reference>
  ) -> Bool {
    skeleton.removeAll(keepingCapacity: true)
    variables.removeAll(keepingCapacity: true)
    var start = Int(span.start)
    for reference in references {
      literal(start, Int(reference.span.start), base)
      skeleton.append(Self.reference)
      skeleton.append(Self.referenceBase + reference.number)
      start = reference.span.end
    }
    literal(start, span.end, base)
    return variables.count <= Self.variablesMaximum
  }

  private mutating func literal(_ start: Int, _ end: Int, _ base: UnsafePointer<UInt8>) {
    var index = start
    var copied = start
    Self.classes.withUnsafeBufferPointer { classes in
      while index < end {
        let kind = classes[Int(base[index])]
        if kind == 0 {
          index += 1
        } else if kind == 4 {
          // An escape is a literal as a whole, and no part of a run of letters.
          index += index + 1 < end && base[index + 1] == 0x75 ? 6 : 2
        } else {
          let first = index
          var digits = 0
          var groups = 0
          var isHex = true
          var previous: UInt8 = 0
          while index < end {
            let kind = classes[Int(base[index])]
            if kind == 0 || kind == 4 { break }
            if kind == 1 {
              digits += 1
              if previous != 1 { groups += 1 }
            } else if kind == 2 {
              isHex = false
            }
            previous = kind
            index += 1
          }
          guard digits > 0 || (isHex && index - first >= 8) else { continue }
          copy(copied, first, base)
          run(first, index, groups, isHex && index - first >= 8, base)
          copied = index
        }
      }
    }
    copy(copied, end, base)
  }

  private mutating func run(_ start: Int, _ end: Int, _ groups: Int, _ isWhole: Bool, _ base: UnsafePointer<UInt8>) {
    if isWhole || groups > 2 { return add(start, end) }
    var index = start
    while index < end {
      let first = index
      while index < end, ASCII.isDigit(base[index]) { index += 1 }
      if index > first { add(first, index) }
      let letters = index
      while index < end, !ASCII.isDigit(base[index]) { index += 1 }
      copy(letters, index, base)
    }
  }

  private mutating func add(_ start: Int, _ end: Int) {
    skeleton.append(Self.variable)
    variables.append(Span(start, end))
  }

  private mutating func copy(_ start: Int, _ end: Int, _ base: UnsafePointer<UInt8>) {
    if end > start { skeleton.append(contentsOf: UnsafeBufferPointer(start: base + start, count: end - start)) }
  }
}
