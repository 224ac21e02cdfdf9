internal import Foundation
internal import GRDB
internal import Glibc

/// The files of a store: opening them, setting aside what cannot be opened, asking for space.
struct StoreFile: Sendable {
  static let name = "logs.sqlite"
  private static let parts = ["", "-wal", "-shm"]

  let directory: URL

  var path: String { directory.appendingPathComponent(Self.name).path }
  /// There while a fault was seen and the file was not checked since.
  private var suspectPath: String { directory.appendingPathComponent("logs.suspect").path }

  /// Opens the database; one that is damaged, or of another version, is set aside and a fresh one is opened.
  func open(_ options: LogIndexOptions) throws -> DatabasePool {
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    let existed = FileManager.default.fileExists(atPath: path)
    do {
      return try openChecked(options)
    } catch let error as StoreFault {
      guard existed else { throw error }
      let aside = try setAside()
      options.notice("the log store was set aside as \(aside) because \(error.why); a fresh one was opened")
      return try openChecked(options)
    }
  }

  /// Notes that the file was seen to be damaged, so that the next start checks all of it.
  func markSuspect() {
    _ = FileManager.default.createFile(atPath: suspectPath, contents: nil)
  }

  /// Bytes of the database and its write-ahead log.
  func diskBytes() -> Int64 {
    Self.parts.dropLast().reduce(0) { $0 + size(path + $1) }
  }

  /// Bytes free on the volume for this process; nil when that cannot be asked.
  func freeBytes() -> Int64? {
    var info = statvfs()
    guard statvfs(directory.path, &info) == 0 else { return nil }
    let (bytes, overflow) = UInt64(info.f_bavail).multipliedReportingOverflow(by: UInt64(info.f_frsize))
    return overflow ? .max : Int64(clamping: bytes)
  }

  private func size(_ path: String) -> Int64 {
    var info = stat()
    return stat(path, &info) == 0 ? Int64(info.st_size) : 0
  }

  private func openChecked(_ options: LogIndexOptions) throws -> DatabasePool {
    let isSuspect = FileManager.default.fileExists(atPath: suspectPath)
    do {
      let pool = try DatabasePool(path: path, configuration: Schema.configuration())
      do {
        try pool.writeWithoutTransaction { db in
          try check(db, options, complete: isSuspect || size(path) <= options.checkBytesMaximum)
        }
        if isSuspect { try? FileManager.default.removeItem(atPath: suspectPath) }
        return pool
      } catch {
        try? pool.close()
        throw error
      }
    } catch let error as DatabaseError where Self.isDamage(error) {
      throw StoreFault(why: "it is damaged (\(error.message ?? "\(error.resultCode)"))")
    }
  }

  private func check(_ db: Database, _ options: LogIndexOptions, complete: Bool) throws {
    let version = try Schema.version(of: db)
    guard version == 0 || version == Schema.version else {
      throw StoreFault(why: "its version is \(version) and this program reads version \(Schema.version)")
    }
    if complete {
      let answer = try String.fetchOne(db, sql: "PRAGMA quick_check(1)") ?? ""
      guard answer == "ok" else { throw StoreFault(why: "it is damaged (\(answer))") }
    }
    do {
      try Schema.prepare(db, options)
      _ = try Totals.read(db)
      _ = try Row.fetchOne(db, sql: "SELECT * FROM record INDEXED BY record_time ORDER BY time DESC LIMIT 1")
      _ = try Row.fetchOne(db, sql: "SELECT * FROM worker LIMIT 1")
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
      throw StoreFault(why: "it is no log store (\(error.message ?? "unknown tables"))")
    }
  }

  /// Renames the files to a name with the time, and answers the new name.
  private func setAside() throws -> String {
    var number = 0
    let stamp = Int(Date().timeIntervalSince1970 * 1000)
    var aside = "\(Self.name).damaged-\(stamp)"
    while FileManager.default.fileExists(atPath: directory.appendingPathComponent(aside).path) {
      number += 1
      aside = "\(Self.name).damaged-\(stamp)-\(number)"
    }
    for part in Self.parts where FileManager.default.fileExists(atPath: path + part) {
      try FileManager.default.moveItem(
        atPath: path + part, toPath: directory.appendingPathComponent(aside + part).path)
    }
    try? FileManager.default.removeItem(atPath: suspectPath)
    return aside
  }

  static func isDamage(_ error: DatabaseError) -> Bool {
    error.resultCode == .SQLITE_CORRUPT || error.resultCode == .SQLITE_NOTADB
  }
}

/// Why a database file was set aside.
struct StoreFault: Error, CustomStringConvertible {
  var why: String
  var description: String { "the log store cannot be opened because \(why)" }
}
