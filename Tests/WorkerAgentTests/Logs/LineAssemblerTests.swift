import ClusterTestSupport
import Testing

@testable import WorkerAgent

@Suite("Line assembler")
struct LineAssemblerTests {
  struct Line: Equatable {
    var text: String
    var part: Int
  }

  static func lines(_ chunks: [String], limit: Int = 16, finish: Bool = true) -> [Line] {
    var assembler = LineAssembler(limit: limit)
    var found: [Line] = []
    for chunk in chunks {
      Array(chunk.utf8).withUnsafeBytes { bytes in
        assembler.feed(bytes) { found.append(Line(text: String(decoding: $0, as: UTF8.self), part: $1)) }
      }
    }
    if finish { assembler.finish { found.append(Line(text: String(decoding: $0, as: UTF8.self), part: $1)) } }
    return found
  }

  @Test func `lines are cut at their ends, wherever the chunks end`() {
    let whole = [Line(text: "one", part: 0), Line(text: "", part: 0), Line(text: "three", part: 0)]
    #expect(Self.lines(["one\n\nthree\n"]) == whole)
    #expect(Self.lines(["o", "ne\n", "\nth", "ree", "\n"]) == whole)
    #expect(Self.lines(["one\r\n\r", "\nthree\r\n"]) == whole)
  }

  @Test func `a last line without an end is given at the end of the stream only`() {
    #expect(Self.lines(["a\nb"], finish: false) == [Line(text: "a", part: 0)])
    #expect(Self.lines(["a\nb"]) == [Line(text: "a", part: 0), Line(text: "b", part: 0)])
  }

  @Test func `a long line comes in numbered parts, a line of just the bound whole`() {
    #expect(Self.lines(["abcdefgh\n"], limit: 8) == [Line(text: "abcdefgh", part: 0)])
    let parts = [Line(text: "abcdefgh", part: 1), Line(text: "i", part: 2), Line(text: "x", part: 0)]
    #expect(Self.lines(["abcdefghi\nx\n"], limit: 8) == parts)
    #expect(Self.lines(["abc", "defg", "hi\nx"], limit: 8) == parts)
  }

  @Test func `any way of cutting a stream gives the same lines`() {
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<2000 {
      let text = String(
        (0..<Int.random(in: 0...120, using: &generator)).map { _ in
          Character(["a", "b", "\n", "\r", "é"].randomElement(using: &generator) ?? "a")
        })
      let limit = Int.random(in: 1...20, using: &generator)
      var chunks: [String] = []
      var rest = Substring(text)
      while !rest.isEmpty {
        let piece = rest.prefix(Int.random(in: 1...10, using: &generator))
        chunks.append(String(piece))
        rest = rest.dropFirst(piece.count)
      }
      #expect(Self.lines(chunks, limit: limit) == Self.lines([text], limit: limit), "seed \(seed)")
    }
  }
}
