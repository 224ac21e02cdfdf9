internal import Foundation
internal import Synchronization

extension LogStore {
  private static let workerDays: Int64 = 90

  /// Deletes the blocks the policy no longer keeps, oldest first: a block goes when all its records are too old, or
  /// while the files hold too much. Records that are too old are not shown even while their block is there.
  /// `now` is in nanoseconds since 1970.
  package func retain(policy: LogRetention, now: Int64) async throws -> LogRetentionReport {
    var report = LogRetentionReport()
    let before = diskBytes()
    let age = policy.maxAge.map { now - Self.nanoseconds($0) }
    if needsSeal(olderThan: age) { _ = await flush() }
    try await noteFuture(now: now)
    if let age {
      // It falls again with a clock that was ahead.
      state.withLock { $0.floor = age }
      let old = view().blocks.filter { $0.age(now: now) < age }
      report.deletedByAge = try await delete(old)
    }
    report.deletedByRules = try await apply(policy.rules, now: now)
    if let maxBytes = policy.maxBytes {
      while diskBytes() > maxBytes {
        try Task.checkCancellation()
        let oldest = view().blocks.min { ($0.age(now: now), $0.firstID) < ($1.age(now: now), $1.firstID) }
        if let oldest {
          report.deletedByBytes += try await delete([oldest])
        } else if view().memtables.contains(where: { $0.readable.rows > 0 }) {
          guard await flush(), !view().blocks.isEmpty else { break }
        } else {
          break
        }
      }
    }
    await mergeSmallBlocks()
    try await forgetWorkers(now: now)
    report.freedBytes = max(0, before - diskBytes())
    return report
  }

  static func nanoseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max / 2 : whole + attoseconds / 1_000_000_000
  }

  /// Notes of blocks with records of the future when they were there: a sender's clock that is ahead does not keep them
  /// longer.
  private func noteFuture(now: Int64) async throws {
    let ahead = view().blocks.filter { $0.seen == 0 && $0.newest > now }
    if ahead.isEmpty { return }
    let names = Set(ahead.map(\.name))
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      sealing.async { [self] in
        continuation.resume(
          with: Result {
            try catalogue.set(seen: now, of: ahead)
            state.withLock { state in
              for index in state.blocks.indices where names.contains(state.blocks[index].name) {
                state.blocks[index].seen = now
              }
            }
          })
      }
    }
  }

  /// Whether all records in memory are too old, or have been there too long.
  private func needsSeal(olderThan age: Int64?) -> Bool {
    if let age, view().memtables.contains(where: { $0.readable.rows > 0 && $0.readable.newest < age }) { return true }
    let (begun, rows) = state.withLock { ($0.begun, $0.memtables.last?.readable.rows ?? 0) }
    let limit = rows >= options.sealIdleRows ? min(options.sealSoon, options.sealAge) : options.sealAge
    return begun.map { ContinuousClock.now - $0 >= limit } ?? false
  }

  /// Deletes blocks, their entries first, and answers how many records they had.
  func delete(_ entries: [BlockEntry]) async throws -> Int {
    if entries.isEmpty { return 0 }
    let names = Set(entries.map(\.name))
    return try await withCheckedThrowingContinuation { continuation in
      sealing.async { [self] in
        continuation.resume(
          with: Result {
            try catalogue.remove(entries)
            state.withLock { $0.blocks.removeAll { names.contains($0.name) } }
            for entry in entries {
              forget(entry.name)
              file.remove(entry.name)
            }
            return entries.reduce(0) { $0 + $1.rows }
          })
      }
    }
  }

  private func forgetWorkers(now: Int64) async throws {
    let limit = now / 1_000_000_000 - Self.workerDays * 86_400
    let forgotten: [String] = try await withCheckedThrowingContinuation { continuation in
      sealing.async { [self] in
        continuation.resume(with: Result { try catalogue.forgetWorkers(seenBefore: limit) })
      }
    }
    if forgotten.isEmpty { return }
    writing.async { [self] in
      writer.withLock { writer in
        for name in forgotten where writer.fresh[name] == nil { writer.workers[name] = nil }
      }
    }
  }
}
