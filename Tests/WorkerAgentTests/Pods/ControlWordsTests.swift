import Testing

@testable import WorkerAgent

@Suite("Control words")
struct ControlWordsTests {
  private func said(_ parts: String...) -> ControlWords {
    var words = ControlWords()
    for part in parts { words.take(Array(part.utf8)) }
    return words
  }

  @Test func `each word says one thing, together or one after the other`() {
    let time = "s00000000000000ff"
    let all = said("w" + time + "1")
    #expect(all.waits && all.began == 255 && all.isLoaded)
    #expect(said("w", time, "1") == all)
    let waiting = said("w")
    #expect(waiting.waits && waiting.began == nil && !waiting.isLoaded)
    let begun = said(time)
    #expect(!begun.waits && begun.began == 255 && !begun.isLoaded)
  }

  @Test func `a runner may say with any byte that it is loaded, and a time is told once`() {
    for byte in ["1", "s", "sss", "s1234", "\u{0}", "sffffffffffffffff", "s-000000000000001"] {
      let words = said("s00000000000000ff", byte)
      #expect(words.isLoaded && words.began == 255, "\(byte)")
    }
    let again = said("s00000000000000ff", "s0000000000000fff")
    #expect(again.began == 255 && again.isLoaded)
    #expect(said("s").isLoaded && said("s").began == nil)
  }
}
