internal import Foundation
internal import GRDB

/// The list of a store's blocks, what workers were acknowledged, and the running totals; in SQLite, never a record.
///
/// All of it but the totals of what was refused can be read off the blocks again: a damaged catalogue is set aside and
/// made anew.
struct Catalogue: Sendable {
  static let name = "catalogue.sqlite"
  static let version = 2

  /// Everything that is read once, when the store opens.
  struct Contents: Sendable {
    var blocks: [BlockEntry] = []
    var workers: [String: UInt64] = [:]
    var totals = Totals()
    var nextID: Int64 = 1
    /// An import of an older store was begun and did not end.
    var isImporting = false
  }

  private let database: DatabaseQueue

  /// Opens the catalogue in a folder; throws `StoreFault` when it is damaged or not ours.
  init(directory: URL) throws {
    let path = directory.appendingPathComponent(Self.name).path
    var configuration = Configuration()
    configuration.label = "LogIndex.catalogue"
    configuration.busyMode = .timeout(5)
    configuration.prepareDatabase { db in
      try db.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY")
    }
    do {
      database = try DatabaseQueue(path: path, configuration: configuration)
      try database.write { db in
        let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        guard (0...Self.version).contains(version) else {
          throw StoreFault(why: "its version is \(version) and this program reads version \(Self.version)")
        }
        if version == 0 { try Self.create(db) }
        if version < 2 { try Self.addRollups(db) }
        let answer = try String.fetchOne(db, sql: "PRAGMA quick_check(1)") ?? ""
        guard answer == "ok" else { throw StoreFault(why: "it is damaged (\(answer))") }
      }
    } catch let error as DatabaseError where StoreFile.isDamage(error) || error.resultCode == .SQLITE_ERROR {
      throw StoreFault(why: "it is damaged (\(error.message ?? "\(error.resultCode)"))")
    }
  }

  private static func create(_ db: Database) throws {
    try db.execute(
      sql: """
        CREATE TABLE block (
          name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, rows INTEGER NOT NULL, rawBytes INTEGER NOT NULL,
          oldest INTEGER NOT NULL, newest INTEGER NOT NULL, firstID INTEGER NOT NULL, levels INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE worker (name TEXT PRIMARY KEY, acked INTEGER NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE figure (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        """)
  }

  /// What version 2 has more; blocks of before have no counts and are read.
  private static func addRollups(_ db: Database) throws {
    try db.execute(
      sql: """
        ALTER TABLE block ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
        CREATE TABLE rollup (block TEXT PRIMARY KEY, counts BLOB NOT NULL);
        PRAGMA user_version = 2;
        """)
  }

  func contents() throws -> Contents {
    do {
      return try database.read { db in
        var contents = Contents()
        for row in try Row.fetchAll(db, sql: "SELECT * FROM block ORDER BY firstID") {
          let entry = BlockEntry(
            name: row["name"], fileBytes: row["bytes"], rows: row["rows"], rawBytes: row["rawBytes"],
            oldest: row["oldest"], newest: row["newest"], firstID: row["firstID"],
            levels: UInt8(truncatingIfNeeded: row["levels"] as Int64), seen: row["seen"])
          guard entry.isSound else { throw StoreFault(why: "the entry of a block in it is damaged") }
          contents.blocks.append(entry)
        }
        for row in try Row.fetchAll(db, sql: "SELECT name, acked FROM worker") {
          guard let acked = UInt64(exactly: row[1] as Int64) else {
            throw StoreFault(why: "what a worker was acknowledged is damaged in it")
          }
          contents.workers[row[0]] = acked
        }
        for row in try Row.fetchAll(db, sql: "SELECT name, value FROM figure") {
          let value: Int64 = row[1]
          switch row[0] as String {
          case "rejected": contents.totals.rejected = value
          case "skipped": contents.totals.skipped = value
          case "nextID": contents.nextID = value
          case "importing": contents.isImporting = value != 0
          default: break
          }
        }
        guard contents.nextID >= 1, contents.nextID < .max / 2 else {
          throw StoreFault(why: "the number of the next record is damaged in it")
        }
        contents.totals.records = contents.blocks.reduce(0) { $0 + Int64($1.rows) }
        contents.totals.recordBytes = contents.blocks.reduce(0) { $0 + $1.rawBytes }
        return contents
      }
    } catch let error as DatabaseError {
      throw StoreFault(why: "it is damaged (\(error.message ?? "\(error.resultCode)"))")
    }
  }

  /// Adds a block with what was acknowledged and counted up to its end; one durable transaction.
  func add(
    _ entry: BlockEntry?, _ rollup: Rollup? = nil, workers: [String: UInt64], totals: Totals, nextID: Int64,
    seconds: Int64
  ) throws {
    try database.write { db in
      if let entry { try Self.insert(entry, rollup, db) }
      for (name, acked) in workers {
        try db.execute(
          sql: """
            INSERT INTO worker (name, acked, seen) VALUES (?, ?, ?)
            ON CONFLICT (name) DO UPDATE SET acked = max(acked, excluded.acked), seen = excluded.seen
            """, arguments: [name, Int64(acked), seconds])
      }
      for (name, value) in [("rejected", totals.rejected), ("skipped", totals.skipped), ("nextID", nextID)] {
        try Self.set(name, value, db)
      }
    }
  }

  /// Puts one block in the place of others.
  func replace(_ entries: [BlockEntry], with entry: BlockEntry, _ rollup: Rollup?) throws {
    try database.write { db in
      try Self.delete(entries, db)
      try Self.insert(entry, rollup, db)
    }
  }

  /// The counts of a block as they were encoded; nil when there are none.
  func rollup(_ name: String) throws -> [UInt8]? {
    try database.read { db in
      try Data.fetchOne(db, sql: "SELECT counts FROM rollup WHERE block = ?", arguments: [name]).map { [UInt8]($0) }
    }
  }

  /// Notes when blocks were seen whose records are of the future.
  func set(seen: Int64, of entries: [BlockEntry]) throws {
    try database.write { db in
      for entry in entries {
        try db.execute(sql: "UPDATE block SET seen = ? WHERE name = ?", arguments: [seen, entry.name])
      }
    }
  }

  func setImporting(_ isImporting: Bool) throws {
    try database.write { db in try Self.set("importing", isImporting ? 1 : 0, db) }
  }

  func remove(_ entries: [BlockEntry]) throws {
    try database.write { db in try Self.delete(entries, db) }
  }

  /// Forgets workers not heard of since a moment, and answers which.
  func forgetWorkers(seenBefore seconds: Int64) throws -> [String] {
    try database.write { db in
      let names = try String.fetchAll(db, sql: "SELECT name FROM worker WHERE seen < ?", arguments: [seconds])
      if !names.isEmpty { try db.execute(sql: "DELETE FROM worker WHERE seen < ?", arguments: [seconds]) }
      return names
    }
  }

  func close() { try? database.close() }

  private static func insert(_ entry: BlockEntry, _ rollup: Rollup?, _ db: Database) throws {
    try db.execute(
      sql: """
        INSERT OR REPLACE INTO block (name, bytes, rows, rawBytes, oldest, newest, firstID, levels, seen)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        entry.name, entry.fileBytes, entry.rows, entry.rawBytes, entry.oldest, entry.newest, entry.firstID,
        Int64(entry.levels), entry.seen,
      ])
    guard let rollup else { return }
    try db.execute(
      sql: "INSERT OR REPLACE INTO rollup (block, counts) VALUES (?, ?)",
      arguments: [entry.name, Data(rollup.encoded())])
  }

  private static func delete(_ entries: [BlockEntry], _ db: Database) throws {
    for entry in entries {
      try db.execute(sql: "DELETE FROM block WHERE name = ?", arguments: [entry.name])
      try db.execute(sql: "DELETE FROM rollup WHERE block = ?", arguments: [entry.name])
    }
  }

  private static func set(_ name: String, _ value: Int64, _ db: Database) throws {
    try db.execute(
      sql: "INSERT INTO figure VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
      arguments: [name, value])
  }
}
