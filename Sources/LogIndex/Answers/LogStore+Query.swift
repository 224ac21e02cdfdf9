internal import Synchronization

extension LogStore {
  /// The records that match, newest first, read as they are asked for: whoever stops asking stops the work. The last
  /// batch says when the bounds cut the answer. A statistics query answers nothing here.
  package func query(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) -> AsyncThrowingStream<LogBatch, any Error> {
    if !query.order.isEmpty, query.stats == nil { return sortedStream(query, scope: scope, bounds: bounds) }
    let run = QueryRun(
      store: self, query: bounded(query), scope: scope, limit: query.stats == nil ? query.limit : 0, bounds: bounds)
    let projection = query.fields.map { LogProjection(fields: $0) }
    return AsyncThrowingStream {
      guard let step = try await run.next() else { return nil }
      let entries = step.matches.map { position, bytes in
        LogEntry(position: position, bytes: projection?.apply(bytes) ?? bytes)
      }
      return LogBatch(
        entries: entries, scanned: step.scanned, truncated: step.gap.reason, completeSince: step.gap.completeSince)
    }
  }

  /// Records in an order of their own: all are found before the first is given out.
  private func sortedStream(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds
  ) -> AsyncThrowingStream<LogBatch, any Error> {
    let projection = query.fields.map { LogProjection(fields: $0) }
    let isDone = Mutex(false)
    return AsyncThrowingStream { [self] in
      let isFirst = isDone.withLock { done in
        defer { done = true }
        return !done
      }
      guard isFirst else { return nil }
      var batch = try await sorted(query, scope: scope, bounds: bounds)
      if let projection {
        batch.entries = batch.entries.map { LogEntry(position: $0.position, bytes: projection.apply($0.bytes)) }
      }
      return batch.entries.isEmpty && batch.truncated == nil ? nil : batch
    }
  }

  /// The statistics of a query with a stats pipe; without one, no rows. When the bounds cut the answer, it is that of the
  /// records from `completeSince` on.
  package func stats(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) async throws -> LogStatResult {
    guard let stats = query.stats, let answer = try await statLines(query, scope: scope, bounds: bounds) else {
      return LogStatResult(columns: [], rows: [], scanned: 0)
    }
    return LogStatResult(
      columns: stats.columns, rows: (0..<answer.lines.count).map { answer.lines.row($0) }, scanned: answer.scanned,
      truncated: answer.truncated, completeSince: answer.completeSince)
  }

  /// The same in words, for one who sends them on; nil without a stats pipe.
  package func statLines(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds = LogQueryBounds()
  ) async throws -> LogStatAnswer? {
    guard let stats = query.stats else { return nil }
    let gathered = try await gather(query, [stats], scope: scope, bounds: bounds)
    let table = gathered.withTables { $0[0] }
    let lines = try await QueryRun.detached { table.lines(limit: query.limit) }
    return LogStatAnswer(
      lines: lines, scanned: gathered.scanned, truncated: table.isFull ? .groups : gathered.gap.reason,
      completeSince: gathered.gap.completeSince)
  }

  /// Gathers several statistics of the same records. What the bounds cut is gathered once more without the records that
  /// not all of were read.
  func gather(
    _ asked: LogQuery, _ all: [LogStats], scope: LogScope, bounds: LogQueryBounds
  ) async throws -> GatheredStats {
    var query = bounded(asked)
    var gap = SearchGap()
    var scanned = 0
    // Each attempt asks for less; one more than two only comes to pass when time is what is missing.
    for attempt in 0..<3 {
      let gathered = GatheredStats(all)
      var pass = bounds
      if attempt > 0 { (pass.recordsMaximum, pass.bytesMaximum) = (.max, .max) }
      let (looked, found) = try await gather(query, into: gathered, scope: scope, bounds: pass)
      scanned += attempt == 0 ? looked : 0
      gap.miss(found.unreadable)
      gathered.scanned = scanned
      gathered.gap = gap
      guard let missed = found.cut else { return gathered }
      gap.cut = missed.united(gap.cut)
      if attempt == 2 || gap.cut?.time == .max { return GatheredStats(all, scanned: scanned, gap: gap) }
      query.range.since = max(query.range.since ?? .min, missed.time &+ 1)
    }
    return GatheredStats(all, scanned: scanned, gap: gap)
  }

  /// One reading of all parts, the newest first, as far as the bounds allow.
  private func gather(
    _ query: LogQuery, into gathered: GatheredStats, scope: LogScope, bounds: LogQueryBounds
  ) async throws -> (looked: Int, gap: SearchGap) {
    let deadline = SearchDeadline(end: .now + bounds.timeMaximum)
    let reading = StatsReading(query: query, all: gathered.all, scope: scope, deadline: deadline)
    return try await readParts(query, scope: scope, bounds: bounds, until: deadline) { [self] source, budget in
      gathered.withTables { add(source, reading, budget: budget, to: &$0) }
    }
  }

  /// Reads the parts of the store that a query needs, the newest first, as far as the bounds allow; `read` answers how many
  /// records of a part had to be looked at, and what of it is missing.
  func readParts(
    _ query: LogQuery, scope: LogScope, bounds: LogQueryBounds, until deadline: SearchDeadline,
    _ read: @escaping @Sendable (_ source: QuerySource, _ budget: Int) -> (Int, SearchGap)
  ) async throws -> (looked: Int, gap: SearchGap) {
    var budget = ReadBudget(bounds)
    var gap = SearchGap()
    for source in QuerySource.planned(view(), query, scope: scope) {
      try Task.checkCancellation()
      let (rows, bound) = budget.rows(of: source)
      if rows == 0 || deadline.isOver {
        gap.cut = SearchCut(reason: rows == 0 ? bound : .time, time: source.newest)
        break
      }
      let (looked, found) = try await QueryRun.detached { read(source, rows) }
      budget.take(looked, of: source)
      gap.miss(found.unreadable)
      gap.cut = found.cut?.because(of: bound)
      if gap.cut != nil { break }
    }
    return (budget.looked, gap)
  }

  /// Adds one part of the store to statistics; answers how many records had to be looked at, and what of it is missing.
  private func add(
    _ source: QuerySource, _ reading: StatsReading, budget: Int, to tables: inout [StatsTable]
  ) -> (Int, SearchGap) {
    let query = reading.query
    switch source.body {
    case .memtable(let memtable):
      let found = MemtableSearch(memtable, query, scope: reading.scope).run(
        after: query.after, matches: .max, budget: budget, deadline: reading.deadline)
      for (_, row) in found.rows {
        guard let record = try? IndexedRecord(memtable.bytes(row)) else { continue }
        for index in tables.indices { tables[index].add(record) }
      }
      return (found.scanned, SearchGap(cut: found.cut))
    case .block(let entry):
      if let plan = reading.rollups, plan.covers(entry), let rollup = rollup(of: entry) {
        for (index, stats) in reading.all.enumerated() { plan.add(rollup, stats, to: &tables[index]) }
        return (0, SearchGap())
      }
      guard mayHold(entry, reading.probes) else { return (0, SearchGap()) }
      guard let block = block(entry) else { return (0, gap(without: entry)) }
      defer { noteSize(of: block, entry) }
      do throws(BlockFault) {
        let (found, looked, cut) = try search(
          block, query, scope: reading.scope, budget: budget, deadline: reading.deadline)
        let search = try BlockSearch(block)
        for (index, stats) in reading.all.enumerated() { try BlockStats(search, stats).add(found, to: &tables[index]) }
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

/// What stays the same while statistics go through the parts of a store.
private struct StatsReading: Sendable {
  let query: LogQuery
  let all: [LogStats]
  let scope: LogScope
  let deadline: SearchDeadline
  let probes: BloomProbes
  /// How rollups answer all of it; nil when they cannot.
  let rollups: RollupPlan?

  init(query: LogQuery, all: [LogStats], scope: LogScope, deadline: SearchDeadline) {
    self.query = query
    self.all = all
    self.scope = scope
    self.deadline = deadline
    probes = BloomProbes(query.filter)
    rollups = RollupPlan(query, all, scope: scope)
  }
}

/// Statistics that are gathered part by part, each on a thread of its own.
final class GatheredStats: Sendable {
  private struct State {
    var tables: [StatsTable]
    var scanned: Int
    var gap: SearchGap
  }

  let all: [LogStats]
  private let state: Mutex<State>

  init(_ all: [LogStats], scanned: Int = 0, gap: SearchGap = SearchGap()) {
    self.all = all
    state = Mutex(State(tables: all.map { StatsTable($0) }, scanned: scanned, gap: gap))
  }

  /// Records that had to be looked at.
  var scanned: Int {
    get { state.withLock { $0.scanned } }
    set { state.withLock { $0.scanned = newValue } }
  }

  /// What is missing.
  var gap: SearchGap {
    get { state.withLock { $0.gap } }
    set { state.withLock { $0.gap = newValue } }
  }

  func withTables<T: Sendable>(_ body: (inout [StatsTable]) -> T) -> T { state.withLock { body(&$0.tables) } }
}
