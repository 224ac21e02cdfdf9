import Synchronization

/// What changed for one watcher since it looked last, each object once: as much as there are objects, however slow it is.
final class SoftChanges: Sendable {
  /// An element when `take` has something.
  let signals: AsyncStream<Void>
  private let signal: AsyncStream<Void>.Continuation
  private let paths = Mutex<Set<String>>([])

  init() { (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1)) }

  /// Notes that the object at a path (`PLURAL/NAMESPACE/NAME`) changed.
  func note(_ path: String) {
    let isFirst = paths.withLock { paths in
      defer { paths.insert(path) }
      return paths.isEmpty
    }
    if isFirst { signal.yield() }
  }

  /// The paths noted since the last time.
  func take() -> Set<String> {
    paths.withLock { paths in
      defer { paths = [] }
      return paths
    }
  }

  /// Nobody waits any more; who is never asked for signals must be told so.
  func end() { signal.finish() }

  /// Calls something once nobody waits for signals any more.
  func whenEnded(_ body: @escaping @Sendable () -> Void) { signal.onTermination = { _ in body() } }
}
