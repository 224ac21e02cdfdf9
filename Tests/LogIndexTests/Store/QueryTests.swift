import Foundation
import Testing

@testable import LogIndex

@Suite struct QueryTests {
  private func filled(_ folder: URL, _ count: Int = 1_000, blockRows: Int = 65_536) async throws -> LogStore {
    var options = LogIndexOptions()
    options.blockRows = blockRows
    let store = try LogStore.open(directory: folder, options: options)
    let lines = (0..<count).map { line("m\($0)", time: day + Int64($0 % 100), level: $0 % 50 == 0 ? "error" : "info") }
    for start in stride(from: 0, to: count, by: 100) {
      _ = try await store.append(
        worker: "w", firstSequence: UInt64(start + 1), records: Array(lines[start..<min(count, start + 100)]))
    }
    return store
  }

  @Test func `answers come newest first, equal times last arrived first, cut by limit`() async throws {
    try await withTempFolder { folder in
      let store = try await filled(folder)
      #expect(try await messages(store, "| limit 3") == ["m999", "m899", "m799"])
      #expect(try await messages(store, "level:error | limit 2") == ["m950", "m850"])
      #expect(try await messages(store).count == 1_000)
      await store.close()
    }
  }

  @Test(arguments: [65_536, 100]) func `a page goes on after the last record of the page before`(
    _ blockRows: Int
  ) async throws {
    try await withTempFolder { folder in
      let store = try await filled(folder, blockRows: blockRows)
      let whole = try await texts(store, LogQuery())
      var paged: [String] = []
      var query = LogQuery(limit: 37)
      while true {
        var last: LogPosition?
        for try await batch in store.query(query, scope: .all) {
          paged += batch.entries.map { String(decoding: $0.bytes, as: UTF8.self) }
          last = batch.entries.last?.position
        }
        guard let last else { break }
        query.after = last
      }
      #expect(paged == whole)
      await store.close()
    }
  }

  @Test func `time ranges hold their beginning and not their end`() async throws {
    try await withTempFolder { folder in
      let store = try await filled(folder, 100)
      let query = LogQuery(range: TimeRange(since: day + 10, until: day + 13))
      #expect(try await texts(store, query).count == 3)
      #expect(try await texts(store, LogQuery(range: TimeRange(since: day + 13, until: day + 10))).isEmpty)
      await store.close()
    }
  }

  @Test func `bounds on records cut the answer and say so`() async throws {
    try await withTempFolder { folder in
      let store = try await filled(folder, blockRows: 100)
      let query = try LogQuery.parse("nope*")
      var batches: [LogBatch] = []
      for try await batch in store.query(query, scope: .all, bounds: LogQueryBounds(recordsMaximum: 300)) {
        batches.append(batch)
      }
      #expect(batches.last?.truncated == .records)
      #expect(batches.reduce(0) { $0 + $1.scanned } == 300)
      var ends: [LogTruncation?] = []
      for try await batch in store.query(query, scope: .all, bounds: LogQueryBounds(timeMaximum: .zero)) {
        ends.append(batch.truncated)
      }
      #expect(ends == [.time])
      let stats = try LogQuery.parse("| stats count()")
      let result = try await store.stats(stats, scope: .all, bounds: LogQueryBounds(recordsMaximum: 300))
      #expect(result.truncated == .records)
      #expect(result.rows == [LogStatRow(values: [.count(300)])])
      await store.close()
    }
  }

  @Test func `a query whose task is cancelled ends with that`() async throws {
    try await withTempFolder { folder in
      let store = try await filled(folder)
      let task = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        for try await _ in store.query(LogQuery(), scope: .all) {}
      }
      let result = await task.result
      // A stream ends, or throws, when its task is cancelled; it does not go on.
      if case .failure(let error) = result { #expect(error is CancellationError) }
      await store.close()
    }
  }
}
