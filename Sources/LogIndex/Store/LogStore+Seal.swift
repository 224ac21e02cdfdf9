internal import Dispatch
internal import Foundation
internal import Synchronization

extension LogStore {
  /// Begins a new memtable and a new segment, and hands the old ones to the sealer. Waits while too many are under way:
  /// that is what holds back who sends faster than blocks are made.
  func rotate(_ writer: inout StoreWriter, rows: Int, bytes: Int) throws {
    if let fault = writer.fault { throw LogIndexError.storage(fault) }
    let old = writer.table
    let nextID = old.firstID + Int64(old.written.rows)
    if old.written.rows == 0 {
      // Nothing to seal: only a larger memtable is wanted.
      let table = makeTable(firstID: old.firstID, rows: rows, bytes: bytes)
      writer.table = table
      state.withLock { $0.memtables[$0.memtables.count - 1] = table }
      return
    }
    let log = try WriteAheadLog(firstID: nextID, in: file)
    let job = SealJob(table: old, segment: writer.log.name, workers: writer.fresh, totals: writer.totals)
    writer.log.close()
    writer.log = log
    let table = makeTable(firstID: nextID, rows: rows, bytes: bytes)
    writer.table = table
    writer.fresh = [:]
    state.withLock { state in
      state.begun = nil
      state.memtables.append(table)
      state.walBytes = log.length
      state.sealsUnderWay += 1
    }
    sealing.async { [self] in seal(job) }
    while state.withLock({ $0.sealsUnderWay - $0.waiting.count }) >= options.sealsMaximum { sealing.wait() }
  }

  private func makeTable(firstID: Int64, rows: Int, bytes: Int) -> Memtable {
    Memtable(firstID: firstID, rows: max(options.blockRows, rows), bytes: max(options.blockBytes, bytes))
  }

  /// Makes a block of a memtable: its file, then the catalogue's entry, then the segment goes. Runs on the sealer's
  /// thread.
  func seal(_ job: SealJob) {
    if state.withLock({ $0.isClosed }) { return }
    do {
      let (entry, rollup) = try BlockMaker.store(job.table, workers: job.workers, in: file, options)
      try catalogue.add(
        entry, rollup, workers: job.workers, totals: job.totals, nextID: job.table.firstID + Int64(entry.rows),
        seconds: Int64(Date().timeIntervalSince1970))
      keep(rollup, of: entry)
      state.withLock { state in
        state.memtables.removeAll { $0 === job.table }
        state.blocks.append(entry)
        state.sealsUnderWay -= 1
        state.sealFault = nil
      }
      file.remove(job.segment)
    } catch {
      // The records stay in memory and in their segment; the writer has it tried again.
      state.withLock { state in
        state.waiting.append(job)
        state.sealFault = "a block cannot be written: \(error)"
      }
    }
  }

  /// Has somebody look later whether nothing more came, unless somebody will already.
  func watchIdle() {
    let isMine = state.withLock { state in
      defer { state.isWatched = true }
      return !state.isWatched && !state.isClosed
    }
    guard isMine else { return }
    let nanoseconds = Int(clamping: Self.nanoseconds(options.sealIdle))
    writing.asyncAfter(deadline: .now() + .nanoseconds(nanoseconds)) { [weak self] in self?.sealIdle() }
  }

  /// Seals what is in memory when nothing came for a while; else looks again later. Runs on the writer's queue.
  private func sealIdle() {
    let isIdle = state.withLock { state in
      state.isWatched = false
      return ContinuousClock.now - state.touched >= options.sealIdle * 0.9
    }
    let rows = writer.withLock { writer in
      let rows = writer.table.written.rows
      if isIdle, rows >= options.sealIdleRows { try? rotate(&writer, rows: 0, bytes: 0) }
      return rows
    }
    if rows >= options.sealIdleRows, !isIdle { watchIdle() }
  }

  /// Gives jobs that failed to the sealer again.
  func retrySeals() {
    let jobs = state.withLock { state in
      defer { state.waiting = [] }
      return state.waiting
    }
    for job in jobs { sealing.async { [self] in seal(job) } }
  }

  /// Makes blocks of all that is in memory, and waits for it. Answers false when that could not be done.
  func flush() async -> Bool {
    let isRotated: Bool = await withCheckedContinuation { continuation in
      writing.async { [self] in
        let isRotated = writer.withLock { writer in
          if writer.table.written.rows == 0 { return true }
          return (try? rotate(&writer, rows: 0, bytes: 0)) != nil
        }
        continuation.resume(returning: isRotated)
      }
    }
    retrySeals()
    await withCheckedContinuation { continuation in sealing.async { continuation.resume() } }
    return isRotated && state.withLock { $0.waiting.isEmpty }
  }
}
