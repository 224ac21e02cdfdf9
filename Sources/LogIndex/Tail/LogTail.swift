/// What a live tail gives its reader.
package enum LogTailEvent: Sendable, Equatable {
  /// A record that was appended and matches.
  case record(LogEntry)
  /// So many records that the reader was too slow for were dropped here. They may include some that do not match,
  /// when the tails as a whole fell behind.
  case dropped(Int)
}

/// The matching records as they are appended, in that order, from the moment this was made. For one reader; ends when
/// the store closes or the reader's task is cancelled, and unsubscribes when it is released.
package final class LogTail: AsyncSequence, Sendable {
  /// A record, or how many were dropped.
  package typealias Element = LogTailEvent
  /// It never fails.
  package typealias Failure = Never

  private let buffer: TailBuffer
  private let hub: TailHub

  init(buffer: TailBuffer, hub: TailHub) {
    self.buffer = buffer
    self.hub = hub
  }

  deinit { hub.remove(buffer.id) }

  /// Reads the events one after another.
  package struct Iterator: AsyncIteratorProtocol {
    let tail: LogTail

    /// The next event, or nil at the end.
    package mutating func next() async -> LogTailEvent? { await tail.buffer.next() }

    /// The next event, or nil at the end.
    package mutating func next(isolation actor: isolated (any Actor)?) async -> LogTailEvent? {
      await tail.buffer.next()
    }
  }

  /// The one reader's iterator.
  package func makeAsyncIterator() -> Iterator { Iterator(tail: self) }
}

extension LogStore {
  /// Subscribes to matching records from now on; nil when there are too many tails, or the store is closed. Limit and
  /// statistics of the query have no meaning here.
  package func tail(_ query: LogQuery, scope: LogScope) -> LogTail? {
    hub.subscribe(query, scope: scope).map { LogTail(buffer: $0, hub: hub) }
  }
}
