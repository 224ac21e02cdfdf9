import Foundation
import GRDB
import Glibc
import StateStore
import Testing

@Suite struct `The file of a store` {
  @Test func `keeps everything over a reopening and counts its boots`() async throws {
    try await withFolder { folder in
      let path = folder + "/store.db"
      var store = try SQLiteStore.open(path: path)
      #expect(store.bootCount == 1)
      try await store.put("/a", "one")
      let last = try await store.commit([], [.put("/b", value: bytes("two"), expires: 5), .delete("/a")])
      await store.close()
      store = try SQLiteStore.open(path: path)
      #expect(store.bootCount == 2)
      #expect(await store.currentRevision == last)
      #expect(try await store.get("/b")?.expires == 5)
      #expect(try await store.events(prefix: "/", after: 0, until: last).count == 3)
      #expect(try await store.put("/c", "") == last + 1)
      await store.close()
    }
  }

  @Test func `is for one process at a time`() async throws {
    try await withFolder { folder in
      let path = folder + "/store.db"
      let store = try SQLiteStore.open(path: path)
      let reopened = await storeError { _ = try SQLiteStore.open(path: path) }
      #expect(reopened == .inUse(path: path))
      await store.close()
    }
  }

  @Test func `that is damaged is refused by name and left as it is`() async throws {
    try await withFolder { folder in
      let path = folder + "/store.db"
      let store = try SQLiteStore.open(path: path)
      for number in 0..<200 {
        _ = try await store.commit([], [.put("/k\(number)", value: Array(repeating: 1, count: 500))])
      }
      await store.close()
      let good = try Data(contentsOf: URL(fileURLWithPath: path))
      let damages: [(String, (inout Data) -> Void)] = [
        ("other text", { $0 = Data("this is not a database at all".utf8) }),
        ("a header overwritten", { $0.replaceSubrange(0..<16, with: Data(repeating: 0x58, count: 16)) }),
        ("a page overwritten", { $0.replaceSubrange(16_384..<20_480, with: Data(repeating: 0xa5, count: 4_096)) }),
        ("cut in the middle", { $0 = $0.prefix($0.count / 2) }),
      ]
      for (name, damage) in damages {
        var bad = good
        damage(&bad)
        try bad.write(to: URL(fileURLWithPath: path))
        let error = await storeError { _ = try SQLiteStore.open(path: path) }
        guard case .corrupt(let place, let found) = error else {
          Issue.record("\(name): \(String(describing: error))")
          continue
        }
        #expect(place == path && !found.isEmpty)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == bad, "\(name): the file was changed")
      }
    }
  }

  @Test func `that lost its database but not its log is not taken for a new one`() async throws {
    try await withFolder { folder in
      let path = folder + "/store.db"
      try Data(repeating: 1, count: 5_000).write(to: URL(fileURLWithPath: path + "-wal"))
      let error = await storeError { _ = try SQLiteStore.open(path: path) }
      guard case .corrupt = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(FileManager.default.fileExists(atPath: path + "-wal"))
    }
  }

  @Test func `of another program or another version is refused`() async throws {
    try await withFolder { folder in
      let foreign = folder + "/foreign.db"
      try await DatabaseQueue(path: foreign).write { try $0.execute(sql: "CREATE TABLE users (id)") }
      let newer = folder + "/newer.db"
      await (try SQLiteStore.open(path: newer)).close()
      try await DatabaseQueue(path: newer).writeWithoutTransaction { try $0.execute(sql: "PRAGMA user_version = 2") }
      for (path, found) in [(foreign, "the tables of another program"), (newer, "schema 2")] {
        let error = await storeError { _ = try SQLiteStore.open(path: path) }
        #expect(error == .wrongSchema(path: path, found: found, wanted: "schema 1 of an apus store"))
      }
    }
  }

  @Test func `shrinks its log and its write-ahead log by compaction while others commit`() async throws {
    try await withFolder { folder in
      let path = folder + "/store.db"
      let store = try SQLiteStore.open(path: path)
      for number in 0..<3_000 { _ = try await store.commit([], [.put("/k\(number % 10)", value: bytes("\(number)"))]) }
      let head = await store.currentRevision
      async let writing: Void = {
        for number in 0..<200 { try await store.put("/later", "\(number)") }
      }()
      try await store.compact(before: head)
      try await writing
      let end = await store.currentRevision
      #expect(end == head + 200)
      #expect(try await store.list(prefix: "/k", after: nil, limit: 20, at: head).items.count == 10)
      #expect(try await store.events(prefix: "/later", after: head, until: end).count == 200)
      try await store.compact(before: end)
      await store.close()
      let rows = try await DatabaseQueue(path: path).read { try Int.fetchOne($0, sql: "SELECT COUNT(*) FROM log") }
      #expect(rows == 11)
      let wal = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
      #expect(try #require(wal) < 4 << 20)
    }
  }

  @Test func `on a full disk goes on reading, and writes again when there is space`() async throws {
    try await withFolder { folder in
      let disk = folder + "/disk"
      try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
      try #require(mount("tmpfs", disk, "tmpfs", 0, "size=4m") == 0, "this test mounts a tmpfs and needs root")
      defer { umount2(disk, Int32(MNT_DETACH)) }
      let store = try SQLiteStore.open(path: disk + "/store.db")
      try await store.put("/kept", "before")
      let ballast = disk + "/ballast"
      try Data(repeating: 7, count: 2 << 20).write(to: URL(fileURLWithPath: ballast))
      var error: StoreError?
      var written = 0
      while error == nil, written < 100 {
        error = await storeError {
          _ = try await store.commit([], [.put("/big/\(written)", value: Array(repeating: 1, count: 100_000))])
        }
        if error == nil { written += 1 }
      }
      #expect(error == .full(path: disk + "/store.db"))
      #expect(try await store.get("/kept")?.value == bytes("before"))
      #expect(try await store.listAll(prefix: "/big/").items.count == written)
      let head = await store.currentRevision
      try FileManager.default.removeItem(atPath: ballast)
      #expect(try await store.put("/after", "space is back") == head + 1)
      #expect(try await store.events(prefix: "/", after: head, until: head + 1).map(\.key) == ["/after"])
      await store.close()
      let again = try SQLiteStore.open(path: disk + "/store.db")
      #expect(await again.currentRevision == head + 1)
      await again.close()
    }
  }
}
