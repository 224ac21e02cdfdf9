import Foundation
import Testing

@testable import LogIndex

@Suite struct RetentionTests {
  private let second: Int64 = 1_000_000_000

  @Test func `records older than the age go, and their space with them`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      let text = String(repeating: "x", count: 800)
      let lines = (0..<5_000).map { line(text, time: day + Int64($0) * second) }
      _ = try await store.append(worker: "w", firstSequence: 1, records: lines)
      let report = try await store.retain(
        policy: LogRetention(maxAge: .seconds(1_000), maxBytes: nil), now: day + 5_000 * second)
      #expect(report.deletedByAge == 4_000)
      #expect(report.freedBytes > 3_000_000)
      let figures = try await store.figures()
      #expect(figures.records == 1_000)
      #expect(figures.oldest == day + 4_000 * second)
      #expect(figures.recordBytes == Int64(1_000 * lines[0].count))
      #expect(figures.diskBytes < 3_000_000)
      #expect(
        try await store.retain(policy: LogRetention(maxAge: .seconds(1_000), maxBytes: nil), now: day).deletedByAge == 0
      )
      await store.close()
    }
  }

  @Test func `the oldest go while the files hold too much, and appends go on meanwhile`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      let text = String(repeating: "y", count: 500)
      var sequence: UInt64 = 1
      for round in 0..<5 {
        let lines = (0..<2_000).map { line(text, time: day + (Int64(round) * 2_000 + Int64($0)) * second) }
        _ = try await store.append(worker: "w", firstSequence: sequence, records: lines)
        sequence += 2_000
        async let appended = store.append(
          worker: "v", firstSequence: UInt64(round + 1), records: [line("now", time: day + 90_000 * second)])
        let report = try await store.retain(policy: LogRetention(maxAge: nil, maxBytes: 2_000_000), now: day)
        _ = try await appended
        #expect(round == 0 || report.deletedByBytes > 0)
        #expect(try await store.figures().diskBytes < 3_000_000)
      }
      #expect(try await messages(store, "now").count == 5)
      let figures = try await store.figures()
      #expect(figures.records == Int64(try await messages(store).count))
      // What was deleted stays acknowledged.
      #expect(try await store.append(worker: "w", firstSequence: 1, records: [line("old")]) == sequence - 1)
      await store.close()
    }
  }
}
