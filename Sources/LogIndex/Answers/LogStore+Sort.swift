internal import Synchronization

extension LogStore {
  /// The records that match in the order of `| sort`; at most the limit, or `QueryParser.sortMaximum`. When the bounds cut
  /// the answer, it is that of the records from `completeSince` on.
  func sorted(_ asked: LogQuery, scope: LogScope, bounds: LogQueryBounds) async throws -> LogBatch {
    var query = bounded(asked)
    var batch = LogBatch(entries: [], scanned: 0)
    let limit = min(query.limit ?? QueryParser.sortMaximum, QueryParser.sortMaximum)
    for attempt in 0..<3 {
      let kept = KeptRecords(SortedRecords(order: query.order, limit: limit))
      var pass = bounds
      if attempt > 0 { (pass.recordsMaximum, pass.bytesMaximum) = (.max, .max) }
      let (looked, cut) = try await sort(query, into: kept, scope: scope, bounds: pass)
      if attempt == 0 { batch.scanned = looked }
      if let cut {
        batch.truncated = cut.reason
        batch.completeSince = max(cut.time &+ 1, batch.completeSince ?? .min)
        if cut.time == .max { break }
        query.range.since = max(query.range.since ?? .min, cut.time &+ 1)
        continue
      }
      let held = kept.records.withLock { $0.ordered() }
      batch.entries = try await QueryRun.detached { [self] in
        held.compactMap { held in
          entry(OpenSource(body: held.source, rows: []), held.row, held.key.position)
        }
      }
      return batch
    }
    return batch
  }

  private func entry(_ source: OpenSource, _ row: Int, _ position: LogPosition) -> LogEntry? {
    do throws(BlockFault) { return LogEntry(position: position, bytes: try source.record(row)) } catch {
      if case .block(_, let entry) = source.body { quarantine(entry, error) }
      return nil
    }
  }

  /// One reading of all parts, the newest first, as far as the bounds allow.
  private func sort(
    _ query: LogQuery, into kept: KeptRecords, scope: LogScope, bounds: LogQueryBounds
  ) async throws -> (looked: Int, cut: SearchCut?) {
    let deadline = SearchDeadline(end: .now + bounds.timeMaximum)
    let probes = BloomProbes(query.filter)
    return try await readParts(query, scope: scope, bounds: bounds, until: deadline) { [self] source, budget in
      kept.records.withLock { records -> (Int, SearchCut?) in
        switch source.body {
        case .memtable(let table):
          let found = MemtableSearch(table, query, scope: scope).run(
            after: query.after, matches: .max, budget: budget, deadline: deadline)
          for (position, row) in found.rows {
            if let record = try? IndexedRecord(table.bytes(row)) { records.add(record, position, table, row) }
          }
          return (found.scanned, found.cut)
        case .block(let entry):
          guard mayHold(entry, probes), let block = block(entry) else { return (0, nil) }
          defer { noteSize(of: block, entry) }
          do throws(BlockFault) {
            let (found, looked, cut) = try search(block, query, scope: scope, budget: budget, deadline: deadline)
            try records.add(found, of: block, entry)
            return (looked, cut)
          } catch let fault where fault == .outOfTime {
            return (0, SearchCut(reason: .time, time: source.newest))
          } catch {
            quarantine(entry, error)
            return (0, nil)
          }
        }
      }
    }
  }
}

/// Records that are gathered part by part, each on a thread of its own.
private final class KeptRecords: Sendable {
  let records: Mutex<SortedRecords>

  init(_ records: SortedRecords) { self.records = Mutex(records) }
}
