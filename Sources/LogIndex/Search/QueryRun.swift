internal import Dispatch

/// One query under way: opens the parts of the store as it comes to them, the newest first, until its limit, its bounds
/// or its end is reached.
actor QueryRun {
  private static let firstRows = 256
  private static let rowsMaximum = 2_048
  private static let work = DispatchQueue(label: "LogIndex.queries", attributes: .concurrent)

  private let store: LogStore
  private let bounds: LogQueryBounds
  private let started = ContinuousClock.now
  private var reader: Reader?
  private var rows = QueryRun.firstRows
  private var hasBegun = false

  init(store: LogStore, query: LogQuery, scope: LogScope, limit: Int?, bounds: LogQueryBounds) {
    self.store = store
    self.bounds = bounds
    reader = Reader(store: store, query: query, scope: scope, remaining: limit ?? .max, budget: ReadBudget(bounds))
  }

  struct Step: Sendable {
    var matches: [(LogPosition, [UInt8])] = []
    var scanned = 0
    /// What the answer lacks, known at its end.
    var gap = SearchGap()
  }

  /// The next records that match, or nil at the end; throws `CancellationError` when its task was cancelled.
  func next() async throws -> Step? {
    var step = Step()
    while let current = reader, step.matches.isEmpty {
      try Task.checkCancellation()
      reader = nil
      // Before the page, too: a reader may have come back after the files of merged blocks are gone.
      if hasBegun, ContinuousClock.now - started >= bounds.timeMaximum {
        step.gap = current.gap
        step.gap.cut = SearchCut(reason: .time, time: current.unknownUntil)
        break
      }
      hasBegun = true
      let count = rows
      let deadline = SearchDeadline(end: started + bounds.timeMaximum)
      let (after, page) = try await Self.detached {
        var reader = current
        let page = try reader.page(count, deadline)
        return (reader, page)
      }
      step.matches = page.matches
      step.scanned += page.scanned
      rows = min(rows * 2, Self.rowsMaximum)
      if after.isDone {
        step.gap = after.gap
        if after.isComplete { step.gap.cut = nil }
      } else {
        reader = after
      }
    }
    return step.matches.isEmpty && step.gap.reason == nil ? nil : step
  }

  /// Runs work off the cooperative threads.
  static func detached<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
      work.async { continuation.resume(with: Result { try body() }) }
    }
  }
}

extension QueryRun {
  /// The reading itself; a value, so that a page can be read elsewhere.
  struct Reader: Sendable {
    private let store: LogStore
    private let query: LogQuery
    private let scope: LogScope
    private let probes: BloomProbes
    private var waiting: [QuerySource]
    private var open: [OpenSource] = []
    private var remaining: Int
    private var budget: ReadBudget
    /// What could not be looked at. Of what is not newer than a cut nothing is given out, so that the answer has no
    /// holes; blocks that cannot be read leave some, which are told.
    private(set) var gap = SearchGap()

    init(store: LogStore, query: LogQuery, scope: LogScope, remaining: Int, budget: ReadBudget) {
      self.store = store
      self.query = query
      self.scope = scope
      self.remaining = remaining
      self.budget = budget
      probes = BloomProbes(query.filter)
      waiting = remaining > 0 ? QuerySource.planned(store.view(), query, scope: scope).reversed() : []
    }

    /// Nothing is left that may be given out.
    var isDone: Bool { remaining == 0 || (waiting.isEmpty && best == nil) }
    /// All was read that was asked for.
    var isComplete: Bool { remaining == 0 || gap.cut == nil }

    /// The part whose next record is the newest of those that may be given out.
    private var best: Int? {
      let best = open.indices.filter { open[$0].head != nil }.max { left, right in
        (open[left].head ?? .first) < (open[right].head ?? .first)
      }
      guard let best, let head = open[best].head, head.time > gap.cut?.time ?? .min else { return nil }
      return best
    }

    /// The time up to which nothing is known when reading ends now.
    var unknownUntil: Int64 {
      max(gap.cut?.time ?? .min, waiting.last?.newest ?? .min, best.flatMap { open[$0].head?.time } ?? .min)
    }

    /// Some records, at most `count`; none when one part was read and nothing in it can be given out yet.
    mutating func page(_ count: Int, _ deadline: SearchDeadline) throws -> Step {
      var step = Step()
      let before = budget.looked
      var picked: [(Int, Int)] = []
      while picked.count < min(count, remaining) {
        let best = best
        if let source = waiting.last, best.flatMap({ open[$0].head?.time }).map({ source.newest >= $0 }) ?? true {
          let (rows, bound) = budget.rows(of: source)
          if rows == 0 {
            end(SearchCut(reason: bound, time: source.newest))
            continue
          }
          if best == nil, !picked.isEmpty { break }
          waiting.removeLast()
          if let opened = try opened(source, deadline) { open.append(opened) }
          // Back to whoever looks at time and cancellation; the next page goes on from here.
          if picked.isEmpty { break }
          continue
        }
        guard let best else { break }
        picked.append((best, open[best].next))
        open[best].next += 1
      }
      for (source, place) in picked {
        let (position, row) = open[source].rows[place]
        do throws(BlockFault) { step.matches.append((position, try open[source].record(row))) } catch {
          // A block that turns out damaged loses its records and is reported; the others are answered.
          if case .block(_, let entry) = open[source].body { quarantine(entry, error) }
        }
      }
      remaining -= picked.count
      open.removeAll { $0.head == nil }
      step.scanned = budget.looked - before
      return step
    }

    /// Reads no further part.
    private mutating func end(_ cut: SearchCut) {
      gap.cut = cut.united(gap.cut).united(waiting.last.map { SearchCut(reason: cut.reason, time: $0.newest) })
      waiting = []
    }

    /// Sets a damaged block aside; what it held is missing.
    private mutating func quarantine(_ entry: BlockEntry, _ fault: BlockFault) {
      store.quarantine(entry, fault)
      gap.miss(store.gap(without: entry).unreadable)
    }

    private mutating func opened(_ source: QuerySource, _ deadline: SearchDeadline) throws -> OpenSource? {
      let (most, bound) = budget.rows(of: source)
      switch source.body {
      case .memtable(let table):
        let found = MemtableSearch(table, query, scope: scope).run(
          after: query.after, matches: remaining, budget: most, deadline: deadline)
        budget.take(found.scanned, of: source)
        gap.cut = found.cut?.because(of: bound).united(gap.cut) ?? gap.cut
        return OpenSource(body: .memtable(table), rows: found.rows)
      case .block(let entry):
        guard store.mayHold(entry, probes) else { return nil }
        guard let block = store.block(entry) else {
          gap.miss(store.gap(without: entry).unreadable)
          return nil
        }
        defer { store.noteSize(of: block, entry) }
        do throws(BlockFault) {
          return OpenSource(body: .block(block, entry), rows: try rows(block, of: source, deadline))
        } catch let fault where fault == .outOfTime {
          end(SearchCut(reason: .time, time: source.newest))
          return nil
        } catch {
          quarantine(entry, error)
          return nil
        }
      }
    }

    private mutating func rows(
      _ block: Block, of source: QuerySource, _ deadline: SearchDeadline
    ) throws(BlockFault) -> [(LogPosition, Int)] {
      let (most, bound) = budget.rows(of: source)
      let (found, looked, cut) = try store.search(block, query, scope: scope, budget: most, deadline: deadline)
      gap.cut = cut?.because(of: bound).united(gap.cut) ?? gap.cut
      budget.take(looked, of: source)
      if found.isEmpty { return [] }
      let (times, arrivals) = (try block.times(), try block.arrivals())
      var rows: [(LogPosition, Int)] = []
      rows.reserveCapacity(found.count)
      found.forEach { row in
        rows.append((LogPosition(time: times[row], id: block.header.firstID + Int64(arrivals[row])), row))
      }
      rows.sort { $0.0 > $1.0 }
      if rows.count > remaining { rows.removeLast(rows.count - remaining) }
      return rows
    }
  }
}

extension LogPosition {
  /// Before all others.
  static let first = LogPosition(time: .min, id: .min)
}

extension LogStore {
  /// The records of a block that match, of the newest `budget` that had to be looked at; how many those were, and where
  /// that bound ended the search.
  func search(
    _ block: Block, _ query: LogQuery, scope: LogScope, budget: Int, deadline: SearchDeadline
  ) throws(BlockFault) -> (found: RowSet, looked: Int, cut: SearchCut?) {
    let search = try BlockSearch(block, deadline: deadline)
    let pruning = Pruning(query, scope: scope)
    var candidates = try search.candidates(pruning.range, scope: scope, after: query.after)
    for field in [ReservedField.function, .call, .pod] {
      guard let texts = pruning.texts[field] else { continue }
      let wanted = Set(texts.map { $0[...] })
      let single = texts.count == 1 ? texts.first : nil
      candidates = try search.leaf(.reserved(field), candidates, equals: single) { value in
        value.map { $0.kind != .null && wanted.contains($0.text) } ?? false
      }
    }
    var cut: SearchCut?
    if candidates.count > budget {
      var rows: [(LogPosition, Int)] = []
      try candidates.forEach { row throws(BlockFault) in rows.append((try block.position(row), row)) }
      rows.sort { $0.0 > $1.0 }
      candidates = RowSet(rows: block.rowCount)
      for (_, row) in rows.prefix(budget) { candidates.insert(row) }
      cut = SearchCut(reason: .records, time: rows[budget].0.time)
    }
    return (try search.matches(query.filter, candidates), candidates.count, cut)
  }
}
