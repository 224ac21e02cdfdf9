/// A stream that ends by itself after a while.
package enum TimedStream {
  /// Elements that may wait for a slow reader; one more ends the stream.
  package static let waitingMax = 8192

  /// The elements of `source` for at most `duration`; the end of the time is a clean end.
  package static func limit<Element: Sendable>(
    _ source: AsyncThrowingStream<Element, any Error>, to duration: Duration
  ) -> AsyncThrowingStream<Element, any Error> {
    let (stream, sink) = AsyncThrowingStream<Element, any Error>.makeStream(
      bufferingPolicy: .bufferingOldest(waitingMax))
    let pump = Task {
      await withTaskGroup { group in
        group.addTask {
          do {
            for try await element in source {
              if case .dropped = sink.yield(element) { break }
            }
            sink.finish()
          } catch {
            sink.finish(throwing: error)
          }
        }
        group.addTask { try? await Task.sleep(for: duration) }
        await group.next()
        sink.finish()
        group.cancelAll()
      }
    }
    sink.onTermination = { _ in pump.cancel() }
    return stream
  }
}
