/// A stream that ends by itself after a while.
package enum TimedStream {
  /// The elements of `source`, asked for one by one as they are read, for at most `duration`; the end of the time is a clean
  /// end.
  package static func limit<Element: Sendable>(
    _ source: AsyncThrowingStream<Element, any Error>, to duration: Duration
  ) -> AsyncThrowingStream<Element, any Error> {
    let reader = Reader(source.makeAsyncIterator())
    let deadline = ContinuousClock.now + duration
    return AsyncThrowingStream {
      try await withThrowingTaskGroup(of: Element?.self) { group in
        group.addTask { try await reader.next() }
        group.addTask {
          try await Task.sleep(until: deadline, clock: .continuous)
          return nil
        }
        defer { group.cancelAll() }
        return try await group.next() ?? nil
      }
    }
  }

  // SAFETY: has one reader, the stream that owns it, which asks for one element at a time.
  private final class Reader<Element: Sendable>: @unchecked Sendable {
    private var iterator: AsyncThrowingStream<Element, any Error>.Iterator

    init(_ iterator: AsyncThrowingStream<Element, any Error>.Iterator) { self.iterator = iterator }

    func next() async throws -> Element? { try await iterator.next() }
  }
}
