import Foundation
import GRDB
import Glibc

extension SQLiteStore {
  /// Opens the store at `path`, creating it if there is none; blocks for the time of a few fsyncs.
  ///
  /// A damaged file, one of another program or of another version is refused and left as it is; a file another
  /// process has open gives `.inUse`.
  package static func open(path: String, options: SQLiteOptions = SQLiteOptions()) throws(StoreError) -> SQLiteStore {
    let lock = try StoreLock(path: path)
    let isThere = try checkHeader(path: path)
    do {
      if isThere { try checkContents(path: path, options: options) }
      let pool = try DatabasePool(path: path, configuration: configuration(options))
      let meta = try pool.writeWithoutTransaction { db in
        try prepare(db, path: path, options: options)
        return try SQLiteSchema.Meta(db)
      }
      try syncFolder(of: path)
      return SQLiteStore(path: path, options: options, pool: pool, lock: lock, meta: meta)
    } catch {
      throw StoreError(error, path: path, doing: "opening")
    }
  }

  private static func configuration(_ options: SQLiteOptions) -> Configuration {
    var configuration = Configuration()
    configuration.label = "apus.store"
    configuration.maximumReaderCount = options.readersMax
    configuration.busyMode = .timeout(5)
    configuration.foreignKeysEnabled = false
    configuration.prepareDatabase { db in
      try db.execute(
        sql: "PRAGMA page_size = \(SQLiteSchema.pageBytes); PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY")
    }
    return configuration
  }

  /// Looks at the file itself first, so that a foreign or broken one is not touched by opening it; false when there is
  /// none yet.
  private static func checkHeader(path: String) throws(StoreError) -> Bool {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      guard errno == ENOENT else { throw .backend("opening \(path): \(String(cString: strerror(errno)))") }
      try checkNoOrphan(path: path)
      return false
    }
    defer { Glibc.close(descriptor) }
    var header = [UInt8](repeating: 0, count: 100)
    let count = Glibc.read(descriptor, &header, header.count)
    if count == 0 {
      try checkNoOrphan(path: path)
      return false
    }
    guard count == header.count, header.starts(with: Array("SQLite format 3\0".utf8)) else {
      throw .corrupt(path: path, found: "it does not begin like an SQLite database")
    }
    func number(at offset: Int) -> Int64 { header[offset..<offset + 4].reduce(0) { $0 << 8 | Int64($1) } }
    try check(applicationID: number(at: 68), version: number(at: 60), path: path)
    return true
  }

  /// Reads the tables through a connection that cannot write: a damaged file is refused before anything changes it.
  private static func checkContents(path: String, options: SQLiteOptions) throws {
    var configuration = configuration(options)
    configuration.readonly = true
    let reader = try DatabaseQueue(path: path, configuration: configuration)
    try reader.read { db in
      guard try Int64.fetchOne(db, sql: "PRAGMA application_id") == SQLiteSchema.applicationID else { return }
      try checkPages(db, path: path, bytesMax: options.checkedBytesMax)
    }
    try reader.close()
  }

  /// SQLite deletes a write-ahead log without its database; what is in it may be all there is.
  private static func checkNoOrphan(path: String) throws(StoreError) {
    var status = stat()
    if stat(path + "-wal", &status) == 0, status.st_size > 0 {
      throw .corrupt(path: path, found: "the file is empty or missing, yet \(path)-wal holds \(status.st_size) bytes")
    }
  }

  private static func check(applicationID: Int64, version: Int64, path: String) throws(StoreError) {
    let wanted = "schema \(SQLiteSchema.version) of an apus store"
    if applicationID == 0, version == 0 { return }  // new, or its marks are still in the write-ahead log
    guard applicationID == SQLiteSchema.applicationID else {
      throw .wrongSchema(path: path, found: "the tables of another program", wanted: wanted)
    }
    guard version == SQLiteSchema.version else {
      throw .wrongSchema(path: path, found: "schema \(version)", wanted: wanted)
    }
  }

  private static func prepare(_ db: Database, path: String, options: SQLiteOptions) throws {
    try db.execute(
      sql: """
        PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = \(options.checkpointPages);
        PRAGMA journal_size_limit = 67108864
        """)
    let applicationID = try Int64.fetchOne(db, sql: "PRAGMA application_id") ?? 0
    let version = try Int64.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    try check(applicationID: applicationID, version: version, path: path)
    if applicationID == 0 {
      guard try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM sqlite_master") == 0 else {
        throw StoreError.wrongSchema(
          path: path, found: "the tables of another program", wanted: "schema \(SQLiteSchema.version) of an apus store")
      }
      try db.inTransaction(.immediate) {
        try db.execute(sql: SQLiteSchema.tables)
        try db.execute(
          sql: "PRAGMA application_id = \(SQLiteSchema.applicationID); PRAGMA user_version = \(SQLiteSchema.version)")
        return .commit
      }
      _ = try db.checkpoint(.truncate)  // the marks stand in the file from here on
    }
    try db.execute(sql: "UPDATE meta SET boots = boots + 1 WHERE id = 1")
  }

  private static func checkPages(_ db: Database, path: String, bytesMax: Int) throws {
    let pages = try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
    if pages * SQLiteSchema.pageBytes <= bytesMax {
      let found = try String.fetchAll(db, sql: "PRAGMA quick_check(3)")
      guard found == ["ok"] else { throw StoreError.corrupt(path: path, found: found.joined(separator: "; ")) }
    }
    let meta = try SQLiteSchema.Meta(db)
    let logged = try Int64.fetchOne(db, sql: "SELECT MAX(rev) FROM log") ?? 0
    guard logged <= meta.revision, meta.compacted <= meta.revision else {
      throw StoreError.corrupt(
        path: path, found: "revision \(meta.revision) is noted, but \(max(logged, meta.compacted)) was written")
    }
  }

  private static func syncFolder(of path: String) throws {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw StoreError.backend("opening \(folder): \(String(cString: strerror(errno)))") }
    defer { Glibc.close(descriptor) }
    guard fsync(descriptor) == 0 else {
      throw StoreError.backend("syncing \(folder): \(String(cString: strerror(errno)))")
    }
  }
}
