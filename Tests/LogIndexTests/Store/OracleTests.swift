import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

/// The engine and a scan of everything that was ever appended must answer alike.
@Suite struct OracleTests {
  /// In memory, in blocks, and in both; small blocks so that many overlap in time.
  @Test(arguments: [65_536, 100, 17])
  func `random queries on random records agree with a scan of everything`(_ blockRows: Int) async throws {
    let seed: UInt64 = 1_961
    var random = SeededGenerator(seed: seed)
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.blockRows = blockRows
      options.notice = { Issue.record("nothing is damaged here: \($0)") }
      let store = try LogStore.open(directory: folder, options: options)
      let lines = (0..<350).map { _ in randomLine(&random) }
      for start in stride(from: 0, to: lines.count, by: 50) {
        _ = try await store.append(
          worker: "w", firstSequence: UInt64(start + 1), records: Array(lines[start..<(start + 50)]))
      }
      if blockRows == 100 { #expect(await store.flush()) }
      var arrival = 0
      var records: [(LogPosition, IndexedRecord)] = []
      for bytes in lines {
        let record = try IndexedRecord(bytes)
        arrival += 1
        records.append((LogPosition(time: record.time, id: Int64(arrival)), record))
      }
      let newestFirst = records.sorted { $0.0 > $1.0 }.map(\.1)
      var hits = 0
      for round in 0..<1_000 {
        let text = randomQuery(&random)
        var query = try LogQuery.parse(text)
        if random.chance(20) { query.range.since = day + Int64.random(in: 0..<40, using: &random) }
        if random.chance(20) { query.range.until = day + Int64.random(in: 0..<2_000_000_000_000, using: &random) }
        if random.chance(30) { query.limit = Int.random(in: 1...50, using: &random) }
        let scope = random.pick([
          LogScope.all, LogScope(namespaces: ["default"]), LogScope(namespaces: ["default", "team-a"]),
        ])
        let expected = newestFirst.filter { query.matches($0, scope: scope) }.prefix(query.limit ?? .max)
        let found = try await texts(store, query, scope: scope)
        hits += expected.isEmpty ? 0 : 1
        #expect(
          found == expected.map { String(decoding: $0.bytes, as: UTF8.self) },
          "seed \(seed), round \(round): \(text), \(scope)")
        if round % 10 == 0 {
          var counted = query
          counted.limit = nil
          counted.stats = try LogQuery.parse("| stats count(), max(duration_ms) by (function, level) per 5m").stats
          var table = StatsTable(try #require(counted.stats))
          for record in newestFirst where counted.matches(record, scope: scope) { table.add(record) }
          #expect(
            try await store.stats(counted, scope: scope).rows == table.rows(limit: nil),
            "seed \(seed), round \(round): \(text)")
        }
      }
      #expect(hits > 350, "too few queries found anything to mean something: \(hits)")
      await store.close()
    }
  }

  private func randomQuery(_ random: inout SeededGenerator, depth: Int = 0) -> String {
    if depth < 3, random.chance(45) {
      let left = randomQuery(&random, depth: depth + 1)
      let right = randomQuery(&random, depth: depth + 1)
      return random.pick([
        "\(left) \(right)", "\(left) AND \(right)", "(\(left) OR \(right))", "NOT (\(left))", "-(\(right)) \(left)",
      ])
    }
    return random.pick([
      "payment", "pay*", "time*", "*time", "\"connection refused\"", "größe", "p*s", "42", "x-y", "user",
      "function:hello", "function:order", "function:order*", "function:(hello OR order-2)", "function:\"a\\nb\"",
      "function:*",
      "namespace:team-a", "namespace:\"\"", "level:error", "level:>=warn", "level:(error OR warn)", "level:debug..info",
      "level:odd*",
      "stream:stderr", "stream:(stdout stderr)", "call:c-1", "call:(c-1 OR c-2)", "call:*", "call:\"\"", "pod:p1",
      "pod:p*", "node:n2",
      "pod:p1 call:c-2", "level:fatal function:hello", "duration_ms:>250", "duration_ms:250", "duration_ms:1..999",
      "duration_ms:250ms",
      "duration_ms:*", "took:>1s", "took:7", "took:soon", "status:500", "status:(404 OR 200)", "status:null",
      "status:true",
      "user.name:ann", "user.name:böb", "user.name:\"\"", "user.age:>6", "fields.level:own", "big:9007199254740993",
      "*",
      "(function:hello level:error OR function:order level:info)", "(call:c-1 pod:p1 OR call:c-2 pod:p2)",
      "(time:2026-11-20 OR time:>2026-11-20T00:10:00Z)", "time:>=2026-11-20T00:01:00Z",
      "time:2026-11-20T00:00:00Z..2026-11-20T00:00:30Z", "absent:x",
    ])
  }
}
