/// Finds texts in bytes, ASCII letters of either case alike, sixteen places at a time: where two of a text's rarest bytes stand
/// at their places, all of it is compared.
struct LiteralFinder: Sendable {
  /// Shorter texts are found too often to be worth it.
  static let lengthMinimum = 3
  static let choicesMaximum = 4
  /// The more common in what programs write the later; everything else is rarer.
  private static let common = Array("jqzxkvbwygf_/p:mhudcl-.n0123456789riaotse ".utf8)

  private struct Needle: Sendable {
    var text: [UInt8]
    /// The places of its two rarest bytes.
    var first: Int
    var second: Int

    init(_ text: [UInt8]) {
      self.text = text
      let places = text.indices.sorted { LiteralFinder.rank(text[$0]) < LiteralFinder.rank(text[$1]) }
      first = places[0]
      second = places.count > 1 ? places[1] : places[0]
    }
  }

  private let needles: [Needle]

  /// Finds any of some texts in lower case, none of them empty.
  init(_ texts: [[UInt8]]) { needles = texts.filter { !$0.isEmpty }.map { Needle($0) } }

  /// Finds what every match of an expression holds, as JSON spells it unless it is spelled with `\u`; nil when there is
  /// nothing to look for.
  init?(_ literals: RegexLiterals) {
    var best: [[UInt8]] = []
    for choices in literals.lists where choices.count <= Self.choicesMaximum {
      let runs = choices.map { Self.longestRun($0) }
      if Self.shortest(runs) > Self.shortest(best) { best = runs }
    }
    guard Self.shortest(best) >= Self.lengthMinimum else { return nil }
    self.init(best + [Array("\\u".utf8)])
  }

  private static func shortest(_ texts: [[UInt8]]) -> Int { texts.map(\.count).min() ?? 0 }

  /// The longest part of a text that stands in JSON as it is.
  private static func longestRun(_ text: [UInt8]) -> [UInt8] {
    let runs = text.split { $0 < 0x20 || $0 >= 0x7F || $0 == 0x22 || $0 == 0x2F || $0 == 0x5C }
    return runs.max { $0.count < $1.count }.map { Array($0) } ?? []
  }

  private static func rank(_ byte: UInt8) -> Int { common.firstIndex(of: byte) ?? -1 }

  /// Marks which of some texts may hold what is looked for: they lie in `bytes` behind `base`, one after another, from
  /// `start` to their `ends`. The first of them has this number in the set.
  func mark(_ bytes: [UInt8], from base: Int, start: Int, ends: ArraySlice<Int>, first: Int, in set: inout RowSet) {
    guard let last = ends.last else { return }
    bytes.withUnsafeBufferPointer { bytes in
      let texts = UnsafeBufferPointer(rebasing: bytes[(base + start)..<(base + last)])
      for needle in needles {
        var text = ends.startIndex
        find(needle, texts) { place in
          while ends[text] <= start + place { text += 1 }
          // One that goes on in the next text is none.
          if start + place + needle.text.count <= ends[text] { set.insert(first + text - ends.startIndex) }
        }
      }
    }
  }

  /// Calls `body` with each place of a text, in order.
  @inline(__always) private func find(_ needle: Needle, _ text: UnsafeBufferPointer<UInt8>, _ body: (Int) -> Void) {
    let last = text.count - needle.text.count
    guard last >= 0 else { return }
    let raw = UnsafeRawBufferPointer(text)
    let (first, second) = (needle.text[needle.first], needle.text[needle.second])
    let (firstFold, secondFold) = (Self.fold(first), Self.fold(second))
    let (firsts, seconds) = (SIMD16<UInt8>(repeating: first), SIMD16<UInt8>(repeating: second))
    let (firstFolds, secondFolds) = (SIMD16<UInt8>(repeating: firstFold), SIMD16<UInt8>(repeating: secondFold))
    let reach = max(needle.first, needle.second) + 16
    var place = 0
    while place <= last, place + reach <= text.count {
      let left = raw.loadUnaligned(fromByteOffset: place + needle.first, as: SIMD16<UInt8>.self) | firstFolds
      let right = raw.loadUnaligned(fromByteOffset: place + needle.second, as: SIMD16<UInt8>.self) | secondFolds
      // Zero where both bytes are as wanted.
      let differences = (left ^ firsts) | (right ^ seconds)
      let isThere = differences .== SIMD16<UInt8>(repeating: 0)
      if any(isThere) {
        for offset in 0..<16 where isThere[offset] && place + offset <= last && holds(needle, text, place + offset) {
          body(place + offset)
        }
      }
      place += 16
    }
    while place <= last {
      if holds(needle, text, place) { body(place) }
      place += 1
    }
  }

  @inline(__always) private func holds(_ needle: Needle, _ text: UnsafeBufferPointer<UInt8>, _ place: Int) -> Bool {
    for offset in needle.text.indices where ASCII.lowered(text[place + offset]) != needle.text[offset] { return false }
    return true
  }

  private static func fold(_ byte: UInt8) -> UInt8 { byte >= 0x61 && byte <= 0x7A ? 0x20 : 0 }
}
