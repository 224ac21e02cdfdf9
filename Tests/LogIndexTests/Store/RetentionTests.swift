import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

@Suite struct RetentionTests {
  private let second: Int64 = 1_000_000_000

  private func options(blockRows: Int) -> LogIndexOptions {
    var options = LogIndexOptions()
    options.blockRows = blockRows
    return options
  }

  /// A text that no compression makes small.
  private func noise(_ bytes: Int, _ random: inout SeededGenerator) -> String {
    String((0..<bytes).map { _ in random.pick(Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")) })
  }

  @Test func `blocks whose records are all older than the age go, and their space with them`() async throws {
    try await withTempFolder { folder in
      var random = SeededGenerator(seed: 5)
      let store = try LogStore.open(directory: folder, options: options(blockRows: 1_000))
      let lines = (0..<5_000).map { line(noise(200, &random), time: day + Int64($0) * second) }
      for start in stride(from: 0, to: 5_000, by: 1_000) {
        _ = try await store.append(
          worker: "w", firstSequence: UInt64(start + 1), records: Array(lines[start..<(start + 1_000)]))
      }
      let early = try await store.retain(
        policy: LogRetention(maxAge: .seconds(1_000), maxBytes: nil), now: day + 1_500 * second)
      #expect(early.deletedByAge == 0)
      #expect(try await texts(store, LogQuery()).count == 4_500, "too old, and not shown")
      let report = try await store.retain(
        policy: LogRetention(maxAge: .seconds(1_000), maxBytes: nil), now: day + 5_000 * second)
      #expect(report.deletedByAge == 4_000)
      #expect(report.freedBytes > 500_000)
      let figures = try await store.figures()
      #expect(figures.records == 1_000)
      #expect(figures.oldest == day + 4_000 * second)
      #expect(figures.recordBytes == lines[4_000...].reduce(0) { $0 + Int64($1.count) })
      #expect(
        try await store.retain(policy: LogRetention(maxAge: .seconds(1_000), maxBytes: nil), now: day).deletedByAge == 0
      )
      await store.close()
    }
  }

  @Test func `the oldest go while the files hold too much, and appends go on meanwhile`() async throws {
    try await withTempFolder { folder in
      var random = SeededGenerator(seed: 6)
      let store = try LogStore.open(directory: folder, options: options(blockRows: 500))
      var sequence: UInt64 = 1
      for round in 0..<5 {
        for part in 0..<4 {
          let start = Int64(round) * 2_000 + Int64(part) * 500
          let lines = (0..<500).map { line(noise(1_000, &random), time: day + (start + Int64($0)) * second) }
          _ = try await store.append(worker: "w", firstSequence: sequence, records: lines)
          sequence += 500
        }
        async let appended = store.append(
          worker: "v", firstSequence: UInt64(round + 1), records: [line("now", time: day + 90_000 * second)])
        let report = try await store.retain(
          policy: LogRetention(maxAge: nil, maxBytes: 2_000_000), now: day + 100_000 * second)
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
      let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix("block-") }
      #expect(Set(names) == Set(store.view().blocks.map(\.name)), "no file without an entry, no entry without a file")
    }
  }

  @Test func `records of a sender whose clock is ahead go by ours`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder, options: options(blockRows: 100))
      let policy = LogRetention(maxAge: .seconds(1_000), maxBytes: nil)
      // A year ahead.
      let ahead = day + 31_536_000 * second
      _ = try await store.append(worker: "w", firstSequence: 1, records: (0..<100).map { line("m", time: ahead + $0) })
      #expect(await store.flush())
      #expect(try await store.retain(policy: policy, now: day).deletedByAge == 0)
      await store.close()
      let reopened = try LogStore.open(directory: folder, options: options(blockRows: 100))
      #expect(try await reopened.retain(policy: policy, now: day + 999 * second).deletedByAge == 0)
      #expect(try await reopened.retain(policy: policy, now: day + 1_001 * second).deletedByAge == 100)
      await reopened.close()
    }
  }

  @Test func `a clock that was behind once costs no records`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder, options: options(blockRows: 100))
      let policy = LogRetention(maxAge: .seconds(1_000), maxBytes: nil)
      _ = try await store.append(worker: "w", firstSequence: 1, records: (0..<100).map { line("m", time: day + $0) })
      #expect(await store.flush())
      // A server that starts in 1970, until its clock is set.
      #expect(try await store.retain(policy: policy, now: 30 * second).deletedByAge == 0)
      #expect(try await store.retain(policy: policy, now: day + 60 * second).deletedByAge == 0)
      #expect(try await store.retain(policy: policy, now: day + 1_001 * second).deletedByAge == 100)
      await store.close()
    }
  }

  @Test func `a clock that was ahead once hides no records that come later`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder, options: options(blockRows: 100))
      var policy = LogRetention(maxAge: .seconds(1_000), maxBytes: nil)
      policy.rules = [LogRetentionRule(namespace: "default", maxAge: .seconds(600))]
      _ = try await store.retain(policy: policy, now: day + 86_400 * second)
      _ = try await store.append(worker: "w", firstSequence: 1, records: [line("m", time: day)])
      #expect(try await messages(store).isEmpty, "too old for that clock")
      _ = try await store.retain(policy: policy, now: day + 60 * second)
      #expect(try await messages(store) == ["m"])
      await store.close()
    }
  }

  @Test func `a rule reads the counts of those blocks alone that it needs`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder, options: options(blockRows: 100))
      // Ten blocks of a hundred minutes each, all records of one length.
      let lines = (0..<1_000).map { line("m", time: day + Int64($0) * Rollup.minute) }
      for start in stride(from: 0, to: 1_000, by: 100) {
        _ = try await store.append(
          worker: "w", firstSequence: UInt64(start + 1), records: Array(lines[start..<(start + 100)]))
      }
      #expect(await store.flush())
      await store.close()
      let reopened = try LogStore.open(directory: folder, options: options(blockRows: 100))
      let blocks = reopened.view().blocks.sorted { $0.oldest < $1.oldest }
      #expect(blocks.count == 10)
      func read() -> [Bool] { blocks.map { reopened.rollups.glimpse($0.name) != nil } }
      var policy = LogRetention(maxAge: nil, maxBytes: nil)
      // Of the first block a quarter is too old, so it stays, and all others are younger.
      policy.rules = [LogRetentionRule(namespace: "default", maxAge: .seconds(975 * 60))]
      #expect(try await reopened.retain(policy: policy, now: day + 1_000 * Rollup.minute).deletedByRules == 0)
      #expect(read() == [true] + Array(repeating: false, count: 9))
      #expect(try await messages(reopened).count == 975)
      // The bytes of 350 records: three blocks and a half stay.
      policy.rules = [LogRetentionRule(namespace: "default", maxBytes: Int64(lines[0].count) * 350)]
      let report = try await reopened.retain(policy: policy, now: day + 1_000 * Rollup.minute)
      #expect(report.deletedByRules == 650)
      #expect(try await messages(reopened).count == 350)
      #expect(read().suffix(3) == [true, true, true])
      await reopened.close()
    }
  }

  @Test func `queries that are under way when their blocks go end with what is left`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder, options: options(blockRows: 100))
      for batch in 0..<20 {
        let lines = (0..<100).map { line("m", time: day + Int64(batch * 100 + $0) * second) }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 100 + 1), records: lines)
      }
      #expect(await store.flush())
      var seen = 0
      for try await batch in store.query(LogQuery(), scope: .all) {
        if seen == 0 {
          _ = try await store.retain(
            policy: LogRetention(maxAge: .seconds(500), maxBytes: nil), now: day + 2_000 * second)
        }
        seen += batch.entries.count
        #expect(batch.truncated == nil, "what retention deleted is not missing")
      }
      #expect(seen >= 500 && seen <= 2_000)
      await store.close()
    }
  }
}
