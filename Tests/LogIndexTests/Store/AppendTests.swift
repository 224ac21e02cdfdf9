import Foundation
import Testing

@testable import LogIndex

@Suite struct AppendTests {
  @Test func `what is acknowledged is found, byte for byte, after reopening`() async throws {
    try await withTempFolder { folder in
      let odd = Array(#"{ "msg":"b",  "time":"2026-11-20T00:00:01Z","n":1.0e+2,"fields":{"z":1,"a":2} }"#.utf8)
      let store = try LogStore.open(directory: folder)
      #expect(try await store.append(worker: "w", firstSequence: 1, records: [line("a"), odd]) == 2)
      await store.close()
      let again = try LogStore.open(directory: folder)
      #expect(
        try await texts(again, LogQuery()) == [
          String(decoding: odd, as: UTF8.self), String(decoding: line("a"), as: UTF8.self),
        ])
      await again.close()
    }
  }

  @Test func `a sequence is taken once, whatever is sent again`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      let lines = (1...5).map { line("m\($0)", time: day + Int64($0)) }
      #expect(try await store.append(worker: "w", firstSequence: 1, records: Array(lines[0..<3])) == 3)
      #expect(try await store.append(worker: "w", firstSequence: 1, records: Array(lines[0..<3])) == 3)
      #expect(try await store.append(worker: "w", firstSequence: 2, records: Array(lines[1..<5])) == 5)
      #expect(try await store.append(worker: "w", firstSequence: 1, records: []) == 5)
      #expect(try await store.append(worker: "other", firstSequence: 0, records: [line("m6", time: day + 6)]) == 0)
      #expect(try await store.append(worker: "other", firstSequence: 0, records: [line("m7", time: day + 7)]) == 0)
      #expect(try await messages(store) == ["m6", "m5", "m4", "m3", "m2", "m1"])
      await store.close()
      let again = try LogStore.open(directory: folder)
      #expect(try await again.append(worker: "w", firstSequence: 4, records: Array(lines[3..<5])) == 5)
      #expect(try await again.figures().records == 6)
      await again.close()
    }
  }

  @Test func `a gap is taken as given up and counted`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      _ = try await store.append(worker: "w", firstSequence: 100, records: [line("a")])
      #expect(try await store.append(worker: "w", firstSequence: 111, records: [line("b")]) == 111)
      #expect(try await store.figures().skipped == 10)
      await store.close()
    }
  }

  @Test func `appends that overtook each other are written in the order of their sequences`() {
    let appends = [7, 1, 4, 1].map { first in
      PendingAppend(worker: "w", firstSequence: first, lines: RecordLines([[], [], []]), bytes: 0) { _ in }
    }
    #expect(AppendRound.order(appends) == [1, 3, 2, 0])
    #expect(appends[0].lastSequence == 9)
  }

  @Test func `lines that are no records are counted and cost no others`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      let lines = [line("a"), Array("no".utf8), line(String(repeating: "x", count: 300_000)), line("b", time: day + 1)]
      #expect(try await store.append(worker: "w", firstSequence: 1, records: lines) == 4)
      #expect(try await store.append(worker: "w", firstSequence: 1, records: lines) == 4)
      #expect(try await messages(store) == ["b", "a"])
      let figures = try await store.figures()
      #expect(figures.rejected == 2)
      #expect(figures.records == 2)
      #expect(figures.recordBytes == Int64(line("a").count + line("b").count))
      #expect(figures.oldest == day && figures.newest == day + 1)
      await store.close()
    }
  }

  @Test func `concurrent workers each get all their lines in`() async throws {
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in 0..<16 {
          group.addTask {
            for batch in 0..<20 {
              let lines = (0..<5).map { line("w\(worker)-\(batch * 5 + $0)", node: "n\(worker)") }
              let last = try await store.append(
                worker: "w\(worker)", firstSequence: UInt64(batch * 5 + 1), records: lines)
              #expect(last == UInt64(batch * 5 + 5))
            }
          }
        }
        try await group.waitForAll()
      }
      #expect(Set(try await messages(store)).count == 1_600)
      #expect(try await store.figures().records == 1_600)
      #expect(try await messages(store, "node:n3").count == 100)
      await store.close()
    }
  }

  @Test func `a queue that is full says busy and one that is closed says closed`() async throws {
    var queue = AppendQueue(bytesMaximum: 100, appendsMaximum: 3)
    func append(_ bytes: Int) -> PendingAppend {
      PendingAppend(worker: "w", firstSequence: 1, lines: RecordLines([[]]), bytes: bytes) { _ in }
    }
    #expect(queue.admit(append(500)) == .wake)
    #expect(queue.admit(append(1)) == .busy)
    #expect(queue.next(recordsMaximum: 10).count == 1)
    #expect(queue.admit(append(50)) == .queued)
    #expect(queue.admit(append(50)) == .queued)
    #expect(queue.admit(append(1)) == .busy)
    #expect(queue.next(recordsMaximum: 1).count == 1)
    #expect(queue.next(recordsMaximum: 10).count == 1)
    #expect(queue.next(recordsMaximum: 10).isEmpty)
    #expect(queue.admit(append(1)) == .wake)
    queue.close()
    #expect(queue.admit(append(1)) == .closed)
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      await store.close()
      await #expect(throws: LogIndexError.closed) { try await store.append(worker: "w", firstSequence: 1, records: []) }
    }
  }
}
