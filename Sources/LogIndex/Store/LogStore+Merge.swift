internal import Foundation
internal import Synchronization

/// Which small blocks become one: a run of neighbours that together are at most one full block.
struct MergePlan: Equatable {
  /// So many, or half a full block together, are worth the work.
  static let blocksMinimum = 8

  /// The blocks of each merge, in the order of their numbers.
  static func runs(_ blocks: [BlockEntry], rows: Int, bytes: Int) -> [[BlockEntry]] {
    var runs: [[BlockEntry]] = []
    var run: [BlockEntry] = []
    func end() {
      let total = run.reduce(0) { $0 + $1.rows }
      if run.count > 1, run.count >= blocksMinimum || total * 2 >= rows { runs.append(run) }
      run = []
    }
    for entry in blocks.sorted(by: { $0.firstID < $1.firstID }) {
      let isSmall = entry.rows * 2 < rows && entry.rawBytes * 2 < bytes
      if let last = run.last {
        let isNext = last.firstID + Int64(last.rows) == entry.firstID
        let fits =
          run.reduce(entry.rows) { $0 + $1.rows } <= rows && run.reduce(entry.rawBytes) { $0 + $1.rawBytes } <= bytes
        if !isSmall || !isNext || !fits { end() }
      }
      if isSmall { run.append(entry) }
    }
    end()
    return runs
  }
}

extension LogStore {
  private static let mergesMaximum = 4

  /// Makes one block of small neighbours, a bounded number a round, and deletes the files of former merges.
  func mergeSmallBlocks() async {
    buryFiles()
    for run in MergePlan.runs(view().blocks, rows: options.blockRows, bytes: options.blockBytes)
      .prefix(Self.mergesMaximum)
    {
      if Task.isCancelled { return }
      await withCheckedContinuation { continuation in
        sealing.async { [self] in
          merge(run)
          continuation.resume()
        }
      }
    }
  }

  /// Runs on the sealer's thread. A failure leaves all as it was; the next round tries again.
  private func merge(_ run: [BlockEntry]) {
    let (isClosed, known) = state.withLock { ($0.isClosed, Set($0.blocks.map(\.name))) }
    // What retention deleted meanwhile must not come back.
    guard !isClosed, run.allSatisfy({ known.contains($0.name) }) else { return }
    guard let table = table(of: run) else { return }
    do {
      let workers: [String: UInt64] = run.reduce(into: [:]) { all, entry in
        for (name, acked) in block(entry)?.workers ?? [:] { all[name] = max(acked, all[name] ?? 0) }
      }
      var (entry, rollup) = try BlockMaker.store(table, workers: workers, in: file, options)
      entry.seen = run.allSatisfy { $0.seen > 0 } ? run.map(\.seen).max() ?? 0 : 0
      try catalogue.replace(run, with: entry, rollup)
      keep(rollup, of: entry)
      let old = Set(run.map(\.name))
      state.withLock { [entry] state in
        state.blocks.removeAll { old.contains($0.name) }
        state.blocks.append(entry)
        state.graves += run.map { ($0.name, .now) }
      }
    } catch {
      options.notice("small blocks of logs could not be made one: \(error)")
    }
  }

  /// The records of blocks in one memtable, in the order of their arrival; nil when one of them is gone or damaged.
  private func table(of run: [BlockEntry]) -> Memtable? {
    guard let first = run.first else { return nil }
    let table = Memtable(
      firstID: first.firstID, rows: run.reduce(0) { $0 + $1.rows }, bytes: run.reduce(16) { $0 + Int($1.rawBytes) })
    var scanner = LineScanner()
    for entry in run {
      guard let block = block(entry), let arrivals = try? block.arrivals() else { return nil }
      for row in arrivals.indices.sorted(by: { arrivals[$0] < arrivals[$1] }) {
        guard let bytes = try? block.record(row) else { return nil }
        if !bytes.withUnsafeBufferPointer({ table.take($0, &scanner) }) { return nil }
      }
    }
    table.publish()
    return table
  }

  private func buryFiles() {
    let names = state.withLock { state in
      let old = state.graves.filter { ContinuousClock.now - $0.since >= options.mergedFileTime }
      state.graves.removeAll { ContinuousClock.now - $0.since >= options.mergedFileTime }
      return old.map(\.name)
    }
    for name in names {
      forget(name)
      file.remove(name)
    }
  }
}
