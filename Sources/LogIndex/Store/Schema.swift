internal import Foundation
internal import GRDB

/// The tables of the database and how a connection is set up.
enum Schema {
  /// The version of the tables, kept in `user_version`.
  static let version = 1

  static func configuration() -> Configuration {
    var configuration = Configuration()
    configuration.label = "LogIndex"
    configuration.maximumReaderCount = 4
    configuration.busyMode = .timeout(5)
    configuration.prepareDatabase { db in
      // Only a new file takes this: retention gives pages back piece by piece.
      if !db.configuration.readonly { try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL") }
      try db.execute(sql: "PRAGMA temp_store = MEMORY")
    }
    return configuration
  }

  /// Opens the writer's connection for durable commits and makes the tables of a new file.
  static func prepare(_ db: Database, _ options: LogIndexOptions) throws {
    // The pool sets NORMAL, which may lose acknowledged records when the power goes.
    try db.execute(sql: "PRAGMA synchronous = FULL")
    try db.execute(sql: "PRAGMA journal_size_limit = 67108864")
    try db.execute(sql: "PRAGMA wal_autocheckpoint = \(options.checkpointPages)")
    try db.inTransaction(.immediate) {
      if try version(of: db) == 0 { try create(db) }
      return .commit
    }
  }

  static func version(of db: Database) throws -> Int {
    try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
  }

  private static func create(_ db: Database) throws {
    try db.execute(
      sql: """
        CREATE TABLE record (
          id INTEGER PRIMARY KEY, time INTEGER NOT NULL, level INTEGER NOT NULL,
          namespace BLOB NOT NULL, function BLOB NOT NULL, stream BLOB NOT NULL,
          call BLOB NOT NULL, pod BLOB NOT NULL, node BLOB NOT NULL, body BLOB NOT NULL
        );
        CREATE INDEX record_time ON record (time);
        CREATE INDEX record_function ON record (function, time);
        CREATE INDEX record_pod ON record (pod, time) WHERE pod <> x'';
        CREATE INDEX record_call ON record (call, time) WHERE call <> x'';
        CREATE INDEX record_error ON record (time) WHERE level >= 5;
        CREATE TABLE worker (name TEXT PRIMARY KEY, acked INTEGER NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE figure (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO figure VALUES ('records', 0), ('recordBytes', 0), ('rejected', 0), ('skipped', 0);
        PRAGMA user_version = \(version);
        """)
  }
}

/// The running totals kept in the table `figure`, changed in the transaction that changes what they count.
struct Totals: Sendable, Equatable {
  var records: Int64 = 0
  var recordBytes: Int64 = 0
  var rejected: Int64 = 0
  var skipped: Int64 = 0

  static func += (left: inout Totals, right: Totals) {
    left.records += right.records
    left.recordBytes += right.recordBytes
    left.rejected += right.rejected
    left.skipped += right.skipped
  }

  func add(to db: Database) throws {
    let statement = try db.cachedStatement(sql: "UPDATE figure SET value = value + ? WHERE name = ?")
    for (name, change) in [
      ("records", records), ("recordBytes", recordBytes), ("rejected", rejected), ("skipped", skipped),
    ] where change != 0 {
      try statement.execute(arguments: [change, name])
    }
  }

  static func read(_ db: Database) throws -> Totals {
    var totals = Totals()
    for row in try Row.fetchAll(db, sql: "SELECT name, value FROM figure") {
      let value: Int64 = row[1]
      switch row[0] as String {
      case "records": totals.records = value
      case "recordBytes": totals.recordBytes = value
      case "rejected": totals.rejected = value
      case "skipped": totals.skipped = value
      default: break
      }
    }
    return totals
  }
}
