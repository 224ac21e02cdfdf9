import ClusterTestSupport
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
      let stats = try LogQuery.parse("| stats count(pod)")
      let result = try await store.stats(stats, scope: .all, bounds: LogQueryBounds(recordsMaximum: 300))
      #expect(result.truncated == .records)
      // All blocks end at the same time: of none is it known that nothing of its newest is missing.
      #expect(result.completeSince == day + 100 && result.rows == [LogStatRow(values: [.count(0)])])
      await store.close()
    }
  }

  /// Blocks and the memtable overlap in time, so that a bound ends somewhere in each of them.
  @Test func `a cut answer has no holes and says from when on it is complete`() async throws {
    let seed: UInt64 = 77
    var random = SeededGenerator(seed: seed)
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.blockRows = 100
      let store = try LogStore.open(directory: folder, options: options)
      var records: [(LogPosition, String)] = []
      for batch in 0..<13 {
        let lines = (0..<50).map { _ in
          line("m\(Int.random(in: 0..<3, using: &random))", time: day + Int64.random(in: 0..<600, using: &random))
        }
        for bytes in lines {
          let position = LogPosition(time: try IndexedRecord(bytes).time, id: Int64(records.count + 1))
          records.append((position, String(decoding: bytes, as: UTF8.self)))
        }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 50 + 1), records: lines)
      }
      let newestFirst = records.sorted { $0.0 > $1.0 }
      for _ in 0..<150 {
        let text = random.pick(["*", "m1", "m0 OR m2", "msg:/m[12]/"])
        let query = try LogQuery.parse(text)
        let most = Int.random(in: 1...700, using: &random)
        // All records are of the same length.
        let (bounds, reason): (LogQueryBounds, LogTruncation) = random.pick([
          (LogQueryBounds(recordsMaximum: most), .records),
          (LogQueryBounds(bytesMaximum: Int64(most * records[0].1.utf8.count)), .scan),
        ])
        let all = newestFirst.filter { query.matches(Array($0.1.utf8), scope: .all) }
        var found: [LogEntry] = []
        var cut: (LogTruncation?, Int64?) = (nil, nil)
        for try await batch in store.query(query, scope: .all, bounds: bounds) {
          found += batch.entries
          cut = (batch.truncated, batch.completeSince)
        }
        let place = "seed \(seed): \(text) with \(most) because of \(reason)"
        #expect(cut.0 == (most >= 650 ? nil : reason) && (cut.0 == nil) == (cut.1 == nil), "\(place)")
        let complete = all.filter { $0.0.time >= cut.1 ?? .min }
        #expect(found.map(\.position) == complete.map(\.0), "\(place)")
        var counted = query
        counted.stats = try LogQuery.parse("| stats count(), min(x)").stats
        let rows = try await store.stats(counted, scope: .all, bounds: bounds)
        let wanted = all.filter { $0.0.time >= rows.completeSince ?? .min }
        #expect(rows.rows.first?.values.first == .count(wanted.count), "\(place)")
        #expect(rows.truncated == (most >= 650 ? nil : reason), "\(place)")
        counted.stats = nil
        counted.order = try LogQuery.parse("| sort by msg").order
        for try await batch in store.query(counted, scope: .all, bounds: bounds) {
          let since = batch.completeSince ?? .min
          #expect(batch.entries.count == all.count { $0.0.time >= since }, "\(place)")
          #expect(batch.truncated == (most >= 650 ? nil : reason), "\(place)")
        }
      }
      await store.close()
    }
  }

  @Test func `an answer in an order of its own ends when it has the most bytes, with its beginning`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.blockRows = 100
      options.cacheBytes = 1
      let store = try LogStore.open(directory: folder, options: options)
      for batch in 0..<10 {
        // Neighbours in the order are in different blocks.
        let lines = (0..<100).map { line("m", time: day + Int64(batch), fields: "\"n\":\($0 * 10 + batch)") }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 100 + 1), records: lines)
      }
      let query = try LogQuery.parse("| sort by (n desc)")
      for (bytes, count) in [(1, 256), (256 * 300, 512), (1 << 30, 1_000)] {
        var found: [String] = []
        var reason: LogTruncation?
        for try await batch in store.query(query, scope: .all, bounds: LogQueryBounds(answerBytesMaximum: bytes)) {
          found += batch.entries.map { String(decoding: $0.bytes, as: UTF8.self) }
          reason = batch.truncated
        }
        #expect(found.count == count && reason == (count < 1_000 ? .bytes : nil), "\(bytes)")
        #expect(found.enumerated().allSatisfy { $1.contains("\"n\":\(999 - $0)}") })
      }
      await store.close()
    }
  }

  @Test func `names that look alike are two fields, in memory and in a block`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      let fields = "\"caf\u{E9}\":\"one\",\"cafe\u{301}\":\"two\""
      _ = try await store.append(worker: "w", firstSequence: 1, records: [line("m", fields: fields)])
      let queries = [
        ("caf\u{E9}", "one", 1), ("cafe\u{301}", "two", 1), ("caf\u{E9}", "two", 0), ("cafe\u{301}", "one", 0),
      ]
      for isInBlock in [false, true] {
        if isInBlock { #expect(await store.flush()) }
        for (name, value, count) in queries {
          #expect(try await messages(store, "\"\(name)\":\"\(value)\"").count == count, "\(name): \(isInBlock)")
        }
      }
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
