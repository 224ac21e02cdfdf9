import ClusterTestSupport
import Foundation
import GRDB
import Testing

@testable import LogIndex

/// Counts beside the blocks say what the blocks say, and are never needed.
@Suite struct RollupTests {
  private let minute = Rollup.minute

  private func filled(_ folder: URL, _ random: inout SeededGenerator, rows: Int = 200) async throws -> LogStore {
    var options = LogIndexOptions()
    options.blockRows = rows
    options.notice = { Issue.record("nothing is damaged here: \($0)") }
    let store = try LogStore.open(directory: folder, options: options)
    for batch in 0..<10 {
      let lines = (0..<100).map { _ in randomLine(&random) }
      _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 100 + 1), records: lines)
    }
    #expect(await store.flush())
    return store
  }

  @Test func `wide counts open no block`() async throws {
    try await withTempFolder { folder in
      var random = SeededGenerator(seed: 8)
      let store = try await filled(folder, &random)
      await store.close()
      let reopened = try LogStore.open(directory: folder)
      for text in [
        "| stats count()", "| stats count() by (function, level) per 5m", "level:>=warn | stats count() by namespace",
        "function:order* NOT level:error | stats count() per 1h", "| top level", "| uniq function",
        "time:>=2026-11-20T00:05:00Z function:* | stats count() as n by (level) | sort by (n desc)",
        "NOT level:* | stats count()",
        "(level:error time:>=2026-11-20T00:05:00Z OR function:order time:<2026-11-20T00:20:00Z) | stats count() by (level) per 1m",
        "NOT (time:<2026-11-20T00:03:00Z OR namespace:team-a) | stats count(), count() as n by (namespace) per 10m",
      ] {
        let query = try LogQuery.parse(text)
        let scope = random.pick([LogScope.all, LogScope(namespaces: ["team-a", ""])])
        let result = try await reopened.stats(query, scope: scope)
        #expect(result.scanned == 0, "\(text)")
        #expect(reopened.view().blocks.allSatisfy { reopened.cache.value($0.name) == nil }, "\(text)")
        // The same with a condition that holds for all and is in no rollup.
        var slow = query
        slow.filter = .all([query.filter, .not(try LogQuery.parse("absent:x").filter)])
        let read = try await reopened.stats(slow, scope: scope)
        #expect(read.rows == result.rows && read.scanned > 0, "\(text)")
        for entry in reopened.view().blocks { reopened.cache.forget(entry.name) }
      }
      await reopened.close()
    }
  }

  @Test func `edges of time that are no minute's are read`() async throws {
    try await withTempFolder { folder in
      var random = SeededGenerator(seed: 9)
      let store = try await filled(folder, &random)
      for shift in [0, 1, 30_000_000_000, minute, 2 * minute - 1] {
        var query = try LogQuery.parse("| stats count() by level per 2m")
        query.range = TimeRange(since: day + shift, until: day + 10 * minute + shift)
        var slow = query
        slow.filter = try LogQuery.parse("NOT absent:x").filter
        #expect(try await store.stats(query, scope: .all).rows == (try await store.stats(slow, scope: .all)).rows)
      }
      await store.close()
    }
  }

  @Test func `a rollup is what was written, and damage is known`() async throws {
    try await withTempFolder { folder in
      var random = SeededGenerator(seed: 10)
      let store = try await filled(folder, &random)
      for entry in store.view().blocks {
        let rollup = try #require(store.rollup(of: entry))
        #expect(try Rollup(encoded: rollup.encoded()) == rollup)
        #expect(rollup.cells.reduce(0) { $0 + $1.count } == entry.rows)
        #expect(rollup.keys.reduce(0) { $0 + $1.bytes } == entry.rawBytes)
        let good = rollup.encoded()
        for _ in 0..<500 {
          var bad = good
          bad[Int.random(in: 0..<bad.count, using: &random)] ^= UInt8(1) << UInt8(Int.random(in: 0..<8, using: &random))
          if let read = try? Rollup(encoded: bad) { #expect(read == rollup) }
          _ = try? Rollup(encoded: Array(good.prefix(Int.random(in: 0..<good.count, using: &random))))
        }
      }
      await store.close()
    }
  }

  @Test func `a block of too many cells has no rollup and is counted all the same`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      let lines = (0..<Rollup.cellsMaximum + 10).map { line("m", time: day + Int64($0) * minute) }
      _ = try await store.append(worker: "w", firstSequence: 1, records: lines)
      #expect(await store.flush())
      #expect(store.rollup(of: try #require(store.view().blocks.first)) == nil)
      let result = try await store.stats(try LogQuery.parse("| stats count()"), scope: .all)
      #expect(result.rows == [LogStatRow(values: [.count(lines.count)])])
      await store.close()
    }
  }

  @Test func `a catalogue of version 1 is taken over`() async throws {
    try await withTempFolder { folder in
      var random = SeededGenerator(seed: 11)
      let store = try await filled(folder, &random)
      let whole = try await texts(store, LogQuery())
      await store.close()
      let database = try DatabaseQueue(path: folder.appendingPathComponent(Catalogue.name).path)
      try await database.write { db in
        try db.execute(sql: "ALTER TABLE block DROP COLUMN seen; DROP TABLE rollup; PRAGMA user_version = 1")
      }
      try database.close()
      var options = LogIndexOptions()
      options.notice = { Issue.record("nothing is damaged here: \($0)") }
      let reopened = try LogStore.open(directory: folder, options: options)
      #expect(try await texts(reopened, LogQuery()) == whole)
      let counted = try await reopened.stats(try LogQuery.parse("| stats count()"), scope: .all)
      #expect(counted.rows == [LogStatRow(values: [.count(1_000)])] && counted.scanned == 1_000)
      await reopened.close()
    }
  }
}
