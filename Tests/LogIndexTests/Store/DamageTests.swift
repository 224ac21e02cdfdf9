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

  @Test(arguments: ["head", "middle", "garbage", "version", "foreign"])
  func `a damaged store is set aside, reported and never deleted`(_ kind: String) async throws {
    try await withTempFolder { folder in
      let (store, _) = try open(folder)
      _ = try await store.append(worker: "w", firstSequence: 1, records: (0..<2_000).map { line("m\($0)") })
      await store.close()
      let path = folder.appendingPathComponent("logs.sqlite")
      var bytes = try Data(contentsOf: path)
      switch kind {
      case "head": bytes.replaceSubrange(0..<16, with: Data(count: 16))
      case "middle":
        for place in stride(from: 4_096, to: bytes.count - 64, by: 4_096) {
          bytes.replaceSubrange(place..<(place + 64), with: Data(repeating: 0xEE, count: 64))
        }
      case "garbage": bytes = Data("not a database at all, but a text".utf8)
      case "version": bytes[63] = 99
      default: bytes = try foreignDatabase(folder)
      }
      try bytes.write(to: path)
      let (fresh, notices) = try open(folder)
      #expect(notices.count == 1)
      #expect(try await messages(fresh) == [])
      #expect(try await fresh.append(worker: "w", firstSequence: 1, records: [line("new")]) == 1)
      await fresh.close()
      let aside = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.contains(".damaged-") }
      let kept = try #require(aside.first { !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm") })
      #expect(try Data(contentsOf: folder.appendingPathComponent(kept)).count >= bytes.count)
      let (again, quiet) = try open(folder)
      #expect(quiet == [])
      #expect(try await messages(again) == ["new"])
      await again.close()
    }
  }

  /// A good SQLite file of our version number whose tables are not ours.
  private func foreignDatabase(_ folder: URL) throws -> Data {
    let path = folder.appendingPathComponent("foreign.sqlite")
    let tool = Process()
    tool.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    tool.arguments = [
      "python3", "-c",
      "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute('create table t(a)'); "
        + "c.execute('pragma user_version=1'); c.commit()",
      path.path,
    ]
    try tool.run()
    tool.waitUntilExit()
    defer { try? FileManager.default.removeItem(at: path) }
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
