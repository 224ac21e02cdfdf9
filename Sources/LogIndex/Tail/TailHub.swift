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

  /// Whether anyone would see what is published.
  var isListening: Bool { state.withLock { !$0.tails.isEmpty } }

  func publish(_ records: [TailRecord]) {
    guard !records.isEmpty else { return }
    let (isTaken, tails) = state.withLock { state -> (Bool, [TailBuffer]) in
      if state.tails.isEmpty { return (false, []) }
      if state.backlog + records.count > max(options.tailRecordsMaximum * 4, records.count) {
        state.dropped += Int64(records.count)
        return (false, Array(state.tails.values))
      }
      state.backlog += records.count
      return (true, [])
    }
    guard isTaken else {
      for tail in tails { tail.missed(records.count) }
      return
    }
    work.async { [self] in deliver(records) }
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

  private func deliver(_ records: [TailRecord]) {
    let tails = state.withLock { state in
      state.backlog -= records.count
      return Array(state.tails.values)
    }
    var dropped = 0
    for tail in tails { dropped += tail.offer(records) }
    if dropped > 0 { state.withLock { $0.dropped += Int64(dropped) } }
  }
}
