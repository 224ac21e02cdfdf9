import ClusterTestSupport
import Testing

@testable import LogIndex

@Suite struct ByteSearchTests {
  private func find(_ needle: [UInt8], _ text: [UInt8]) -> Int? {
    needle.withUnsafeBufferPointer { needle in
      text.withUnsafeBufferPointer { text in
        guard let left = needle.baseAddress, let right = text.baseAddress else { return nil }
        return ByteSearch.find(left, needle.count, in: right, text.count)
      }
    }
  }

  /// Texts that are alike to a hash whose seed is known: the last eight bytes undo what came before.
  private func colliding(_ count: Int, seed: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    for number in 0..<count {
      let first = UInt64(number)
      let before = ByteHash.mix((seed ^ 16) &* 0x9E37_79B9_7F4A_7C15 ^ first)
      for word in [first, before] { withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) } }
    }
    return bytes
  }

  @Test func `texts made to be alike to the hash are not, and are numbered as fast as others`() throws {
    let count = 60_000
    let bytes = colliding(count, seed: 0)
    try bytes.withUnsafeBufferPointer { buffer in
      let base = try #require(buffer.baseAddress)
      func hashes(_ seed: UInt64) -> Int {
        Set((0..<count).map { ByteHash.hash(base + $0 * 16, 16, seed: seed) }).count
      }
      #expect(hashes(0) == 1 && hashes(ByteHash.seed) > count - 10)
      var table = SpanTable()
      var numbers: [Int] = []
      let time = ContinuousClock().measure {
        numbers = (0..<count).map { table.number(Span($0 * 16, $0 * 16 + 16), base) }
      }
      #expect(numbers == Array(0..<count))
      #expect(time < .seconds(20), "\(time)")
    }
  }

  @Test func `the first place is found, by either way`() {
    var random = SeededGenerator(seed: 12)
    for _ in 0..<3_000 {
      let needle = (0..<Int.random(in: 1...9, using: &random)).map { _ in random.pick([0x61, 0x62] as [UInt8]) }
      let text = (0..<Int.random(in: 1...60, using: &random)).map { _ in random.pick([0x61, 0x62] as [UInt8]) }
      let starts = text.count < needle.count ? [] : Array(0...(text.count - needle.count))
      let expected = starts.first { text[$0..<($0 + needle.count)].elementsEqual(needle) }
      #expect(find(needle, text) == expected)
      #expect(TextFold.find(needle, in: text[...], from: 0) == expected)
      let steady = needle.withUnsafeBufferPointer { needle in
        text.withUnsafeBufferPointer { ByteSearch.steadily(needle, in: $0, from: 0) { $0 } }
      }
      #expect(steady == expected)
    }
  }

  @Test func `a needle that nearly fits everywhere takes no time`() {
    let text = [UInt8](repeating: 0x61, count: 250_000)
    let needle = [UInt8](repeating: 0x61, count: 500) + [0x62]
    let upper = [UInt8](repeating: 0x41, count: 250_000) + needle
    let time = ContinuousClock().measure {
      #expect(find(needle, text) == nil)
      #expect(find(needle, text + needle) == 250_000)
      #expect(TextFold.find(needle, in: text[...], from: 0) == nil)
      #expect(TextFold.find(needle, in: upper[10...], from: 10) == 250_000)
    }
    #expect(time < .seconds(10))
  }
}
