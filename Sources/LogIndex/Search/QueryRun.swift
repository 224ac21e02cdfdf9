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
    reader = Reader(store: store, query: query, scope: scope, remaining: limit ?? .max, budget: bounds.recordsMaximum)
  }

  struct Step: Sendable {
    var matches: [(LogPosition, [UInt8])] = []
    var scanned = 0
    var truncated: LogTruncation?
  }

  /// The next records that match, or nil at the end; throws `CancellationError` when its task was cancelled.
  func next() async throws -> Step? {
    var step = Step()
    while let current = reader, step.matches.isEmpty, step.truncated == nil {
      try Task.checkCancellation()
      reader = nil
      // Before the page, too: a reader may have come back after the files of merged blocks are gone.
      if hasBegun, ContinuousClock.now - started >= bounds.timeMaximum {
        step.truncated = .time
        break
      }
      hasBegun = true
      let count = rows
      let (after, page) = try await Self.detached {
        var reader = current
        let page = try reader.page(count)
        return (reader, page)
      }
      step.matches = page.matches
      step.scanned += page.scanned
      rows = min(rows * 2, Self.rowsMaximum)
      if after.isDone {
        if !after.isComplete { step.truncated = .records }
      } else {
        reader = after
      }
    }
    return step.matches.isEmpty && step.truncated == nil ? nil : step
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
    private(set) var budget: Int
    /// Whether a part had more records to look at than the budget allowed.
    private var isCut = false

    init(store: LogStore, query: LogQuery, scope: LogScope, remaining: Int, budget: Int) {
      self.store = store
      self.query = query
      self.scope = scope
      self.remaining = remaining
      self.budget = budget
      probes = BloomProbes(query.filter)
      waiting = remaining > 0 ? QuerySource.planned(store.view(), query, scope: scope).reversed() : []
    }

    /// Nothing is left, or nothing more may be read.
    var isDone: Bool { isComplete || budget == 0 && open.allSatisfy { $0.head == nil } }
    /// All was read that was asked for.
    var isComplete: Bool {
      remaining == 0 || (!isCut && waiting.isEmpty && open.allSatisfy { $0.head == nil })
    }

    /// Some records, at most `count`; none when one part was read and nothing in it can be given out yet.
    mutating func page(_ count: Int) throws -> Step {
      var step = Step()
      let before = budget
      var picked: [(Int, Int)] = []
      while picked.count < min(count, remaining) {
        let best = open.indices.filter { open[$0].head != nil }.max { left, right in
          (open[left].head ?? .first) < (open[right].head ?? .first)
        }
        if let source = waiting.last, budget > 0,
          best.flatMap({ open[$0].head?.time }).map({ source.newest >= $0 }) ?? true
        {
          if best == nil, !picked.isEmpty { break }
          waiting.removeLast()
          if let opened = try opened(source) { open.append(opened) }
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
          if case .block(_, let entry) = open[source].body { store.quarantine(entry, error) }
        }
      }
      remaining -= picked.count
      open.removeAll { $0.head == nil }
      step.scanned = before - budget
      return step
    }

    private mutating func opened(_ source: QuerySource) throws -> OpenSource? {
      switch source.body {
      case .memtable(let table):
        let found = MemtableSearch(table, query, scope: scope).run(
          after: query.after, matches: remaining, budget: budget)
        budget -= found.scanned
        isCut = isCut || found.isCut
        return OpenSource(body: .memtable(table), rows: found.rows)
      case .block(let entry):
        guard store.mayHold(entry, probes), let block = store.block(entry) else { return nil }
        do throws(BlockFault) {
          return OpenSource(body: .block(block, entry), rows: try rows(block))
        } catch {
          store.quarantine(entry, error)
          return nil
        }
      }
    }

    private mutating func rows(_ block: Block) throws(BlockFault) -> [(LogPosition, Int)] {
      let (found, looked) = try store.search(block, query, scope: scope, budget: budget)
      isCut = isCut || looked > budget
      budget -= min(looked, budget)
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
  /// The records of a block that match, of the newest `budget` that had to be looked at; and how many those would be
  /// without that bound.
  func search(
    _ block: Block, _ query: LogQuery, scope: LogScope, budget: Int
  ) throws(BlockFault) -> (RowSet, Int) {
    let search = try BlockSearch(block)
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
    let looked = candidates.count
    if looked > budget {
      var rows: [(LogPosition, Int)] = []
      try candidates.forEach { row throws(BlockFault) in rows.append((try block.position(row), row)) }
      rows.sort { $0.0 > $1.0 }
      candidates = RowSet(rows: block.rowCount)
      for (_, row) in rows.prefix(budget) { candidates.insert(row) }
    }
    return (try search.matches(query.filter, candidates), looked)
  }
}
