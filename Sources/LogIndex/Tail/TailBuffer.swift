internal import Synchronization

/// What one live tail holds for its reader: bounded in records and bytes, for one reader at a time.
final class TailBuffer: Sendable {
  private struct State {
    var waiting: [LogEntry] = []
    var head = 0
    var bytes = 0
    var dropped = 0
    var isClosed = false
    var reader: CheckedContinuation<LogTailEvent?, Never>?

    /// The next event: what was dropped is told after what was kept before it.
    mutating func pop() -> LogTailEvent? {
      if head < waiting.count {
        let entry = waiting[head]
        head += 1
        bytes -= entry.bytes.count
        if head == waiting.count || head >= 1_024 {
          waiting.removeFirst(head)
          head = 0
        }
        return .record(entry)
      }
      guard dropped > 0 else { return nil }
      defer { dropped = 0 }
      return .dropped(dropped)
    }
  }

  let id: Int
  /// What a record must have to be offered.
  let screen: TailScreen
  private let query: LogQuery
  private let scope: LogScope
  private let projection: LogProjection?
  private let recordsMaximum: Int
  private let bytesMaximum: Int
  private let state = Mutex(State())

  init(id: Int, query: LogQuery, scope: LogScope, recordsMaximum: Int, bytesMaximum: Int) {
    self.id = id
    screen = TailScreen(query, scope: scope)
    self.query = query
    self.scope = scope
    self.projection = query.fields.map { LogProjection(fields: $0) }
    self.recordsMaximum = recordsMaximum
    self.bytesMaximum = bytesMaximum
  }

  /// Keeps the records that match, as far as there is room; answers how many there was no room for.
  func offer(_ records: [TailRecord]) -> Int {
    let entries = records.filter { query.matches($0.record, scope: scope) }.map { item in
      LogEntry(
        position: LogPosition(time: item.record.time, id: item.id),
        bytes: projection?.apply(item.record) ?? item.record.bytes)
    }
    if entries.isEmpty { return 0 }
    let (dropped, wake) = state.withLock { state -> (Int, Wake?) in
      var dropped = 0
      for entry in entries {
        // Once something was dropped nothing is kept until the reader has been told, so that the order stays true.
        if state.dropped > 0 || state.waiting.count - state.head >= recordsMaximum
          || (state.bytes + entry.bytes.count > bytesMaximum && state.head < state.waiting.count)
        {
          state.dropped += 1
          dropped += 1
        } else {
          state.waiting.append(entry)
          state.bytes += entry.bytes.count
        }
      }
      return (dropped, Self.wake(&state))
    }
    wake?.resume()
    return dropped
  }

  /// Counts records that never came here.
  func missed(_ count: Int) {
    let wake = state.withLock { state in
      state.dropped += count
      return Self.wake(&state)
    }
    wake?.resume()
  }

  func close() {
    let reader = state.withLock { state in
      state.isClosed = true
      defer { state.reader = nil }
      return state.reader
    }
    reader?.resume(returning: nil)
  }

  /// The next event; nil when the tail is closed and empty, or the reader's task was cancelled.
  func next() async -> LogTailEvent? {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let (now, previous) = state.withLock { state -> (LogTailEvent??, CheckedContinuation<LogTailEvent?, Never>?) in
          if let event = state.pop() { return (event, nil) }
          if state.isClosed || Task.isCancelled { return (.some(nil), nil) }
          defer { state.reader = continuation }
          return (nil, state.reader)
        }
        previous?.resume(returning: nil)
        if let now { continuation.resume(returning: now) }
      }
    } onCancel: {
      let reader = state.withLock { state in
        defer { state.reader = nil }
        return state.reader
      }
      reader?.resume(returning: nil)
    }
  }

  private struct Wake {
    var reader: CheckedContinuation<LogTailEvent?, Never>
    var event: LogTailEvent

    func resume() { reader.resume(returning: event) }
  }

  private static func wake(_ state: inout State) -> Wake? {
    guard let reader = state.reader, let event = state.pop() else { return nil }
    state.reader = nil
    return Wake(reader: reader, event: event)
  }
}
