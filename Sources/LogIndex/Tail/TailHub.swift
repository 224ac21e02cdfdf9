internal import Dispatch
internal import Synchronization

/// A record on its way to the live tails.
struct TailRecord: Sendable {
  var id: Int64
  var record: IndexedRecord
}

/// Hands new records to the live tails on a queue of its own: what it cannot keep up with is dropped and counted, the
/// writer never waits.
final class TailHub: Sendable {
  private struct State {
    var tails: [Int: TailBuffer] = [:]
    var nextID = 0
    var dropped: Int64 = 0
    /// Records handed over and not yet matched.
    var backlog = 0
    var isClosed = false
  }

  private let state = Mutex(State())
  private let work = DispatchQueue(label: "LogIndex.tails")
  private let options: LogIndexOptions

  init(_ options: LogIndexOptions) { self.options = options }

  func subscribe(_ query: LogQuery, scope: LogScope) -> TailBuffer? {
    state.withLock { state in
      guard !state.isClosed, state.tails.count < options.tailsMaximum else { return nil }
      let buffer = TailBuffer(
        id: state.nextID, query: query, scope: scope, recordsMaximum: options.tailRecordsMaximum,
        bytesMaximum: options.tailBytesMaximum)
      state.nextID += 1
      state.tails[buffer.id] = buffer
      return buffer
    }
  }

  func remove(_ id: Int) {
    state.withLock { _ = $0.tails.removeValue(forKey: id) }
  }

  /// Hands over new records of a memtable that can be read by now; they are read beside the writer.
  func publish(_ table: Memtable, rows: Range<Int>) {
    guard !rows.isEmpty else { return }
    let (isTaken, tails) = state.withLock { state -> (Bool, [TailBuffer]) in
      if state.tails.isEmpty { return (false, []) }
      if state.backlog + rows.count > max(options.tailRecordsMaximum * 4, rows.count) {
        state.dropped += Int64(rows.count)
        return (false, Array(state.tails.values))
      }
      state.backlog += rows.count
      return (true, [])
    }
    guard isTaken else {
      for tail in tails { tail.missed(rows.count) }
      return
    }
    work.async { [self] in deliver(table, rows) }
  }

  func close() {
    let tails = state.withLock { state in
      state.isClosed = true
      defer { state.tails = [:] }
      return Array(state.tails.values)
    }
    for tail in tails { tail.close() }
  }

  func figures() -> (count: Int, dropped: Int64) {
    state.withLock { ($0.tails.count, $0.dropped) }
  }

  private func deliver(_ table: Memtable, _ rows: Range<Int>) {
    let tails = state.withLock { state in
      state.backlog -= rows.count
      return Array(state.tails.values)
    }
    var dropped = 0
    // A record is decoded when the first tail may want it, once for all of them.
    var decoded: [Int: IndexedRecord] = [:]
    for tail in tails {
      var records: [TailRecord] = []
      for row in rows where tail.screen.mayMatch(table.row(row), of: table) {
        guard let record = decoded[row] ?? (try? IndexedRecord(table.bytes(row))) else { continue }
        if tails.count > 1 { decoded[row] = record }
        records.append(TailRecord(id: table.id(row), record: record))
      }
      if !records.isEmpty { dropped += tail.offer(records) }
    }
    if dropped > 0 { state.withLock { $0.dropped += Int64(dropped) } }
  }
}
