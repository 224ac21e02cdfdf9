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

  @Test func `the first span of time there can be is cut where times begin`() async throws {
    let old = [0, 12, 60, 800].map { (days: Int64) in
      line("m", time: RecordTime.range.lowerBound + 1_000_000_000 + days * 86_400_000_000_000)
    }
    let expected = [
      #"{"time":"1678-06-18T12:26:40.000000000Z","count()":2}"#,
      #"{"time":"1678-08-11T00:00:00.000000000Z","count()":1}"#,
      #"{"time":"1680-08-04T00:00:00.000000000Z","count()":1}"#,
    ]
    let text = "| stats count() per 362d"
    #expect(try rows(text, old) == expected)
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      _ = try await store.append(worker: "w", firstSequence: 1, records: old)
      #expect(await store.flush())
      let answer = try await store.stats(try LogQuery.parse(text), scope: .all)
      #expect(answer.rows.map { String(decoding: $0.json(columns: answer.columns), as: UTF8.self) } == expected)
      await store.close()
    }
  }

  @Test func `the keys of groups are bounded together`() throws {
    let stats = try #require(try LogQuery.parse("| top msg").stats)
    var table = StatsTable(stats, keyBytesMaximum: 10_000)
    for number in 0..<5 {
      let text = String(repeating: "m", count: 3_000) + "\(number % 4)"
      table.add(try IndexedRecord(line(text)))
      #expect(table.isFull == (number > 2), "the fourth is too many, the first is known")
    }
    #expect(table.rows(limit: nil).count == 3)
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

  /// More groups than a table begins with, and more rows than a piece holds.
  @Test(arguments: [
    "count() as n, max(x) by (a, b) per 1m", "count(), avg(x) by (b) per 7m", "count() by (a, b)",
    "count() as n, p50(x) by (a) per 1ms", "count() as n, sum(x) by (a, b) per 1h | sort by (n desc, b)",
    "count() as n by (a, b) | sort by (b desc, n) | limit 1000", "sum(x) as s by (a) per 1m | sort by (time desc, s)",
  ])
  func `many rows are in order, in pieces as in values`(_ pipe: String) throws {
    var random = SeededGenerator(seed: 12)
    let query = try LogQuery.parse("| stats \(pipe)")
    let stats = try #require(query.stats)
    var table = StatsTable(stats)
    for _ in 0..<6_000 {
      // A letter in two spellings too.
      let a = random.pick(["\u{E9}", "e\u{301}", "x\\\"y", "", "null", "é\(Int.random(in: 0..<40, using: &random))"])
      var fields = random.chance(80) ? ["\"a\":\(a.isEmpty ? "null" : "\"\(a)\"")"] : []
      fields.append("\"b\":\(Int.random(in: 0..<60, using: &random))")
      if random.chance(70) { fields.append("\"x\":\(random.pick(["1", "2.5", "-7", "1e3"]))") }
      let time = day + Int64.random(in: -40..<40, using: &random) * 60_000_000_000
      table.add(try IndexedRecord(line("m", time: time, fields: fields.joined(separator: ","))))
    }
    let rows = table.rows(limit: query.limit)
    #expect(rows == rows.sorted { Self.isBefore($0, $1, stats) } && rows.count > 50)
    var lines = table.lines(limit: query.limit)
    var bytes: [UInt8] = []
    var pieces = 0
    while let (piece, count) = lines.piece() {
      #expect(piece.count < LogStatLines.pieceBytes + 1_024 && piece.count { $0 == 10 } == count)
      bytes += piece
      pieces += 1
    }
    #expect(pieces == (bytes.count + LogStatLines.pieceBytes - 1) / LogStatLines.pieceBytes)
    #expect(bytes == rows.flatMap { $0.json(columns: stats.columns) + [10] })
  }

  /// As the query says, then by all values from the left.
  private static func isBefore(_ left: LogStatRow, _ right: LogStatRow, _ stats: LogStats) -> Bool {
    for step in stats.order {
      if let before = isBefore(left.values[step.column], right.values[step.column]) {
        return before != step.isDescending
      }
    }
    for (mine, others) in zip(left.values, right.values) {
      if let before = isBefore(mine, others) { return before }
    }
    return false
  }

  private static func isBefore(_ left: LogStatValue, _ right: LogStatValue) -> Bool? {
    func key(_ value: LogStatValue) -> (Int, Double, [UInt8]) {
      switch value {
      case .none: (0, 0, [])
      case .count(let count): (1, Double(count), [])
      case .number(let number): (1, number, [])
      case .time(let time): (1, Double(time - day), [])
      case .text(let text): (1, 0, Array(text.utf8))
      }
    }
    let (left, right) = (key(left), key(right))
    if left.0 != right.0 { return left.0 < right.0 }
    if left.1 != right.1 { return left.1 < right.1 }
    return left.2 == right.2 ? nil : left.2.lexicographicallyPrecedes(right.2)
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
