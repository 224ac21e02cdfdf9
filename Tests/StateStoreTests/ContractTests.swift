import StateStore
import Testing

/// What every store promises, whatever lies under it.
@Suite struct `The contract of a store` {
  @Test(arguments: StoreKind.allCases)
  func `a put is read back with its revisions`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let start = await store.currentRevision
      #expect(try await store.get("/a") == nil)
      let first = try await store.put("/a", "one")
      let second = try await store.put("/a", "two")
      #expect(first == start + 1 && second == start + 2)
      let object = try await store.get("/a")
      #expect(
        object
          == StoredObject(key: "/a", value: bytes("two"), createRevision: first, modRevision: second, version: 2))
      #expect(await store.currentRevision == second)
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `an empty value and every byte come back as they were`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let all = (0...255).map { UInt8($0) }
      _ = try await store.commit([], [.put("/empty", value: []), .put("/all", value: all)])
      #expect(try await store.get("/empty")?.value == [])
      #expect(try await store.get("/all")?.value == all)
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `a key deleted and put again is a new object`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      try await store.put("/a", "one")
      let deleted = try await store.commit([.exists("/a")], [.delete("/a")])
      #expect(try await store.get("/a") == nil)
      let again = try await store.commit([.absent("/a")], [.put("/a", value: [1])])
      let object = try #require(try await store.get("/a"))
      #expect(again == deleted + 1)
      #expect(object.createRevision == again && object.version == 1)
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `one compare that fails leaves everything as it was and says which`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let revision = try await store.put("/a", "one")
      let stale = await storeError {
        _ = try await store.commit(
          [.exists("/a"), .modRevision("/a", equals: revision - 1)], [.put("/b", value: []), .delete("/a")])
      }
      #expect(stale == .conflict(key: "/a", current: revision))
      let missing = await storeError { _ = try await store.commit([.exists("/b")], [.delete("/a")]) }
      #expect(missing == .conflict(key: "/b", current: nil))
      let there = await storeError { _ = try await store.commit([.absent("/a")], [.put("/a", value: [])]) }
      #expect(there == .conflict(key: "/a", current: revision))
      #expect(await store.currentRevision == revision)
      #expect(try await store.listAll(prefix: "").items.map(\.key) == ["/a"])
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `a commit is one revision for all its operations`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let before = try await store.put("/b", "old")
      let revision = try await store.commit(
        [.modRevision("/b", equals: before), .absent("/a")],
        [.put("/a", value: [1]), .delete("/b"), .put("/c", value: [])])
      #expect(revision == before + 1)
      let events = try await store.events(prefix: "/", after: before, until: revision)
      #expect(events.map(\.key) == ["/a", "/b", "/c"])
      #expect(events.allSatisfy { $0.revision == revision })
      #expect(events[1].object == nil && events[1].previous?.value == bytes("old"))
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `a commit that changes nothing makes no revision`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let revision = try await store.put("/a", "one")
      #expect(try await store.commit([.exists("/a")], []) == revision)
      #expect(try await store.commit([], [.delete("/nobody")]) == revision)
      #expect(try await store.put("/a", "two") == revision + 1)
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `a commit beyond the limits is refused by name`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let full = (0..<128).map { StoreOperation.put("/k\($0)", value: []) }
      _ = try await store.commit([], full)
      let many = await storeError { _ = try await store.commit([], full + [.delete("/x")]) }
      #expect(many == .tooManyOperations(count: 129, limit: 128))
      let megabytes = [UInt8](repeating: 7, count: 3 << 19)
      let large = await storeError { _ = try await store.commit([], [.put("/a", value: megabytes)]) }
      #expect(large == .tooLarge(bytes: megabytes.count + 2, limit: 3 << 19))
      _ = try await store.commit([], [.put("/a", value: Array(megabytes.dropLast(2)))])
      let twice = await storeError { _ = try await store.commit([], [.delete("/a"), .put("/a", value: [])]) }
      #expect(twice == .duplicateKey("/a"))
      for key in ["", "a b", "é", "a\u{0}", "a\n", String(repeating: "k", count: 1_025)] {
        let putError = await storeError { _ = try await store.put(key, "") }
        #expect(putError == .invalidKey(key))
        let getError = await storeError { _ = try await store.get(key) }
        #expect(getError == .invalidKey(key))
      }
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `pages of one revision hold together while others write`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      for number in 10..<35 { try await store.put("/pods/\(number)", "v") }
      try await store.put("/podsx", "outside")
      try await store.put("/pod", "outside")
      var page = try await store.list(prefix: "/pods/", after: nil, limit: 10, at: nil)
      let pinned = page.revision
      var keys = page.items.map(\.key)
      while let next = page.next {
        _ = try await store.commit([], [.delete("/pods/34"), .put("/pods/\(keys.count)0", value: [])])
        page = try await store.list(prefix: "/pods/", after: next, limit: 10, at: pinned)
        #expect(page.revision == pinned)
        keys += page.items.map(\.key)
      }
      #expect(keys == (10..<35).map { "/pods/\($0)" })
      #expect(
        try await store.list(prefix: "/pods/", after: "/pods/33", limit: 5, at: nil).items.map(\.key).first
          != "/pods/34")
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `a page ends before it grows too large`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let megabyte = [UInt8](repeating: 1, count: 1 << 20)
      for number in 0..<10 { _ = try await store.commit([], [.put("/big/\(number)", value: megabyte)]) }
      let page = try await store.list(prefix: "/big/", after: nil, limit: 100, at: nil)
      #expect(page.items.count == 7)
      #expect(page.next == "/big/6")
      #expect(try await store.listAll(prefix: "/big/").items.count == 10)
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `compaction forgets what came before and nothing else`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let first = try await store.put("/a", "1")
      try await store.put("/gone", "x")
      let second = try await store.commit([], [.delete("/gone"), .put("/a", value: bytes("2"))])
      let third = try await store.put("/a", "3")
      try await store.compact(before: second)
      #expect(await store.oldestRevision == second)
      let old = await storeError { _ = try await store.list(prefix: "/", after: nil, limit: 9, at: first) }
      #expect(old == .compacted(oldest: second))
      let watch = await storeError { _ = try await store.events(prefix: "/", after: second - 1, until: third) }
      #expect(watch == .compacted(oldest: second))
      let atSecond = try await store.list(prefix: "/", after: nil, limit: 9, at: second)
      #expect(atSecond.items.map(\.value) == [bytes("2")])
      let events = try await store.events(prefix: "/", after: second, until: third)
      #expect(events.map(\.object?.value) == [bytes("3")])
      #expect(events.first?.previous?.value == bytes("2"))
      try await store.compact(before: first)  // going back changes nothing
      #expect(await store.oldestRevision == second)
      let ahead = await storeError { try await store.compact(before: third + 1) }
      #expect(ahead == .futureRevision(asked: third + 1, current: third))
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `a revision that does not exist yet is refused`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let head = try await store.put("/a", "1")
      let list = await storeError { _ = try await store.list(prefix: "", after: nil, limit: 1, at: head + 1) }
      #expect(list == .futureRevision(asked: head + 1, current: head))
      let watch = await storeError { _ = try await store.events(prefix: "", after: head + 1, until: head + 2) }
      #expect(watch == .futureRevision(asked: head + 1, current: head))
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `what expired is deleted when the clock of the caller says so`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      _ = try await store.commit([], [.put("/a", value: [], expires: 1_000), .put("/b", value: [], expires: 2_000)])
      try await store.put("/c", "stays")
      #expect(try await store.expire(at: 999) == 0)
      #expect(try await store.expire(at: 1_000) == 1)
      #expect(try await store.listAll(prefix: "").items.map(\.key) == ["/b", "/c"])
      #expect(try await store.get("/b")?.expires == 2_000)
      try await store.put("/b", "renewed without an end")
      #expect(try await store.expire(at: 9_999) == 0)
    }
  }
}
