internal import Foundation

/// Opens a store: brings files and catalogue together, replays the write-ahead log, takes an older store over.
struct StoreOpening {
  private let file: StoreFile
  private let options: LogIndexOptions

  init(directory: URL, options: LogIndexOptions) {
    file = StoreFile(directory: directory)
    self.options = options
  }

  func open() throws -> LogStore {
    try FileManager.default.createDirectory(at: file.directory, withIntermediateDirectories: true)
    let catalogue = try openCatalogue()
    if try FormerStore.isThere(in: file) {
      try FormerStore.takeOver(into: catalogue, file, options)
    }
    var contents = try catalogue.contents()
    contents.blocks = try reconcile(contents, catalogue)
    contents.totals.records = contents.blocks.reduce(0) { $0 + Int64($1.rows) }
    for entry in contents.blocks { contents.nextID = max(contents.nextID, entry.firstID + Int64(entry.rows)) }
    return try replay(contents, catalogue)
  }

  /// Opens the catalogue; a damaged one is set aside, and what it said is read off the blocks.
  private func openCatalogue() throws -> Catalogue {
    do {
      let catalogue = try Catalogue(directory: file.directory)
      do {
        _ = try catalogue.contents()
        return catalogue
      } catch {
        catalogue.close()
        throw error
      }
    } catch let fault as StoreFault {
      let aside = try file.setAside(Catalogue.name)
      options.notice(
        "the catalogue of the log store was set aside as \(aside) because \(fault.why); it is made again from the "
          + "blocks"
      )
      return try Catalogue(directory: file.directory)
    }
  }

  /// Brings catalogue and files together: no entry without its file, no file without its entry.
  private func reconcile(_ contents: Catalogue.Contents, _ catalogue: Catalogue) throws -> [BlockEntry] {
    let names = try file.names()
    let segments = Set(names.compactMap { WriteAheadLog.firstID(name: $0) })
    for name in names where name.hasSuffix(".tmp") { file.remove(name) }
    var known = contents
    var blocks: [BlockEntry] = []
    var gone: [BlockEntry] = []
    for entry in contents.blocks {
      if file.size(entry.name) == entry.fileBytes {
        blocks.append(entry)
        // The block was made, and its segment was about to be deleted; or that was undone by a loss of power, and the
        // block may be part of another by now.
        for segment in segments where entry.ids.contains(segment) {
          file.remove(WriteAheadLog.name(firstID: segment))
        }
      } else {
        gone.append(entry)
        let isThere = file.size(entry.name) != nil
        if isThere { _ = try file.setAside(entry.name) }
        options.notice(
          "the block \(entry.name) of \(entry.rows) log records is \(isThere ? "cut and was set aside" : "missing")")
      }
    }
    if !gone.isEmpty { try catalogue.remove(gone) }
    let listed = Set(blocks.map(\.name))
    // The larger first: of a merge that was interrupted either the whole or its parts are taken in.
    let unknown = names.filter { !listed.contains($0) && BlockEntry.ids(name: $0) != nil }.sorted {
      (BlockEntry.ids(name: $0)?.count ?? 0) > (BlockEntry.ids(name: $1)?.count ?? 0)
    }
    for name in unknown {
      guard let ids = BlockEntry.ids(name: name) else { continue }
      // A block whose segment is still there is made again; one whose records are in another block is not needed.
      if segments.contains(ids.lowerBound) || blocks.contains(where: { $0.ids.overlaps(ids) }) {
        file.remove(name)
      } else if let entry = try adopt(name, catalogue, &known) {
        blocks.append(entry)
      }
    }
    return blocks
  }

  /// Takes a block in that the catalogue does not know.
  private func adopt(
    _ name: String, _ catalogue: Catalogue, _ known: inout Catalogue.Contents
  ) throws -> BlockEntry? {
    do {
      let block = try Block(path: file.path(name))
      let entry = BlockEntry(name: name, fileBytes: block.bytes.count, block.header)
      known.nextID = max(known.nextID, entry.firstID + Int64(entry.rows))
      let share = block.rowCount == 0 ? 0 : block.header.rawBytes / block.rowCount
      try catalogue.add(
        entry, try Rollup(block) { _ in share }, workers: block.workers, totals: known.totals, nextID: known.nextID,
        seconds: Int64(Date().timeIntervalSince1970))
      return entry
    } catch let fault as BlockFault {
      let aside = try file.setAside(name)
      options.notice("a block of log records was set aside as \(aside) because \(fault.why)")
      return nil
    }
  }

  /// Reads the segments of the write-ahead log; the last is gone on with, those before it become blocks.
  private func replay(_ found: Catalogue.Contents, _ catalogue: Catalogue) throws -> LogStore {
    var contents = found
    contents.workers = try catalogue.contents().workers
    contents.totals.recordBytes = 0
    var jobs: [SealJob] = []
    let segments = try file.names().filter { WriteAheadLog.firstID(name: $0) != nil }
    for name in segments {
      if let job = try replay(name, isLast: name == segments.last, &contents) {
        jobs.append(job)
      } else {
        file.remove(name)
      }
    }
    var state = LogStore.State()
    state.blocks = contents.blocks
    let last = jobs.last.flatMap { job in
      job.isWhole && job.table.hasRoom(rows: 1, bytes: 1) ? job : nil
    }
    let log: WriteAheadLog
    let table: Memtable
    if let last {
      jobs.removeLast()
      table = last.table
      log = try WriteAheadLog(name: last.segment, length: last.length, in: file)
    } else {
      table = Memtable(firstID: contents.nextID, rows: options.blockRows, bytes: options.blockBytes)
      log = try WriteAheadLog(firstID: contents.nextID, in: file)
    }
    state.memtables = jobs.map(\.table) + [table]
    state.walBytes = log.length
    state.totals = contents.totals
    state.sealsUnderWay = jobs.count
    if table.readable.rows > 0 { state.begun = .now }
    var writer = StoreWriter(log: log, table: table, workers: contents.workers, totals: contents.totals)
    writer.fresh = last?.workers ?? [:]
    let store = LogStore(file: file, options: options, catalogue: catalogue, writer: writer, state: state)
    for job in jobs { store.sealing.async { store.seal(job) } }
    return store
  }

  /// The memtable of one segment, nil when it holds nothing.
  private func replay(_ name: String, isLast: Bool, _ contents: inout Catalogue.Contents) throws -> SealJob? {
    let bytes = try ReadFile.contents(file.path(name))
    let found = WriteAheadReplay(bytes)
    if found.isForeign {
      let aside = try file.setAside(name)
      options.notice("a segment of the log store's write-ahead log was set aside as \(aside): its head is damaged")
      return nil
    }
    // Only the last segment can have a torn end: those before it were durable to theirs when the next was begun.
    let lost = found.lostBytes + (isLast ? 0 : bytes.count - found.length)
    if lost > 0 {
      options.notice("\(lost) bytes of \(name) are damaged: the records there are lost")
      try? FileManager.default.copyItem(
        atPath: file.path(name), toPath: file.path("\(name).damaged-\(Int(Date().timeIntervalSince1970 * 1000))"))
    }
    var rows = 0
    for frame in found.frames { rows += Int(((try? AppendRound.replay(frame) { _ in }.totals.records)) ?? 0) }
    contents.nextID = max(contents.nextID, WriteAheadLog.firstID(name: name) ?? 0)
    let table = Memtable(
      firstID: contents.nextID, rows: max(rows, options.blockRows), bytes: max(bytes.count, options.blockBytes))
    var scanner = LineScanner()
    var fresh: [String: UInt64] = [:]
    for frame in found.frames {
      let result = try? AppendRound.replay(frame) { line in
        line.withUnsafeBufferPointer { _ = table.take($0, &scanner) }
      }
      guard let result else { continue }
      contents.totals += result.totals
      for (worker, acked) in result.workers {
        fresh[worker] = acked
        contents.workers[worker] = max(acked, contents.workers[worker] ?? 0)
      }
    }
    table.publish()
    contents.nextID += Int64(table.readable.rows)
    if found.frames.isEmpty { return nil }
    return SealJob(
      table: table, segment: name, workers: fresh, totals: contents.totals, length: Int64(found.length),
      isWhole: found.lostBytes == 0)
  }
}
