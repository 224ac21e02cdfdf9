import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

@Suite struct TailScreenTests {
  @Test func `what matches a query is never screened out, and most of the rest is`() throws {
    let seed: UInt64 = 77
    var random = SeededGenerator(seed: seed)
    let lines = (0..<300).map { _ in random.chance(20) ? oddLine(&random) : randomLine(&random) }
    let table = try table(lines)
    let records = try lines.map { try IndexedRecord($0) }
    for round in 0..<400 {
      let text = OracleTests().randomQuery(&random)
      let query = try LogQuery.parse(text)
      let scope = random.pick([LogScope.all, LogScope(namespaces: ["default"])])
      let screen = TailScreen(query, scope: scope)
      for (row, record) in records.enumerated() where query.matches(record, scope: scope) {
        #expect(
          screen.mayMatch(table.row(row), of: table),
          "seed \(seed), round \(round): \(text) finds \(String(decoding: lines[row], as: UTF8.self))")
      }
    }
    for (text, passing) in [
      ("level:error", 1), ("call:\"c 2\"", 1), ("PAID", 2), ("paid call:c1", 1), ("paid OR no", 3),
    ] {
      let few = try LogIndexTests.table([
        line("order paid", level: "info", call: "c1"), line("Paid late", level: "error", call: "c 2"),
        line("nothing", level: "info", call: "c3"),
      ])
      let screen = TailScreen(try LogQuery.parse(text), scope: .all)
      #expect((0..<3).filter { screen.mayMatch(few.row($0), of: few) }.count == passing, "\(text)")
    }
  }

  @Test func `each of several tails gets its own of the records of one commit`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      let queries = ["level:error", "", "call:c3", "msg:/m[0-3]$/"]
      let tails = try queries.map { try #require(store.tail(try LogQuery.parse($0), scope: .all)) }
      let lines = (0..<40).map { line("m\($0)", level: $0 % 8 == 0 ? "error" : "info", call: "c\($0 % 5)") }
      _ = try await store.append(worker: "w", firstSequence: 1, records: lines)
      for (tail, expected) in zip(tails, [5, 40, 8, 4]) {
        var reader = tail.makeAsyncIterator()
        for _ in 0..<expected {
          guard case .record = await reader.next() else {
            Issue.record("a record was dropped")
            return
          }
        }
      }
      await store.close()
      for tail in tails {
        var reader = tail.makeAsyncIterator()
        #expect(await reader.next() == nil)
      }
    }
  }
}
