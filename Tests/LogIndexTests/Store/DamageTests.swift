import ClusterTestSupport
import Foundation
import Glibc
import Synchronization
import Testing

@testable import LogIndex

@Suite struct DamageTests {
  private func open(_ folder: URL, free: Int64 = 0) throws -> (LogStore, [String]) {
    let notices = Mutex<[String]>([])
    var options = LogIndexOptions()
    options.minimumFreeBytes = free
    options.notice = { text in notices.withLock { $0.append(text) } }
    let store = try LogStore.open(directory: folder, options: options)
    return (store, notices.withLock { $0 })
  }

  @Test(arguments: ["head", "middle", "garbage", "version", "foreign", "worker", "rows", "next"])
  func `a damaged catalogue is set aside, reported, and made again from the blocks`(_ kind: String) async throws {
    try await withTempFolder { folder in
      let (store, _) = try open(folder)
      _ = try await store.append(worker: "w", firstSequence: 1, records: (0..<2_000).map { line("m\($0)") })
      #expect(await store.flush())
      _ = try await store.append(worker: "w", firstSequence: 2_001, records: [line("last")])
      await store.close()
      let path = folder.appendingPathComponent("catalogue.sqlite")
      var bytes = try Data(contentsOf: path)
      switch kind {
      case "head": bytes.replaceSubrange(0..<16, with: Data(count: 16))
      case "middle":
        for place in stride(from: 4_096, to: bytes.count - 64, by: 4_096) {
          bytes.replaceSubrange(place..<(place + 64), with: Data(repeating: 0xEE, count: 64))
        }
      case "garbage": bytes = Data("not a database at all, but a text".utf8)
      case "version": bytes[63] = 99
      // What one flipped bit makes of a number, and SQLite does not see.
      case "worker": bytes = try await changed(path, "update worker set acked = -acked")
      case "rows": bytes = try await changed(path, "update block set rows = rows | (1 << 62)")
      case "next": bytes = try await changed(path, "update figure set value = value | (1 << 62) where name = 'nextID'")
      default: bytes = try await foreignDatabase(folder)
      }
      try bytes.write(to: path)
      let (again, notices) = try open(folder)
      #expect(notices.count == 1)
      #expect(try await messages(again).count == 2_001)
      #expect(try await again.append(worker: "w", firstSequence: 1, records: [line("old")]) == 2_001)
      #expect(try await again.append(worker: "w", firstSequence: 2_002, records: [line("new")]) == 2_002)
      await again.close()
      let aside = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.contains(".damaged-") }
      let kept = try #require(aside.first { !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm") })
      #expect(try Data(contentsOf: folder.appendingPathComponent(kept)).count >= bytes.count)
      let (third, quiet) = try open(folder)
      #expect(quiet == [])
      #expect(try await messages(third, "new") == ["new"])
      await third.close()
    }
  }

  @Test func `what the system cannot read now is neither damaged nor empty, and is there later`() async throws {
    try await withTempFolder { folder in
      let notices = Mutex<[String]>([])
      var options = LogIndexOptions()
      options.minimumFreeBytes = 0
      options.notice = { text in notices.withLock { $0.append(text) } }
      let store = try LogStore.open(directory: folder, options: options)
      _ = try await store.append(worker: "w", firstSequence: 1, records: (0..<100).map { line("m\($0)") })
      #expect(await store.flush())
      let name = try #require(store.view().blocks.first?.name)
      let (block, away) = (folder.appendingPathComponent(name), folder.appendingPathComponent("away"))
      // A folder is there, and cannot be read as a file.
      try FileManager.default.moveItem(at: block, to: away)
      try FileManager.default.createDirectory(at: block, withIntermediateDirectories: false)
      store.forget(name)
      #expect(try await messages(store).isEmpty)
      #expect(notices.withLock { $0 }.contains { $0.contains("cannot be read now") })
      try FileManager.default.removeItem(at: block)
      try FileManager.default.moveItem(at: away, to: block)
      #expect(try await messages(store).count == 100)
      _ = try await store.append(worker: "w", firstSequence: 101, records: [line("last")])
      await store.close()
      let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      let segment = folder.appendingPathComponent(try #require(names.first { $0.hasPrefix("wal-") }))
      try FileManager.default.moveItem(at: segment, to: away)
      try FileManager.default.createDirectory(at: segment, withIntermediateDirectories: false)
      #expect(throws: FileFault.self) { _ = try LogStore.open(directory: folder, options: options) }
      try FileManager.default.removeItem(at: segment)
      try FileManager.default.moveItem(at: away, to: segment)
      let again = try LogStore.open(directory: folder, options: options)
      #expect(try await messages(again).count == 101)
      await again.close()
    }
  }

  @Test func `an answer that lacks a block which could not be read says so`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.minimumFreeBytes = 0
      options.blockRows = 50
      let store = try LogStore.open(directory: folder, options: options)
      for batch in 0..<3 {
        let lines = (0..<50).map { line("m\(batch) n\($0)", time: day + Int64(batch * 50 + $0)) }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 50 + 1), records: lines)
      }
      #expect(await store.flush())
      let blocks = store.view().blocks.sorted { $0.firstID < $1.firstID }
      #expect(blocks.count == 3)
      let (file, away) = (folder.appendingPathComponent(blocks[1].name), folder.appendingPathComponent("away"))
      // For now only: a folder is there, and cannot be read as a file.
      try FileManager.default.moveItem(at: file, to: away)
      try FileManager.default.createDirectory(at: file, withIntermediateDirectories: false)
      store.forget(blocks[1].name)
      #expect(try await reasons(store) == Array(repeating: .unreadable, count: 4))
      try FileManager.default.removeItem(at: file)
      try FileManager.default.moveItem(at: away, to: file)
      #expect(try await reasons(store) == Array(repeating: nil, count: 4))
      // For ever: the first to meet it says so, and so does one that began before it was set aside.
      var bytes = try Data(contentsOf: file)
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: file)
      store.forget(blocks[1].name)
      #expect(try await reasons(store) == [.unreadable, nil, nil, nil])
      #expect(store.gap(without: blocks[1]).reason == .unreadable)
      // What is in another block by now is missing, what was deleted is not.
      var part = blocks[0]
      part.rows = 10
      part.name = BlockEntry.name(firstID: part.firstID, rows: part.rows)
      #expect(store.gap(without: part).reason == .unreadable)
      #expect(try await store.delete([blocks[2]]) == 50)
      #expect(store.gap(without: blocks[2]).reason == nil)
      await store.close()
    }
  }

  /// Why each kind of answer is not complete: records, records in an order, statistics, facets.
  private func reasons(_ store: LogStore) async throws -> [LogTruncation?] {
    var reasons: [LogTruncation?] = []
    for text in ["", "| sort msg"] {
      let query = try LogQuery.parse(text)
      var last: LogBatch?
      for try await batch in store.query(query, scope: .all) { last = batch }
      #expect(last?.completeSince == nil)
      reasons.append(last?.truncated)
    }
    let count = try LogQuery.parse("| stats count(msg)")
    reasons.append(try await store.stats(count, scope: .all).truncated)
    reasons.append(try await store.facets(LogQuery(), fields: [.reserved(.pod)], top: 3, scope: .all).truncated)
    return reasons
  }

  @Test func `a gap is told where the cut does not tell it`() {
    let cut = SearchCut(reason: .time, time: 10)
    #expect(SearchGap().reason == nil)
    #expect(SearchGap(cut: cut).reason == .time && SearchGap(cut: cut).completeSince == 11)
    // All of the block lies where nothing is known anyway.
    #expect(SearchGap(cut: cut, unreadable: 10).reason == .time)
    #expect(SearchGap(cut: cut, unreadable: 11).reason == .unreadable)
    #expect(SearchGap(cut: cut, unreadable: 11).completeSince == nil)
  }

  @Test func `a flipped bit anywhere in a block costs that block only, and is reported`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.blockRows = 50
      let store = try LogStore.open(directory: folder, options: options)
      for batch in 0..<3 {
        let lines = (0..<50).map { line("m\(batch) n\($0)", time: day + Int64(batch * 50 + $0)) }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 50 + 1), records: lines)
      }
      #expect(await store.flush())
      await store.close()
      let name = try #require(store.view().blocks.dropFirst().first?.name)
      let good = try Data(contentsOf: folder.appendingPathComponent(name))
      let catalogue = try Data(contentsOf: folder.appendingPathComponent("catalogue.sqlite"))
      let seed: UInt64 = 9
      var random = SeededGenerator(seed: seed)
      let places = [0, 9, 20, 100, 158] + (0..<25).map { _ in Int.random(in: 0..<good.count, using: &random) }
      for place in places {
        try? FileManager.default.removeItem(at: folder.appendingPathComponent("catalogue.sqlite-wal"))
        try catalogue.write(to: folder.appendingPathComponent("catalogue.sqlite"))
        var bytes = good
        bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        try bytes.write(to: folder.appendingPathComponent(name))
        let notices = Mutex<[String]>([])
        options.notice = { text in notices.withLock { $0.append(text) } }
        let again = try LogStore.open(directory: folder, options: options)
        #expect(try await messages(again).count == 100, "seed \(seed), byte \(place)")
        #expect(try await messages(again, "m1 OR m2").count == 50)
        #expect(notices.withLock { $0 }.count == 1, "seed \(seed), byte \(place)")
        #expect(try await again.figures().records == 100)
        await again.close()
      }
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder.path).count { $0.contains(".damaged-") }
          == places.count)
    }
  }

  /// A good SQLite file of our version number whose tables are not ours.
  private func foreignDatabase(_ folder: URL) async throws -> Data {
    let path = folder.appendingPathComponent("foreign.sqlite")
    defer { try? FileManager.default.removeItem(at: path) }
    return try await changed(path, "create table t(a); pragma user_version=1")
  }

  /// A database after some statements.
  private func changed(_ path: URL, _ statements: String) async throws -> Data {
    let code = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit(); c.close()"
    let tool = try await Command.run("python3", ["-c", code, path.path, statements])
    #expect(tool.isSuccess, "\(tool.output)")
    return try Data(contentsOf: path)
  }

  @Test(.enabled(if: geteuid() == 0, "mounting a small volume needs root"), arguments: [0, 2 << 20])
  func `a full volume refuses, keeps what it has, and recovers`(_ minimumFree: Int) async throws {
    try await withTempFolder { folder in
      let volume = folder.appendingPathComponent("volume")
      try FileManager.default.createDirectory(at: volume, withIntermediateDirectories: true)
      #expect(mount("tmpfs", volume.path, "tmpfs", 0, "size=8m") == 0)
      defer { umount2(volume.path, Int32(MNT_DETACH)) }
      let ballast = volume.appendingPathComponent("ballast")
      try Data(count: 3 << 20).write(to: ballast)
      let (store, _) = try open(volume, free: Int64(minimumFree))
      let text = String(repeating: "z", count: 2_000)
      var next: UInt64 = 1
      var refusal: LogIndexError?
      while refusal == nil, next < 10_000 {
        let lines = (0..<20).map { line("\(next + UInt64($0)) \(text)", time: day + Int64(next) + Int64($0)) }
        do throws(LogIndexError) {
          #expect(try await store.append(worker: "w", firstSequence: next, records: lines) == next + 19)
          next += 20
        } catch {
          refusal = error
        }
      }
      guard case .storageFull = refusal else {
        Issue.record("expected storageFull, got \(String(describing: refusal))")
        return
      }
      #expect(try await messages(store).count == Int(next) - 1)
      try FileManager.default.removeItem(at: ballast)
      let lines = (0..<20).map { line("\(next + UInt64($0)) \(text)", time: day + Int64(next) + Int64($0)) }
      #expect(try await store.append(worker: "w", firstSequence: next, records: lines) == next + 19)
      #expect(try await messages(store).count == Int(next) + 19)
      await store.close()
      let (again, notices) = try open(volume, free: Int64(minimumFree))
      #expect(notices == [])
      #expect(try await again.figures().records == Int64(next) + 19)
      await again.close()
    }
  }
}
