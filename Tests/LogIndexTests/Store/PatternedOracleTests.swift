import ClusterTestSupport
import Foundation
import Synchronization
import Testing

@testable import LogIndex

/// Thousands of patterned records through every part of a store, queried by pages, against a scan of everything.
@Suite struct PatternedOracleTests {
  private struct Known {
    var position: LogPosition
    var record: IndexedRecord
  }

  private static func options(rows: Int) -> LogIndexOptions {
    var options = LogIndexOptions()
    options.blockRows = rows
    options.notice = { Issue.record("nothing is damaged here: \($0)") }
    return options
  }

  @Test(arguments: [1, 2, 3])
  func `blocks of patterned records hold every byte and need no fallback`(_ seed: Int) throws {
    var records = PatternedRecords(seed: UInt64(seed))
    for count in [1, 64, 700, 2_500] {
      let table = try table((0..<count).map { _ in records.next() })
      _ = try BlockMaker.file(table, notice: { Issue.record("seed \(seed), \(count): \($0)") }) { keepsLines in
        var writer = BlockWriter(table, level: 4, keepsLines: keepsLines)
        return writer.file(workers: [:])
      }
    }
  }

  @Test(arguments: [700, 65_536])
  func `queries of every kind, by pages, find what a scan finds`(_ rows: Int) async throws {
    let seed = Soak.seed("patterned oracle of \(rows)")
    for round in 0..<Soak.rounds(1) { try await judgeStore(rows: rows, seed: seed &+ UInt64(round)) }
  }

  private func judgeStore(rows: Int, seed: UInt64) async throws {
    var random = SeededGenerator(seed: seed &+ UInt64(rows))
    var records = PatternedRecords(seed: seed)
    var known: [Known] = []
    var sequences: [String: UInt64] = [:]
    try await withTempFolder { folder in
      var live = folder.appendingPathComponent("0")
      var store = try LogStore.open(directory: live, options: Self.options(rows: rows))
      for part in 1...4 {
        while known.count < part * 300 {
          let worker = random.pick(["a", "b", "c"])
          let first = sequences[worker, default: 0] + 1
          let lines = (0..<Int.random(in: 1...90, using: &random)).map { _ in records.next() }
          sequences[worker] = try await store.append(worker: worker, firstSequence: first, records: lines)
          for bytes in lines {
            let record = try IndexedRecord(bytes)
            known.append(Known(position: LogPosition(time: record.time, id: Int64(known.count + 1)), record: record))
          }
          if random.chance(12) { #expect(await store.flush()) }
        }
        switch part {
        case 1: await store.mergeSmallBlocks()
        case 2:
          // As a kill leaves it: a copy of the files, without closing.
          while store.state.withLock({ $0.sealsUnderWay }) > 0 { await Task.yield() }
          let copy = folder.appendingPathComponent("1")
          try FileManager.default.copyItem(at: live, to: copy)
          await store.close()
          live = copy
          store = try LogStore.open(directory: live, options: Self.options(rows: rows))
        case 3:
          await store.close()
          store = try LogStore.open(directory: live, options: Self.options(rows: rows))
        default: break
        }
        try await judge(store, known.sorted { $0.position > $1.position }, &random, "seed \(seed), part \(part)")
      }
      await store.close()
    }
  }

  private func judge(
    _ store: LogStore, _ newestFirst: [Known], _ random: inout SeededGenerator, _ place: String
  ) async throws {
    for _ in 0..<20 {
      let text = query(&random, depth: 0)
      var query = try LogQuery.parse(text)
      let edge = random.pick(newestFirst).position.time
      if random.chance(20) { query.range.since = edge }
      if random.chance(20) { query.range.until = random.pick(newestFirst).position.time }
      let expected = newestFirst.filter { query.matches($0.record, scope: .all) }
      let size = random.pick([1, 7, 100, 5_000])
      if expected.count > 40 * size { continue }
      var found: [LogEntry] = []
      // Each page begins where the one before ended.
      while true {
        query.limit = size
        query.after = found.last?.position
        var page: [LogEntry] = []
        for try await batch in store.query(query, scope: .all) {
          page += batch.entries
          #expect(batch.truncated == nil)
        }
        found += page
        if page.count < size { break }
      }
      #expect(
        found.map(\.position) == expected.map(\.position) && found.map(\.bytes) == expected.map(\.record.bytes),
        "\(place): \(text) found \(found.count) of \(expected.count), by \(size)")
    }
    let all = try LogQuery.parse("| stats count(), sum(n), max(took) by (function, level)")
    var table = StatsTable(try #require(all.stats))
    for known in newestFirst { table.add(known.record) }
    let (found, expected) = (try await store.stats(all, scope: .all).rows, table.rows(limit: nil))
    let same = found.count == expected.count && zip(found, expected).allSatisfy(Self.isAlike)
    #expect(same, "\(place): \(found) instead of \(expected)")
  }

  /// Whether two rows are the same, but for what is lost of a sum by the order of its parts.
  private static func isAlike(_ one: LogStatRow, _ other: LogStatRow) -> Bool {
    one.values.count == other.values.count
      && zip(one.values, other.values).allSatisfy { pair in
        guard case (.number(let one), .number(let other)) = pair else { return pair.0 == pair.1 }
        return abs(one - other) <= 1e-12 * max(abs(one), abs(other))
      }
  }

  private func query(_ random: inout SeededGenerator, depth: Int) -> String {
    if depth < 2, random.chance(40) {
      let (left, right) = (query(&random, depth: depth + 1), query(&random, depth: depth + 1))
      return random.pick(["\(left) AND \(right)", "(\(left) OR \(right))", "NOT (\(left))", "-(\(right)) \(left)"])
    }
    return random.pick([
      "*", "payment", "timeout", "\"connection refused\"", "größe", "naïve",
      "item-\(Int.random(in: 1...1_200, using: &random))",
      "GET", "ite*", "*me", "quoted", "w3", "function:hello", "function:(order OR order-2)", "function:order*",
      "level:error", "level:>=warn", "stream:access", "namespace:team-a", "pod:alpha", "call:*", "call:\"größe\"",
      "n:>500", "n:0..20", "n:17", "n:*", "took:250", "took:>1s", "ok:true", "ok:\"\"", "path:alpha*", "path:*",
      "hash:*", "hash:deadbeef01", "id:\"beta gamma\"", "user.name:größe", "user.name:\"a\\nb\"", "\"größe\":*",
      "msg:/item-\\d*7 /", "msg:/declined: connection/", "msg:/[0-9a-f]{8} declined/", "msg:/w\\d-[0-9a-f]{3}0/",
      "msg:/größe .* naïve$/", "path:/^alpha-\\d/", "id:/-4/", "hash:/^dead|0{2}/", "msg:/(GET|PUT) .api.1\\d.item/",
      "msg:*", "msg:\"\"", "msg:/^.{30}$/", "msg:/[0-9a-f]{3}-/", "\"payment of order\"", "GET*item", "w1*", "200",
      "\"200 in\"", "msg:/in \\d+\\.[5-9]ms$/", "msg:/item-(1|2)+ 200/", "msg:/(?i)get.*[13579]ms/",
      "msg:/order [0-9a-f]*(b|3) d/", "msg:/[ab].{9}c/", "msg:/\\b[0-9a-f]{8}\\b/",
      "time:>=2026-11-20T00:00:05Z", "stream:access AND (NOT n:17 OR ok:* OR hash:*)", "absent:x",
    ])
  }
}
