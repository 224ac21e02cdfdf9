import ClusterTestSupport
import Testing

@testable import LogIndex

@Suite struct StatsTests {
  private func rows(_ text: String, _ lines: [[UInt8]]) throws -> [String] {
    let query = try LogQuery.parse(text)
    let stats = try #require(query.stats)
    var table = StatsTable(stats)
    for bytes in lines where query.matches(bytes, scope: .all) { table.add(try IndexedRecord(bytes)) }
    return table.rows(limit: query.limit).map { String(decoding: $0.json(columns: stats.columns), as: UTF8.self) }
  }

  private let lines: [[UInt8]] = (0..<100).map { (number: Int) -> [UInt8] in
    let function = number % 2 == 0 ? "even" : "odd"
    let level = number % 10 == 0 ? "error" : "info"
    let fields = number % 5 == 4 ? "" : "\"ms\":\(number)"
    return line("m", time: day + Int64(number) * 6_000_000_000, function: function, level: level, fields: fields)
  }

  @Test func `count without groups is one row, even of nothing`() throws {
    #expect(try rows("| stats count()", lines) == [#"{"count()":100}"#])
    #expect(try rows("nope | stats count(), avg(ms)", lines) == [#"{"count()":0,"avg(ms)":null}"#])
    #expect(try rows("nope | stats count() by (level)", lines) == [])
  }

  @Test func `functions by fields`() throws {
    #expect(
      try rows("| stats count() as n, count(ms), min(ms), max(ms), sum(ms), avg(ms) by (function)", lines) == [
        #"{"function":"even","n":50,"count(ms)":40,"min(ms)":0,"max(ms)":98,"sum(ms)":1960,"avg(ms)":49}"#,
        #"{"function":"odd","n":50,"count(ms)":40,"min(ms)":1,"max(ms)":97,"sum(ms)":1960,"avg(ms)":49}"#,
      ])
  }

  @Test func `spans of time begin at multiples since 1970`() throws {
    #expect(
      try rows("level:error | stats count() by level per 5m", lines) == [
        #"{"time":"2026-11-20T00:00:00.000000000Z","level":"error","count()":5}"#,
        #"{"time":"2026-11-20T00:05:00.000000000Z","level":"error","count()":5}"#,
      ])
  }

  @Test func `percentiles are the nearest rank`() throws {
    let hundred = (1...100).map { line("m", fields: "\"ms\":\($0)") }
    #expect(
      try rows("| stats p1(ms), p50(ms), p90(ms), p99(ms)", hundred.shuffled())
        == [#"{"p1(ms)":1,"p50(ms)":50,"p90(ms)":90,"p99(ms)":99}"#])
  }

  @Test func `rows sort by any column and are cut by limit`() throws {
    #expect(
      try rows("| stats count() as n, max(ms) by level | sort by (n desc) | limit 1", lines)
        == [#"{"level":"info","n":90,"max(ms)":98}"#])
    #expect(
      try rows("| stats count() by level | sort count() | limit 1", lines) == [#"{"level":"error","count()":10}"#])
    #expect(
      try rows("| stats max(ms) by function | sort by max(ms) desc, function asc | limit 1", lines)
        == [#"{"function":"even","max(ms)":98}"#])
  }

  @Test func `a key that is absent is null`() throws {
    #expect(
      try rows("| stats count() by (who)", [line("m"), line("m", fields: #""who":"a\"b""#)])
        == [#"{"who":null,"count()":1}"#, #"{"who":"a\"b","count()":1}"#])
  }

  @Test func `a text beside the query is the same pipe`() throws {
    let beside = try LogQuery.parse("level:error", stats: "count() by (function, level) per 5m")
    #expect(beside == (try LogQuery.parse("level:error | stats count() by (function, level) per 5m")))
    #expect(throws: LogQueryError.self) { try LogQuery.parse("| stats count()", stats: "count()") }
    #expect(throws: LogQueryError.self) { try LogQuery.parse("", stats: "count() nonsense") }
  }

  @Test func `percentiles of numbers of any size are no trap`() {
    var sketch = QuantileSketch()
    var budget = 10
    let large = [Double.greatestFiniteMagnitude, -Double.greatestFiniteMagnitude, 1e300, 1e-300]
    for number in 0..<30_000 { sketch.add([large[number % large.count]], budget: &budget) }
    #expect(sketch.percentile(1) < -1e300 && sketch.percentile(30) < 1e-8 && sketch.percentile(99) > 1e299)
  }

  @Test func `percentiles of many numbers are within one percent`() {
    var random = SeededGenerator(seed: 3)
    var sketch = QuantileSketch()
    var budget = 1_000
    var all: [Double] = []
    for _ in 0..<30_000 {
      let value = Double.random(in: -50...1, using: &random) * Double.random(in: 0...1_000, using: &random)
      all.append(value)
      sketch.add([value], budget: &budget)
    }
    all.sort()
    for rank in [1, 10, 50, 90, 99] {
      let exact = all[max(1, (all.count * rank + 99) / 100) - 1]
      #expect(abs(sketch.percentile(rank) - exact) <= abs(exact) * 0.0101 + 1e-6)
    }
    #expect(budget == 1_000)
  }

  @Test func `groups beyond the most are left out and said`() throws {
    let stats = try #require(try LogQuery.parse("| stats count() by n").stats)
    var table = StatsTable(stats, groupsMaximum: 10)
    for number in 0..<10 { table.add(try IndexedRecord(line("m", fields: "\"n\":\(number)"))) }
    #expect(!table.isFull)
    table.add(try IndexedRecord(line("m", fields: "\"n\":10")))
    #expect(table.isFull)
    #expect(table.rows(limit: nil).count == 10)
  }
}
