import StateStore
import Testing

@Suite struct `A watch` {
  @Test(arguments: StoreKind.allCases)
  func `is ordered, unique, atomic and resumable from every batch`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let start = await store.currentRevision
      for number in 0..<40 {
        let operations = (0...(number % 4)).map { StoreOperation.put("/k\($0)", value: [UInt8(number)]) }
        _ = try await store.commit([], operations)
      }
      let head = await store.currentRevision
      var batches: [StoreWatchBatch] = []
      for try await batch in store.watch(prefix: "/", after: start) {
        batches.append(batch)
        if batch.revision == head { break }
      }
      #expect(batches.map(\.revision) == Array(start + 1...head))
      #expect(batches.map(\.events.count) == (0..<40).map { $0 % 4 + 1 })
      let all = batches.flatMap(\.events)
      for (index, batch) in batches.enumerated() {
        let rest = try await store.events(prefix: "/", after: batch.revision, until: head)
        #expect(rest == batches[(index + 1)...].flatMap(\.events))
      }
      #expect(Set(all.map { "\($0.revision) \($0.key)" }).count == all.count)
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `sees its prefix only, with what was before`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let start = await store.currentRevision
      try await store.put("/pods/a", "1")
      try await store.put("/nodes/a", "1")
      try await store.put("/pods/a", "2")
      let end = try await store.commit([], [.delete("/pods/a"), .delete("/nodes/a")])
      let events = try await store.events(prefix: "/pods/", after: start, until: end)
      #expect(events.map(\.object?.value) == [bytes("1"), bytes("2"), nil])
      #expect(events.map(\.previous?.value) == [nil, bytes("1"), bytes("2")])
      #expect(events.map(\.revision) == [start + 1, start + 3, start + 4])
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `that waits is woken by a commit that concerns it`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let start = await store.currentRevision
      async let event = store.events(prefix: "/pods/", after: start, until: start + 51).first
      for number in 0..<50 { try await store.put("/nodes/\(number)", "") }
      try await store.put("/pods/a", "here")
      #expect(try await event?.object?.value == bytes("here"))
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `hears of progress when the past held nothing for it and as others go on`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let start = await store.currentRevision
      try await store.put("/nodes/a", "")
      var batches = store.watch(prefix: "/pods/", after: start).makeAsyncIterator()
      let caughtUp = try #require(try await batches.next())
      #expect(caughtUp.isProgress && caughtUp.revision == start + 1)
      async let writing: Void = {
        for _ in 0..<StoreLimits.progressRevisions { try await store.put("/nodes/a", "") }
      }()
      let progress = try #require(try await batches.next())
      #expect(progress.isProgress && progress.revision == start + 1 + StoreLimits.progressRevisions)
      try await writing
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `ends when its task is cancelled, waiting or not`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let start = await store.currentRevision
      for _ in 0..<20 {
        let task = Task { () async throws -> Int in
          var count = 0
          for try await batch in store.watch(prefix: "/", after: start) { count += batch.events.count }
          return count
        }
        await Task.yield()
        task.cancel()
        let seen = try await task.value
        #expect(seen == 0)
      }
    }
  }

  @Test(arguments: StoreKind.durable)
  func `ends with an error when the store is closed`(kind: StoreKind) async throws {
    try await withFolder { folder in
      let store = try SQLiteStore.open(path: folder + "/store.db")
      let start = try await store.put("/a", "")
      async let error = storeError { _ = try await store.events(prefix: "/", after: start, until: start + 1) }
      await store.close()
      #expect(await error == .closed)
      let getError = await storeError { _ = try await store.get("/a") }
      #expect(getError == .closed)
      let putError = await storeError { try await store.put("/a", "") }
      #expect(putError == .closed)
    }
  }

  @Test func `of a soft store that fell behind the ring is told to list again`() async throws {
    let store = MemoryStore(boot: 1, ringEvents: 4)
    let start = await store.currentRevision
    #expect(start == MemoryStore.revisionsPerBoot)
    for number in 0..<10 { try await store.put("/k\(number)", "") }
    #expect(await store.oldestRevision == start + 6)
    let behind = await storeError { _ = try await store.events(prefix: "/", after: start, until: start + 10) }
    #expect(behind == .compacted(oldest: start + 6))
    #expect(try await store.events(prefix: "/", after: start + 6, until: start + 10).count == 4)
    let earlierBoot = await storeError { _ = try await store.events(prefix: "/", after: 5, until: 6) }
    #expect(earlierBoot == .compacted(oldest: start + 6))
  }

  @Test(arguments: StoreKind.durable)
  func `far behind reads thousands of revisions from the log without splitting one`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let start = await store.currentRevision
      for number in 0..<60 {
        _ = try await store.commit(
          [], (0..<(number % 2 == 0 ? 100 : 1)).map { .put("/k\($0)", value: [UInt8(number)]) })
      }
      var last = start
      for try await batch in store.watch(prefix: "/", after: start) where !batch.isProgress {
        #expect(batch.revision == last + 1)
        #expect(batch.events.count == ((batch.revision - start - 1) % 2 == 0 ? 100 : 1))
        last = batch.revision
        if last == start + 60 { break }
      }
    }
  }
}
