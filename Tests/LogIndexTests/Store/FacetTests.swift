import ClusterTestSupport
import Testing

@testable import LogIndex

@Suite struct FacetTests {
  private func filled(_ store: LogStore) async throws {
    let lines = (0..<400).map { (number: Int) -> [UInt8] in
      let level = number % 10 == 0 ? "error" : number % 10 == 1 ? "" : "info"
      let fields = number % 2 == 0 ? "\"user\":\"u\(number % 14)\"" : ""
      let time = day + Int64(number) * 15_000_000_000
      return line("m", time: time, function: number % 4 == 0 ? "pay" : "order", level: level, fields: fields)
    }
    _ = try await store.append(worker: "w", firstSequence: 1, records: Array(lines[..<300]))
    #expect(await store.flush())
    _ = try await store.append(worker: "w", firstSequence: 301, records: Array(lines[300...]))
  }

  @Test func `facets are the most frequent values of each field, from one reading`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      try await filled(store)
      let query = try LogQuery.parse("NOT level:fatal")
      let result = try await store.facets(
        query, fields: [.reserved(.function), .reserved(.level), .user("user")], top: 3, scope: .all)
      #expect(result.truncated == nil && result.scanned <= 400)
      #expect(
        result.facets[0].values.map(\.text) == ["order", "pay"] && result.facets[0].values.map(\.count) == [300, 100])
      #expect(result.facets[1].values.map(\.count) == [320, 40] && result.facets[1].absent == 40)
      #expect(result.facets[2].values.map(\.text) == ["u0", "u2", "u4"] && result.facets[2].others == 4)
      #expect(result.facets[2].values.map(\.count) == [29, 29, 29] && result.facets[2].absent == 200)
      let narrow = try await store.facets(query, fields: [.reserved(.level)], top: 3, scope: LogScope(namespaces: []))
      #expect(narrow.facets[0].values.isEmpty)
      await store.close()
    }
  }

  @Test func `a plan says what is looked at`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      try await filled(store)
      func steps(_ text: String) throws -> String {
        store.explain(try LogQuery.parse(text), scope: .all).steps.joined(separator: "\n")
      }
      let wide = try steps("level:error function:pay | stats count() by level per 1m")
      #expect(
        wide.contains("levels: error") && wide.contains("function: pay") && wide.contains("1 blocks are answered"))
      #expect(try steps("user:nobody").contains("0 records in 0 blocks"))
      #expect(try steps("msg:/card (declined|expired) \\d/ | sort by (a desc) | limit 5").contains("needs 'card '"))
      #expect(try steps("time:>=2027-01-01").contains("0 of 1 blocks by time"))
      await store.close()
    }
  }
}
