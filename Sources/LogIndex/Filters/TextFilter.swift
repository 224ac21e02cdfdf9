/// A word, phrase or pattern somewhere in the message, upper and lower case alike.
///
/// An end of the text that is a word character must lie at the edge of a word: `time` finds neither `timeout` nor
/// `uptime`; `time*` finds the first, `*time` the second. A `*` inside stands for any run without white space.
package struct TextFilter: Sendable, Equatable {
  /// The literal parts between the stars, lowered; one part means no star. Either end may be empty.
  let parts: [[UInt8]]
  let isASCII: Bool
  /// The same as an expression; nil for what is not ASCII only, where upper and lower case are Unicode's.
  let program: RegexProgram?

  init(parts: [[UInt8]]) {
    let isASCII = parts.allSatisfy { $0.allSatisfy { $0 < 0x80 } }
    self.isASCII = isASCII
    self.parts = parts.map { TextFold.lowered($0) }
    program = isASCII ? Self.program(self.parts) : nil
  }

  /// Whether both look for the same.
  package static func == (left: TextFilter, right: TextFilter) -> Bool { left.parts == right.parts }

  private static func program(_ parts: [[UInt8]]) -> RegexProgram? {
    guard parts.contains(where: { !$0.isEmpty }) else { return nil }
    var nodes: [RegexNode] = []
    if let first = parts.first?.first, ASCII.isWord(first) { nodes.append(.edge(.word)) }
    for (number, part) in parts.drop(while: \.isEmpty).enumerated() {
      if number > 0 { nodes.append(.repeated(.set(ScalarSet.spaces.inverted), least: 0, most: nil)) }
      for byte in part { nodes.append(.set(ScalarSet(Unicode.Scalar(byte)).folded)) }
    }
    if let last = parts.last?.last, ASCII.isWord(last) { nodes.append(.edge(.word)) }
    return try? RegexProgram(.sequence(nodes))
  }

  func matches(_ record: IndexedRecord) -> Bool {
    matches(record.value(.reserved(.msg)))
  }

  func matches(_ value: FieldValue?) -> Bool {
    guard let value, value.kind != .null else { return false }
    let text = value.text
    // Folding beyond ASCII can only matter to a pattern that goes beyond it.
    return matches(isASCII ? text : TextFold.lowered(text)[...])
  }

  func matches(_ text: ArraySlice<UInt8>) -> Bool {
    // A pattern that begins with a star may begin inside a word.
    let startsFree = parts.first?.isEmpty ?? true
    let body = parts.drop { $0.isEmpty }
    guard let first = body.first, let letter = first.first else { return false }
    var from = text.startIndex
    while let start = TextFold.find(first, in: text, from: from) {
      from = start + 1
      guard startsFree || startsWord(text, start, letter) else { continue }
      let end = start + first.count
      if body.count == 1 {
        if endsWord(text, end, first.last) { return true }
      } else {
        if tailMatches(body.dropFirst(), text, end) { return true }
        // What did not follow this start in its run follows no later start of the same run either.
        from = max(from, runEnd(text, end) - first.count + 1)
      }
    }
    return false
  }

  /// Whether the parts follow one another, each begun in the run without white space the one before ended in.
  private func tailMatches(_ tail: ArraySlice<[UInt8]>, _ text: ArraySlice<UInt8>, _ end: Int) -> Bool {
    var position = end
    for number in tail.indices {
      let part = tail[number]
      let limit = runEnd(text, position)
      var from = position
      var found: Int?
      while found == nil, let start = TextFold.find(part, in: text, from: from, notAfter: limit) {
        if number < tail.endIndex - 1 || endsWord(text, start + part.count, part.last) { found = start + part.count }
        from = start + 1
      }
      guard let found else { return false }
      position = found
    }
    return true
  }

  private func runEnd(_ text: ArraySlice<UInt8>, _ start: Int) -> Int {
    var index = start
    while index < text.endIndex, !ASCII.isSpace(text[index]) { index += 1 }
    return index
  }

  private func startsWord(_ text: ArraySlice<UInt8>, _ start: Int, _ first: UInt8) -> Bool {
    !ASCII.isWord(first) || start == text.startIndex || !ASCII.isWord(text[start - 1])
  }

  private func endsWord(_ text: ArraySlice<UInt8>, _ end: Int, _ last: UInt8?) -> Bool {
    guard let last else { return true }
    return !ASCII.isWord(last) || end == text.endIndex || !ASCII.isWord(text[end])
  }
}

/// Lower case and substring search over UTF-8.
enum TextFold {
  /// Lower case: Unicode's where there is more than ASCII.
  static func lowered(_ text: some Sequence<UInt8>) -> [UInt8] {
    let bytes = Array(text)
    if bytes.allSatisfy({ $0 < 0x80 }) { return bytes.map(ASCII.lowered) }
    return Array(String(decoding: bytes, as: UTF8.self).lowercased().utf8)
  }

  /// The first place from `from` to `notAfter` where `text`, its ASCII letters lowered, holds `needle`.
  ///
  /// An empty needle is found at `from`.
  static func find(
    _ needle: [UInt8], in text: ArraySlice<UInt8>, from: Int, notAfter: Int = .max
  ) -> Int? {
    guard let first = needle.first else { return from <= min(text.endIndex, notAfter) ? from : nil }
    guard needle.count <= text.endIndex - from else { return nil }
    let last = min(text.endIndex - needle.count, notAfter)
    return text.withUnsafeBufferPointer { buffer in
      let base = text.startIndex
      var start = from
      var wasted = 0
      while start <= last {
        if ASCII.lowered(buffer[start - base]) == first {
          var offset = 1
          while offset < needle.count, ASCII.lowered(buffer[start - base + offset]) == needle[offset] { offset += 1 }
          if offset == needle.count { return start }
          wasted += offset
          if wasted > ByteSearch.waste(text.count) {
            let found = needle.withUnsafeBufferPointer {
              ByteSearch.steadily($0, in: buffer, from: start + 1 - base, ASCII.lowered)
            }
            return found.flatMap { $0 + base <= last ? $0 + base : nil }
          }
        }
        start += 1
      }
      return nil
    }
  }
}
