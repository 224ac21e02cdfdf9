import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

/// The engine and a scan of everything that was ever appended must answer alike.
@Suite struct OracleTests {
  /// In memory, in blocks, and in both; small blocks so that many overlap in time.
  @Test(arguments: [65_536, 100, 17])
  func `random queries on random records agree with a scan of everything`(_ blockRows: Int) async throws {
    let seed = Soak.seed("oracle of \(blockRows)") &+ UInt64(blockRows)
    let rounds = Soak.rounds(340)
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
      for round in 0..<rounds {
        let text = randomQuery(&random)
        var query = try LogQuery.parse(text)
        if random.chance(20) { query.range.since = day + Int64.random(in: 0..<40, using: &random) }
        if random.chance(20) { query.range.until = day + Int64.random(in: 0..<2_000_000_000_000, using: &random) }
        if random.chance(30) { query.limit = Int.random(in: 1...50, using: &random) }
        let scope = random.pick([
          LogScope.all, LogScope(namespaces: ["default"]), LogScope(namespaces: ["default", "team-a"]),
        ])
        let matching = newestFirst.filter { query.matches($0, scope: scope) }
        let expected = matching.prefix(query.limit ?? .max)
        let found = try await texts(store, query, scope: scope)
        hits += expected.isEmpty ? 0 : 1
        #expect(
          found == expected.map { String(decoding: $0.bytes, as: UTF8.self) },
          "seed \(seed), round \(round): \(text), \(scope)")
        try await judgePipe(store, query, scope, matching, &random, "seed \(seed), round \(round): \(text)")
      }
      #expect(hits > rounds / 3, "too few queries found anything to mean something: \(hits)")
      await store.close()
    }
  }

  /// The same records through a pipe.
  private func judgePipe(
    _ store: LogStore, _ asked: LogQuery, _ scope: LogScope, _ matching: [IndexedRecord],
    _ random: inout SeededGenerator, _ place: String
  ) async throws {
    let pipe = random.pick([
      "stats count(), max(duration_ms) by (function, level) per 5m", "stats count() by (level) per 1m",
      "stats count() as n by (namespace, function)", "stats count(), count(user.name), min(took), p50(duration_ms)",
      "stats sum(status), avg(duration_ms) by (call) | sort by (call desc)", "stats count() per 1h", "stats count()",
      "top 3 function", "top status, level", "top 2 user.name", "uniq function", "uniq by (call, level) | limit 7",
      "uniq duration_ms | sort by (duration_ms desc)", "sort by (duration_ms desc)",
      "sort by (took, call desc) | limit 9",
      "sort by status | limit 20", "fields function, call, took, fields.level",
      "sort by (msg desc) | fields msg | limit 3",
    ])
    var query = try LogQuery.parse("| " + pipe)
    (query.filter, query.range) = (asked.filter, asked.range)
    if random.chance(30) { query.range.since = day + Int64.random(in: 0..<10, using: &random) * 60_000_000_000 }
    if random.chance(30) { query.range.until = day + Int64.random(in: 5..<40, using: &random) * 60_000_000_000 }
    let records = query.range == asked.range ? matching : matching.filter { query.range.contains($0.time) }
    // What the pipe alone does not narrow was cut away above already.
    guard query.range.since ?? .min >= asked.range.since ?? .min, query.range.until ?? .max <= asked.range.until ?? .max
    else { return }
    if let stats = query.stats {
      var table = StatsTable(stats)
      for record in records { table.add(record) }
      let rows = try await store.stats(query, scope: scope).rows
      #expect(rows == table.rows(limit: query.limit), "\(place) | \(pipe)")
    } else {
      let projection = query.fields.map { LogProjection(fields: $0) }
      let expected = Self.sorted(records, query.order).prefix(query.limit ?? .max).map {
        String(decoding: projection?.apply($0) ?? $0.bytes, as: UTF8.self)
      }
      #expect(try await texts(store, query, scope: scope) == expected, "\(place) | \(pipe)")
    }
  }

  /// Numbers before texts, records without the field last; of those alike the newer first, as they come.
  private static func sorted(_ records: [IndexedRecord], _ order: [LogQuery.Order]) -> [IndexedRecord] {
    var records = records
    // The least column first: each sort keeps the order of what is alike.
    for step in order.reversed() {
      let keyed = records.enumerated().map { index, record -> (Int, Double, [UInt8], Int, IndexedRecord) in
        guard let text = StatsTable.key(step.field, record.value(step.field)) else { return (2, 0, [], index, record) }
        guard let number = Decimal.parse(text) else { return (1, 0, text, index, record) }
        return (0, number, [], index, record)
      }
      records = keyed.sorted { left, right in
        if (left.0 == 2) != (right.0 == 2) { return right.0 == 2 }
        if left.0 != right.0 { return (left.0 < right.0) != step.isDescending }
        if left.1 != right.1 { return (left.1 < right.1) != step.isDescending }
        if left.2 != right.2 { return left.2.lexicographicallyPrecedes(right.2) != step.isDescending }
        return left.3 < right.3
      }.map(\.4)
    }
    return records
  }

  func randomQuery(_ random: inout SeededGenerator, depth: Int = 0) -> String {
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
      "*", "msg:*", "msg:\"\"",
      "(function:hello level:error OR function:order level:info)", "(call:c-1 pod:p1 OR call:c-2 pod:p2)",
      "(time:2026-11-20 OR time:>2026-11-20T00:10:00Z)", "time:>=2026-11-20T00:01:00Z",
      "time:2026-11-20T00:00:00Z..2026-11-20T00:00:30Z", "absent:x", "msg:/pay(ment)?s?/", "msg:/^order/",
      "msg:/gr.ß/i",
      "msg:/[xy]-[xy]$/", "msg:/user|42/", "function:/^order(-\\d)?$/", "call:/c-[12]/", "level:/^(warn|odd)/",
      "took:/ms$/", "duration_ms:/^2/", "user.name:/^.{3}$/", "status:/5|tr/", "msg:/\\btime/", "msg:/^$/", "call:/^$/",
      "time:/T00:0[0-4]/",
    ])
  }
}
