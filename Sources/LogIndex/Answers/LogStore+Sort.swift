internal import Synchronization

extension LogStore {
  /// Records that are read at once.
  private static let pageRows = 256

  /// The records that match in the order of `| sort`; at most the limit, or `QueryParser.sortMaximum`. When the bounds cut
  /// the answer, it is that of the records from `completeSince` on, or its beginning when it is too long.
  func sorted(_ asked: LogQuery, scope: LogScope, bounds: LogQueryBounds) async throws -> LogBatch {
    var query = bounded(asked)
    var batch = LogBatch(entries: [], scanned: 0)
    var gap = SearchGap()
    let limit = min(query.limit ?? QueryParser.sortMaximum, QueryParser.sortMaximum)
    for attempt in 0..<3 {
      let kept = KeptRecords(SortedRecords(order: query.order, limit: limit))
      var pass = bounds
      if attempt > 0 { (pass.recordsMaximum, pass.bytesMaximum) = (.max, .max) }
      let (looked, found) = try await sort(query, into: kept, scope: scope, bounds: pass)
      if attempt == 0 { batch.scanned = looked }
      gap.miss(found.unreadable)
      if let cut = found.cut {
        gap.cut = cut.united(gap.cut)
        if cut.time == .max { break }
        query.range.since = max(query.range.since ?? .min, cut.time &+ 1)
        continue
      }
      let (held, isCut) = kept.records.withLock { $0.ordered() }
      var left = held[...]
      var bytes = 0
      while !left.isEmpty, bytes <= bounds.answerBytesMaximum {
        let page = Array(left.prefix(Self.pageRows))
        left = left.dropFirst(page.count)
        let (read, missing) = try await QueryRun.detached { [self] in entries(page) }
        bytes += read.reduce(0) { $0 + $1.bytes.count }
        batch.entries += read
        gap.miss(missing.unreadable)
      }
      (batch.truncated, batch.completeSince) = (gap.reason, gap.completeSince)
      if isCut || !left.isEmpty { (batch.truncated, batch.completeSince) = (.bytes, nil) }
      return batch
    }
    (batch.truncated, batch.completeSince) = (gap.reason, gap.completeSince)
    return batch
  }

  /// The records of some places, in that order, and what of them is missing; each block is opened once and held no
  /// longer than it is read.
  private func entries(_ page: [SortedRecords.Held]) -> ([LogEntry], SearchGap) {
    var missing = SearchGap()
    var found = [LogEntry?](repeating: nil, count: page.count)
    var places: [String: (entry: BlockEntry, places: [Int])] = [:]
    for (place, held) in page.enumerated() {
      switch held.source {
      case .memtable(let table): found[place] = LogEntry(position: held.key.position, bytes: table.bytes(held.row))
      case .block(let entry): places[entry.name, default: (entry, [])].places.append(place)
      }
    }
    for (entry, places) in places.values {
      guard let block = block(entry) else {
        missing.miss(gap(without: entry).unreadable)
        continue
      }
      defer { noteSize(of: block, entry) }
      do throws(BlockFault) {
        for place in places {
          found[place] = LogEntry(position: page[place].key.position, bytes: try block.record(page[place].row))
        }
      } catch {
        quarantine(entry, error)
        missing.miss(gap(without: entry).unreadable)
      }
    }
    return (found.compactMap(\.self), missing)
  }

  /// One reading of all parts, the newest first, as far as the bounds allow.
  private func sort(
    _ query: LogQuery, into kept: KeptRecords, scope: LogScope, bounds: LogQueryBounds
  ) async throws -> (looked: Int, gap: SearchGap) {
    let deadline = SearchDeadline(end: .now + bounds.timeMaximum)
    let probes = BloomProbes(query.filter)
    return try await readParts(query, scope: scope, bounds: bounds, until: deadline) { [self] source, budget in
      kept.records.withLock { records -> (Int, SearchGap) in
        switch source.body {
        case .memtable(let table):
          let found = MemtableSearch(table, query, scope: scope).run(
            after: query.after, matches: .max, budget: budget, deadline: deadline)
          for (position, row) in found.rows {
            if let record = try? IndexedRecord(table.bytes(row)) { records.add(record, position, table, row) }
          }
          return (found.scanned, SearchGap(cut: found.cut))
        case .block(let entry):
          guard mayHold(entry, probes) else { return (0, SearchGap()) }
          guard let block = block(entry) else { return (0, gap(without: entry)) }
          defer { noteSize(of: block, entry) }
          do throws(BlockFault) {
            let (found, looked, cut) = try search(block, query, scope: scope, budget: budget, deadline: deadline)
            try records.add(found, of: block, entry)
            return (looked, SearchGap(cut: cut))
          } catch let fault where fault == .outOfTime {
            return (0, SearchGap(cut: SearchCut(reason: .time, time: source.newest)))
          } catch {
            quarantine(entry, error)
            return (0, gap(without: entry))
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
