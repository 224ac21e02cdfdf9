internal import Dispatch
package import struct Foundation.URL
internal import Synchronization

/// The records of a cluster, searchable as soon as they are acknowledged.
///
/// One writer commits what concurrent appends brought, one durable frame of the write-ahead log after another, into a
/// memtable; full memtables become immutable blocks beside it. Queries read memtables and blocks as they were at one
/// moment; live tails are served beside the writer and never hold it up.
package final class LogStore: Sendable {
  let file: StoreFile
  let options: LogIndexOptions
  let hub: TailHub
  let catalogue: Catalogue
  let cache: BoundedCache<Block>
  let filters: BoundedCache<BloomFilter>
  let rollups: BoundedCache<Rollup>
  let queue: Mutex<AppendQueue>
  let writer: Mutex<StoreWriter>
  let state: Mutex<State>
  let writing = DispatchQueue(label: "LogIndex.writer")
  let sealing = QuietThread(name: "log-sealer")

  /// What readers see, and what waits to become a block.
  struct State: Sendable {
    /// The oldest first; the last is the one that is written.
    var memtables: [Memtable] = []
    var blocks: [BlockEntry] = []
    var totals = Totals()
    var walBytes: Int64 = 0
    /// Jobs that could not be done and are tried again.
    var waiting: [SealJob] = []
    var sealsUnderWay = 0
    /// Blocks that were set aside since the store was opened, by their names.
    var damaged: Set<String> = []
    var sealFault: String?
    var isClosed = false
    /// Files whose records are in another block now.
    var graves: [(name: String, since: ContinuousClock.Instant)] = []
    /// When the last record came, and whether somebody will look whether more came.
    var touched = ContinuousClock.now
    var isWatched = false
    /// Records before this moment are too old to be shown, though their block is not too old as a whole.
    var floor = Int64.min
    /// The same for single namespaces and functions.
    var floors: [LogFloor] = []
    /// When the memtable got its first record.
    var begun: ContinuousClock.Instant?
  }

  init(
    file: StoreFile, options: LogIndexOptions, catalogue: Catalogue, writer: sending StoreWriter, state: State
  ) {
    self.file = file
    self.options = options
    self.catalogue = catalogue
    hub = TailHub(options)
    cache = BoundedCache(bytesMaximum: options.cacheBytes)
    filters = BoundedCache(bytesMaximum: options.filterBytes)
    rollups = BoundedCache(bytesMaximum: options.rollupBytes)
    queue = Mutex(
      AppendQueue(bytesMaximum: options.pendingBytesMaximum, appendsMaximum: options.pendingAppendsMaximum))
    self.writer = Mutex(writer)
    self.state = Mutex(state)
  }

  /// Opens the store in a directory, which is made if need be. What is damaged, or of another version, is set aside
  /// under a name with the time and reported to `options.notice`; everything else is kept. A store of the former
  /// format is taken over.
  package static func open(directory: URL, options: LogIndexOptions = LogIndexOptions()) throws -> LogStore {
    try StoreOpening(directory: directory, options: options).open()
  }

  /// Writes what waits, ends every live tail and closes the files. Appends after it throw `.closed`.
  package func close() async {
    queue.withLock { $0.close() }
    // The writer takes turns in order: when this turn comes, every append accepted before has had its own.
    await withCheckedContinuation { continuation in
      writing.async { [self] in
        while writeTurn() {}
        writer.withLock { writer in
          if writer.fault == nil { writer.log.close() }
          writer.fault = "it is closed"
        }
        continuation.resume()
      }
    }
    await withCheckedContinuation { continuation in
      sealing.async { [self] in
        let isFirst = state.withLock { state in
          defer { state.isClosed = true }
          return !state.isClosed
        }
        if isFirst {
          for grave in state.withLock({ $0.graves }) { file.remove(grave.name) }
          catalogue.close()
        }
        continuation.resume()
      }
    }
    hub.close()
  }

  /// A query without the records that are too old.
  func bounded(_ query: LogQuery) -> LogQuery {
    let (floor, floors) = state.withLock { ($0.floor, $0.floors) }
    var query = query
    if floor > .min { query.range.since = max(query.range.since ?? .min, floor) }
    if !floors.isEmpty {
      query.filter =
        query.filter == .everything ? .all(floors.map(\.filter)) : .all([query.filter] + floors.map(\.filter))
    }
    return query
  }

  /// All parts of the store at this moment.
  func view() -> StoreView { state.withLock { StoreView(memtables: $0.memtables, blocks: $0.blocks) } }

  /// What the store holds and has seen.
  package func figures() async throws -> LogFigures {
    let (parts, totals) = (view(), state.withLock { $0.totals })
    let tails = hub.figures()
    var figures = LogFigures()
    for entry in parts.blocks {
      figures.records += Int64(entry.rows)
      figures.recordBytes += entry.rawBytes
    }
    for table in parts.memtables {
      figures.records += Int64(table.readable.rows)
      figures.recordBytes += Int64(table.readable.bytes)
    }
    figures.rejected = totals.rejected
    figures.skipped = totals.skipped
    figures.tailDropped = tails.dropped
    figures.tails = tails.count
    figures.diskBytes = diskBytes()
    let tables = parts.memtables.map(\.readable).filter { $0.rows > 0 }
    figures.oldest = (parts.blocks.map(\.oldest) + tables.map(\.oldest)).min()
    figures.newest = (parts.blocks.map(\.newest) + tables.map(\.newest)).max()
    return figures
  }

  /// Bytes of all files of the store that it uses.
  func diskBytes() -> Int64 {
    var total = state.withLock { state in state.walBytes + state.blocks.reduce(0) { $0 + $1.fileBytes } }
    for part in ["", "-wal"] { total += file.size(Catalogue.name + part) ?? 0 }
    for table in view().memtables.dropLast() { total += file.size(WriteAheadLog.name(firstID: table.firstID)) ?? 0 }
    return total
  }

  /// A block, read if it is not open; nil when it is gone, or damaged and now set aside. One that the system cannot read now,
  /// as when there are no descriptors left, stays and is left out of this answer, which is reported.
  func block(_ entry: BlockEntry) -> Block? {
    if let block = cache.value(entry.name) { return block }
    do {
      let block = try Block(path: file.path(entry.name))
      guard block.header.firstID == entry.firstID, block.rowCount == entry.rows else {
        throw BlockFault("it is another block than the catalogue says")
      }
      cache.keep(block, entry.name, bytes: block.heldBytes)
      return block
    } catch let fault as BlockFault {
      quarantine(entry, fault)
    } catch {
      if file.size(entry.name) == nil {
        quarantine(entry, BlockFault("it is missing"))
      } else {
        options.notice("the block \(entry.name) cannot be read now and is left out of an answer: \(error)")
      }
    }
    return nil
  }

  /// What an answer lacks because a block could not be read: nothing when retention has deleted it meanwhile. The
  /// records of one that is in another block now, which the answer does not read, are missing like a damaged one's.
  func gap(without entry: BlockEntry) -> SearchGap {
    let isMissing = state.withLock { state in
      state.damaged.contains(entry.name) || state.blocks.contains { $0.ids.overlaps(entry.ids) }
    }
    return SearchGap(unreadable: isMissing ? entry.newest : nil)
  }

  /// Whether a block may hold what a query demands; reads no more of it than its filter. What is wrong with the file shows
  /// when the block is read.
  func mayHold(_ entry: BlockEntry, _ probes: BloomProbes) -> Bool {
    if probes.lists.isEmpty { return true }
    if let block = cache.glimpse(entry.name) { return probes.allow(block.filter) }
    if let filter = filters.value(entry.name) { return probes.allow(filter) }
    guard let filter = try? BloomFilter(path: file.path(entry.name)) else { return true }
    filters.keep(filter, entry.name, bytes: filter.bytes.count)
    return probes.allow(filter)
  }

  /// The counts of a block; nil when there are none.
  func rollup(of entry: BlockEntry) -> Rollup? {
    if let rollup = rollups.value(entry.name) { return rollup }
    guard let bytes = try? catalogue.rollup(entry.name), let rollup = try? Rollup(encoded: bytes) else { return nil }
    keep(rollup, of: entry)
    return rollup
  }

  /// Keeps the counts of a block at hand.
  func keep(_ rollup: Rollup?, of entry: BlockEntry) {
    if let rollup { rollups.keep(rollup, entry.name, bytes: rollup.heldBytes) }
  }

  /// Has the cache know what of a block is open by now.
  func noteSize(of block: Block, _ entry: BlockEntry) { cache.resize(entry.name, bytes: block.heldBytes) }

  /// Closes the file of a block that is needed no more.
  func forget(_ name: String) {
    cache.forget(name)
    filters.forget(name)
    rollups.forget(name)
  }

  /// Sets a damaged block aside and says so; what retention has deleted meanwhile is no damage.
  func quarantine(_ entry: BlockEntry, _ fault: BlockFault) {
    if fault == .outOfTime { return }
    let isMine = state.withLock { state in
      guard let place = state.blocks.firstIndex(where: { $0.name == entry.name }) else { return false }
      state.blocks.remove(at: place)
      state.damaged.insert(entry.name)
      return true
    }
    guard isMine else { return }
    forget(entry.name)
    let aside = file.size(entry.name) == nil ? nil : try? file.setAside(entry.name)
    options.notice(
      "a block of \(entry.rows) log records was set aside as \(aside ?? entry.name) because \(fault.why); "
        + "its records, from \(RecordTime.text(entry.oldest)) to \(RecordTime.text(entry.newest)), are not searched")
    sealing.async { [self] in try? catalogue.remove([entry]) }
  }
}
