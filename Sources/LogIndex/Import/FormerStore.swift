internal import Foundation
internal import GRDB

/// The store's former format, rows in `logs.sqlite`: read once, into blocks.
enum FormerStore {
  static let name = "logs.sqlite"

  static func isThere(in file: StoreFile) throws -> Bool { file.size(name) != nil }

  /// Takes all its records and what was acknowledged over, then deletes it. One that cannot be read is set aside and
  /// reported. An import that was interrupted is begun anew.
  static func takeOver(into catalogue: Catalogue, _ file: StoreFile, _ options: LogIndexOptions) throws {
    if try catalogue.contents().isImporting {
      let begun = try catalogue.contents().blocks
      try catalogue.remove(begun)
      for entry in begun { file.remove(entry.name) }
    } else if !(try catalogue.contents().blocks.isEmpty) {
      let aside = try file.setAside(name)
      options.notice("a log store of the former format was set aside as \(aside): there is a newer one beside it")
      return
    }
    try catalogue.setImporting(true)
    do {
      let count = try read(into: catalogue, file, options)
      try catalogue.setImporting(false)
      for part in ["", "-wal", "-shm"] { file.remove(name + part) }
      options.notice("\(count) log records of the former format were taken over")
    } catch let error as DatabaseError {
      // What was read until then stays; the file stays too, under another name.
      try catalogue.setImporting(false)
      let aside = try file.setAside(name)
      options.notice(
        "a log store of the former format was set aside as \(aside) because it is damaged "
          + "(\(error.message ?? "\(error.resultCode)")); \(try catalogue.contents().totals.records) of its records "
          + "were taken over")
    } catch {
      // No room, or no block could be made: what was begun is undone, and the server starts.
      let begun = try catalogue.contents().blocks
      for entry in begun { file.remove(entry.name) }
      try catalogue.remove(begun)
      try catalogue.setImporting(false)
      let aside = try file.setAside(name)
      options.notice(
        "a log store of the former format could not be taken over (\(error)) and is kept as \(aside)")
    }
  }

  private static func read(into catalogue: Catalogue, _ file: StoreFile, _ options: LogIndexOptions) throws -> Int {
    var configuration = Configuration()
    configuration.busyMode = .timeout(5)
    let database = try DatabaseQueue(path: file.path(name), configuration: configuration)
    defer { try? database.close() }
    return try database.read { db in
      var nextID: Int64 = 1
      var count = 0
      var scanner = LineScanner()
      var table = Memtable(firstID: nextID, rows: options.blockRows, bytes: options.blockBytes)
      let rows = try Row.fetchCursor(db, sql: "SELECT body FROM record ORDER BY id")
      func seal() throws {
        table.publish()
        if table.readable.rows == 0 { return }
        try write(table, into: catalogue, file, options)
        nextID += Int64(table.readable.rows)
        table = Memtable(firstID: nextID, rows: options.blockRows, bytes: options.blockBytes)
      }
      while let row = try rows.next() {
        try row.withUnsafeData(atIndex: 0) { data in
          let body = [UInt8](data ?? Data())
          if !table.hasRoom(rows: 1, bytes: body.count) { try seal() }
          if body.withUnsafeBufferPointer({ table.take($0, &scanner) }) { count += 1 }
        }
      }
      try seal()
      var workers: [String: UInt64] = [:]
      for row in try Row.fetchAll(db, sql: "SELECT name, acked FROM worker") {
        workers[row[0]] = UInt64(clamping: row[1] as Int64)
      }
      var totals = Totals()
      for row in try Row.fetchAll(db, sql: "SELECT name, value FROM figure") {
        if row[0] == "rejected" { totals.rejected = row[1] }
        if row[0] == "skipped" { totals.skipped = row[1] }
      }
      try add(nil, nil, workers: workers, totals: totals, nextID: nextID, to: catalogue)
      return count
    }
  }

  private static func write(
    _ table: Memtable, into catalogue: Catalogue, _ file: StoreFile, _ options: LogIndexOptions
  ) throws {
    let (entry, rollup) = try BlockMaker.store(table, workers: [:], in: file, options)
    try add(entry, rollup, workers: [:], totals: Totals(), nextID: table.firstID + Int64(entry.rows), to: catalogue)
  }

  /// Lists a block; what is wrong then is wrong with the new store and not with the former one.
  private static func add(
    _ entry: BlockEntry?, _ rollup: Rollup?, workers: [String: UInt64], totals: Totals, nextID: Int64,
    to catalogue: Catalogue
  ) throws {
    do {
      try catalogue.add(
        entry, rollup, workers: workers, totals: totals, nextID: nextID,
        seconds: Int64(Date().timeIntervalSince1970))
    } catch let error as DatabaseError {
      throw StoreFault(why: "its catalogue cannot be written (\(error.message ?? "\(error.resultCode)"))")
    }
  }
}
