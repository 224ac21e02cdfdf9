import GRDB

/// The tables of the embedded store and the marks that tell its file from others.
enum SQLiteSchema {
  /// "Apus" in the file's application id.
  static let applicationID: Int64 = 0x4170_7573
  /// Changes with every change of the tables; files of another version are refused.
  static let version: Int64 = 1
  static let pageBytes = 8_192  // a row of 1 KiB stays on its page in a table WITHOUT ROWID

  static let tables = """
    CREATE TABLE meta (
      id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, compacted INTEGER NOT NULL,
      boots INTEGER NOT NULL);
    INSERT INTO meta VALUES (1, 0, 0, 0);
    CREATE TABLE kv (
      key TEXT PRIMARY KEY, value BLOB, create_rev INTEGER NOT NULL, mod_rev INTEGER NOT NULL,
      version INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID;
    CREATE INDEX kv_lease ON kv (lease) WHERE lease IS NOT NULL;
    CREATE TABLE log (
      rev INTEGER NOT NULL, sub INTEGER NOT NULL, key TEXT NOT NULL, op INTEGER NOT NULL, prev_rev INTEGER NOT NULL,
      value BLOB, create_rev INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER,
      PRIMARY KEY (rev, sub)) WITHOUT ROWID;
    CREATE INDEX log_key ON log (key, rev);
    """

  /// The row of `meta`.
  struct Meta {
    let revision: Int64
    let compacted: Int64
    let boots: Int64

    init(_ db: Database) throws {
      let statement = try db.cachedStatement(sql: "SELECT revision, compacted, boots FROM meta WHERE id = 1")
      guard let row = try Row.fetchOne(statement) else {
        throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "the row of table meta is missing")
      }
      revision = row[0]
      compacted = row[1]
      boots = row[2]
    }
  }

  /// What one row of `log` does.
  enum Operation: Int64 {
    case put = 0
    case delete = 1
  }
}

extension StoredObject {
  /// Reads the columns key, value, create_rev, mod_rev, version, lease that begin at `column`.
  init(_ row: Row, at column: Int = 0) throws {
    self.init(
      key: row[column],
      value: try row.withUnsafeData(atIndex: column + 1) { $0.map { [UInt8]($0) } ?? [] },
      createRevision: row[column + 2], modRevision: row[column + 3], version: row[column + 4], expires: row[column + 5])
  }
}

extension StoreError {
  /// What a failure of the database means, while `doing` something.
  init(_ error: any Error, path: String, doing: String) {
    if let error = error as? StoreError {
      self = error
      return
    }
    if error is CancellationError {
      self = .cancelled
      return
    }
    guard let error = error as? DatabaseError else {
      self = .backend("\(doing) \(path): \(error)")
      return
    }
    let text = error.message ?? "\(error.resultCode)"
    switch (error.resultCode, error.extendedResultCode) {
    case (.SQLITE_FULL, _), (_, .SQLITE_IOERR_SHMSIZE): self = .full(path: path)
    case (.SQLITE_CORRUPT, _), (.SQLITE_NOTADB, _): self = .corrupt(path: path, found: text)
    case (.SQLITE_BUSY, _), (.SQLITE_LOCKED, _): self = .inUse(path: path)
    default: self = .backend("\(doing) \(path): \(text) (SQLite \(error.extendedResultCode.rawValue))")
    }
  }
}
