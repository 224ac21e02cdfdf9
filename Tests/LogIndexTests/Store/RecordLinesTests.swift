import ClusterTestSupport
import Foundation
import Synchronization
import Testing

@testable import LogIndex

@Suite struct RecordLinesTests {
  @Test func `lines are split at their breaks, and empty ones are left out`() {
    let lines = RecordLines(ndjson: Array("one\n\ntwo\r\n\nthree".utf8))
    #expect(lines.count == 3)
    #expect((0..<3).map { String(decoding: lines[$0], as: UTF8.self) } == ["one", "two\r", "three"])
    #expect(RecordLines(ndjson: []).count == 0 && RecordLines(ndjson: [10, 10]).count == 0)
    #expect(RecordLines([[1], [], [2, 3]]).count == 3)
  }

  @Test func `a text is found in the line that has all of it`() {
    var random = SeededGenerator(seed: 3)
    for _ in 0..<500 {
      let lines = (0..<6).map { _ in
        (0..<Int.random(in: 0...9, using: &random)).map { _ in UInt8.random(in: 0x61...0x63, using: &random) }
      }
      let text = (0..<Int.random(in: 1...3, using: &random)).map { _ in UInt8.random(in: 0x61...0x63, using: &random) }
      for joined in [RecordLines(lines), RecordLines(ndjson: Array(lines.joined(separator: [10])))] {
        let all = (0..<joined.count).map { joined[$0] }
        let first = Int.random(in: 0...6, using: &random)
        let expected = all.indices.dropFirst(first).first { line in
          all[line].indices.contains { all[line][$0...].starts(with: text) }
        }
        #expect(joined.first(with: text, from: first) == expected)
      }
    }
  }

  @Test func `jobs of a quiet thread are done in their order, those before its end too`() async {
    let done = Mutex<[Int]>([])
    await withCheckedContinuation { continuation in
      let thread = QuietThread(name: "test")
      thread.async { done.withLock { $0.append(0) } }
      thread.wait()
      #expect(done.withLock { $0 } == [0])
      for number in 1...50 { thread.async { done.withLock { $0.append(number) } } }
      thread.async { continuation.resume() }
    }
    #expect(done.withLock { $0 } == Array(0...50))
  }
}
