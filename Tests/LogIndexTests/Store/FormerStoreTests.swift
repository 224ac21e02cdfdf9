import ClusterTestSupport
import Foundation
import Synchronization
import Testing

@testable import LogIndex

@Suite struct FormerStoreTests {
  /// Makes a store of the former format with lines read from standard input.
  private func makeFormer(_ folder: URL, _ lines: [[UInt8]]) async throws {
    let script = """
      import sqlite3, sys
      db = sqlite3.connect(sys.argv[1])
      db.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, body BLOB NOT NULL)")
      db.execute("CREATE TABLE worker (name TEXT PRIMARY KEY, acked INTEGER NOT NULL, seen INTEGER NOT NULL)")
      db.execute("CREATE TABLE figure (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")
      for line in sys.stdin.buffer:
          db.execute("INSERT INTO record (time, body) VALUES (0, ?)", (line.rstrip(b"\\n"),))
      db.execute("INSERT INTO worker VALUES ('w', 500, 0)")
      db.execute("INSERT INTO figure VALUES ('rejected', 3), ('skipped', 4), ('records', 0), ('recordBytes', 0)")
      db.execute("PRAGMA user_version = 1")
      db.commit()
      """
    let path = folder.appendingPathComponent("logs.sqlite").path
    let tool = try await Command.run(
      "python3", ["-c", script, path], input: Array(lines.joined(separator: [0x0A])) + [0x0A])
    #expect(tool.isSuccess, "\(tool.output)")
  }

  private func options(_ notices: NoticeBox) -> LogIndexOptions {
    var options = LogIndexOptions()
    options.blockRows = 200
    options.notice = { notices.add($0) }
    return options
  }

  @Test(arguments: [false, true])
  func `a store of the former format is taken over once, with what it acknowledged`(_ isInterrupted: Bool) async throws
  {
    try await withTempFolder { folder in
      let lines = (0..<500).map { line("m\($0)", time: day + Int64($0)) }
      try await makeFormer(folder, lines)
      if isInterrupted {
        // An import that was begun and did not end left a block behind.
        let catalogue = try Catalogue(directory: folder)
        try catalogue.setImporting(true)
        let bytes = try blockFile([line("half")])
        let name = BlockEntry.name(firstID: 1, rows: 1)
        try StoreFile(directory: folder).write(bytes, to: name)
        try catalogue.add(
          BlockEntry(name: name, fileBytes: bytes.count, try BlockHeader(bytes[...], fileBytes: bytes.count)),
          workers: [:], totals: Totals(), nextID: 2, seconds: 0)
        catalogue.close()
      }
      let notices = NoticeBox()
      let store = try LogStore.open(directory: folder, options: options(notices))
      #expect(notices.all.count == 1 && notices.all[0].hasPrefix("500 log records"))
      #expect(try await texts(store, LogQuery()) == lines.reversed().map { String(decoding: $0, as: UTF8.self) })
      #expect(try await store.append(worker: "w", firstSequence: 400, records: [line("old")]) == 500)
      let figures = try await store.figures()
      #expect(figures.rejected == 3 && figures.skipped == 4 && figures.records == 500)
      await store.close()
      #expect(!FileManager.default.fileExists(atPath: folder.appendingPathComponent("logs.sqlite").path))
      let again = try LogStore.open(directory: folder, options: options(notices))
      #expect(notices.all.count == 1)
      #expect(try await again.figures().records == 500)
      await again.close()
    }
  }

  @Test func `a former store that is damaged is set aside and reported`() async throws {
    try await withTempFolder { folder in
      try Data("not a database at all, but a text, long enough to be looked at".utf8).write(
        to: folder.appendingPathComponent("logs.sqlite"))
      let notices = NoticeBox()
      let store = try LogStore.open(directory: folder, options: options(notices))
      #expect(notices.all.count == 1)
      #expect(try await store.append(worker: "w", firstSequence: 1, records: [line("new")]) == 1)
      #expect(try await messages(store) == ["new"])
      await store.close()
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder.path).contains {
          $0.hasPrefix("logs.sqlite.damaged-")
        })
    }
  }
}

/// Collects notices.
final class NoticeBox: Sendable {
  private let state = Mutex<[String]>([])
  var all: [String] { state.withLock { $0 } }
  func add(_ text: String) { state.withLock { $0.append(text) } }
}
