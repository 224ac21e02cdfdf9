import ClusterTestSupport
import Testing

@testable import LogIndex

@Suite struct LiteralFinderTests {
  /// Which of some texts are marked.
  private func marked(_ finder: LiteralFinder, _ texts: [String]) -> [Int] {
    var bytes = Array("before".utf8)
    var ends: [Int] = []
    for text in texts {
      bytes += text.utf8
      ends.append(bytes.count - 6)
    }
    var set = RowSet(rows: texts.count)
    finder.mark(bytes, from: 6, start: 0, ends: ends[...], first: 0, in: &set)
    return texts.indices.filter { set.contains($0) }
  }

  @Test func `texts are marked that hold one of the needles, in either case`() {
    var random = SeededGenerator(seed: 5)
    for round in 0..<300 {
      let needles = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        String((0..<Int.random(in: 1...6, using: &random)).map { _ in random.pick(Array("abc 1@`")) })
      }
      let texts = (0..<40).map { _ in
        String((0..<Int.random(in: 0...50, using: &random)).map { _ in random.pick(Array("abcABC 1@`")) })
      }
      let expected = texts.indices.filter { index in
        needles.contains { texts[index].lowercased().contains($0) }
      }
      #expect(marked(LiteralFinder(needles.map { Array($0.utf8) }), texts) == expected, "round \(round): \(needles)")
    }
  }

  @Test func `only the texts asked about are marked`() {
    let bytes = Array("abcabcabc".utf8)
    var set = RowSet(rows: 3)
    LiteralFinder([Array("abc".utf8)]).mark(bytes, from: 0, start: 3, ends: [3, 6, 9][1..<3], first: 1, in: &set)
    #expect((0..<3).filter { set.contains($0) } == [1, 2])
  }

  /// What JSON may spell otherwise is not looked for; a text with `\u` may hold anything.
  @Test func `what every match holds is found as JSON spells it`() throws {
    let finder = try #require(LiteralFinder(try RegexProgram(Array("x\\d+ab/cde\"f".utf8), isFolded: false).literals))
    #expect(marked(finder, ["cde", "1CDE2", "cd", "ab", "\\u0063de", "\\n"]) == [0, 1, 4])
    for pattern in ["ab", "\\d+", "a.b.c", "(abc|de)", "(abc|def|ghi|jkl|mno)", "größe"] {
      #expect(LiteralFinder(try RegexProgram(Array(pattern.utf8), isFolded: false).literals) == nil, "\(pattern)")
    }
    #expect(LiteralFinder(try RegexProgram(Array("(abc|defg)".utf8), isFolded: false).literals) != nil)
  }
}
