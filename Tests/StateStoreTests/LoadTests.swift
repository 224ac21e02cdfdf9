import StateStore
import Testing

@Suite struct `Under load` {
  @Test func `64 committers share transactions, and a watcher hears of each commit in order`() async throws {
    try await withStore(.sqlite) { store in
      let start = await store.currentRevision
      let rounds = 20
      let total = Int64(64 * rounds)
      let committed = Collected<(Int64, ContinuousClock.Instant)>()
      let watching = Task {
        var heard: [(Int64, ContinuousClock.Instant)] = []
        for try await batch in store.watch(prefix: "/", after: start) where !batch.isProgress {
          heard.append((batch.revision, .now))
          if batch.revision == start + total { break }
        }
        return heard
      }
      let began = ContinuousClock.now
      try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in 0..<64 {
          group.addTask {
            let value = [UInt8](repeating: UInt8(worker), count: 1_024)
            var previous: Int64?
            for _ in 0..<rounds {
              let key = "/w\(worker)"
              let compare: StoreCompare = previous.map { .modRevision(key, equals: $0) } ?? .absent(key)
              let revision = try await store.commit([compare], [.put(key, value: value)])
              committed.append((revision, .now))
              previous = revision
            }
          }
        }
        try await group.waitForAll()
      }
      let seconds = (ContinuousClock.now - began) / .seconds(1)
      let heard = try await watching.value
      #expect(heard.map(\.0) == Array(start + 1...start + total))
      let acknowledged = Dictionary(uniqueKeysWithValues: committed.all)
      let latencies = heard.compactMap { revision, at in acknowledged[revision].map { (at - $0) / .milliseconds(1) } }
        .sorted()
      print(
        "store: \(Int(Double(total) / seconds)) compare-and-set/s at 64 clients, watch behind the answer by p50 "
          + "\(latencies[latencies.count / 2]) ms, p99 \(latencies[latencies.count * 99 / 100]) ms")
    }
  }

  @Test func `a watcher that does not read holds up nobody and is told when it is too late`() async throws {
    try await withStore(.sqliteWithTinyRing) { store in
      let start = await store.currentRevision
      var slow = store.watch(prefix: "/", after: start).makeAsyncIterator()
      try await store.put("/a", "first")
      #expect(try await slow.next()?.revision == start + 1)
      for number in 0..<700 {  // more than one page of the log
        try await store.put("/a", "\(number)")
      }
      #expect(try await slow.next()?.revision == start + 2)
      let head = await store.currentRevision
      try await store.compact(before: head)
      var error: StoreError?
      var seen = start + 2
      do {
        while let batch = try await slow.next() { seen = batch.revision }
      } catch let failure as StoreError {
        error = failure
      }
      // What it had pulled already is delivered, then it has to list again.
      #expect(seen < head)
      #expect(error == .compacted(oldest: head))
    }
  }
}
