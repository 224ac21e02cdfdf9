import Foundation
import Testing

@testable import LogIndex

@Suite struct TailTests {
  @Test func `a tail gets what matches, in the order of arrival, from its beginning on`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      _ = try await store.append(worker: "w", firstSequence: 1, records: [line("error before")])
      let tail = try #require(store.tail(try LogQuery.parse("error"), scope: LogScope(namespaces: ["default"])))
      _ = try await store.append(
        worker: "w", firstSequence: 2,
        records: [line("error 1", time: day + 9), line("fine"), line("error 2"), line("error x", namespace: "other")])
      var iterator = tail.makeAsyncIterator()
      var found: [String] = []
      for _ in 0..<2 {
        guard case .record(let entry) = await iterator.next() else { break }
        found.append(try IndexedRecord(entry.bytes).text(.msg))
      }
      #expect(found == ["error 1", "error 2"])
      #expect(try await store.figures().tails == 1)
      await store.close()
      #expect(await iterator.next() == nil)
    }
  }

  @Test func `a slow reader loses counted records and holds up nothing`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.tailRecordsMaximum = 10
      let store = try LogStore.open(directory: folder, options: options)
      let tail = try #require(store.tail(LogQuery(), scope: .all))
      for batch in 0..<20 {
        let lines = (0..<10).map { line("m\(batch * 10 + $0)") }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 10 + 1), records: lines)
      }
      var seen = 0
      var dropped = 0
      for await event in tail {
        switch event {
        case .record: seen += 1
        case .dropped(let count): dropped += count
        }
        if seen + dropped == 200 { break }
      }
      #expect(seen >= 10)
      #expect(dropped > 0)
      #expect(try await store.figures().tailDropped == Int64(dropped))
      await store.close()
    }
  }

  @Test func `dropping is told once, after what was kept before it`() async throws {
    let buffer = TailBuffer(id: 1, query: LogQuery(), scope: .all, recordsMaximum: 2, bytesMaximum: 1 << 20)
    let records = try (0..<5).map { TailRecord(id: Int64($0), record: try IndexedRecord(line("m\($0)"))) }
    #expect(buffer.offer(records) == 3)
    buffer.missed(4)
    var events: [LogTailEvent?] = []
    for _ in 0..<3 { events.append(await buffer.next()) }
    guard case .record(let first) = events[0], case .record(let second) = events[1] else {
      Issue.record("expected two records, got \(events)")
      return
    }
    #expect(first.position.id == 0 && second.position.id == 1)
    #expect(events[2] == .dropped(7))
    #expect(buffer.offer([records[4]]) == 0)
    guard case .record(let last) = await buffer.next() else { return }
    #expect(last.position.id == 4)
  }

  @Test func `a cancelled reader and a released tail end cleanly`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      var tail = store.tail(LogQuery(), scope: .all)
      let reader = Task { [tail] in
        guard let tail else { return 0 }
        var count = 0
        for await _ in tail { count += 1 }
        return count
      }
      reader.cancel()
      #expect(await reader.value == 0)
      tail = nil
      #expect(try await store.figures().tails == 0)
      await store.close()
      #expect(store.tail(LogQuery(), scope: .all) == nil)
    }
  }
}
