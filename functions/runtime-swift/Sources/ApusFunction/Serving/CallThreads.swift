import Glibc
import Synchronization

/// Threads that each run one call at a time. A thread stays when its call has ended and takes the next one.
package final class CallThreads: Sendable {
  /// What a thread does.
  package typealias Work = @Sendable () -> Void

  private struct State {
    var waiting: [Work] = []
    var idle = 0
  }

  private static let stackBytes = 1024 * 1024
  private let state = Mutex(State())
  private let signal = Semaphore()

  /// No threads yet.
  package init() {}

  /// Runs work on an idle thread or a new one; false when the system gives no thread.
  package func start(_ work: @escaping Work) -> Bool {
    let taken = state.withLock { state in
      guard state.idle > 0 else { return false }
      state.idle -= 1
      state.waiting.append(work)
      return true
    }
    if !taken {
      guard spawn() else { return false }
      state.withLock { $0.waiting.append(work) }
    }
    signal.post()
    return true
  }

  private func spawn() -> Bool {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, Self.stackBytes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    var thread = pthread_t()
    let context = Unmanaged.passRetained(self)
    let failed = pthread_create(
      &thread, &attributes,
      { raw in
        guard let raw else { return nil }
        Unmanaged<CallThreads>.fromOpaque(raw).takeRetainedValue().loop()
        return nil
      }, context.toOpaque())
    if failed != 0 { context.release() }
    return failed == 0
  }

  private func loop() {
    while true {
      signal.wait()
      let work = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
      work?()
      state.withLock { $0.idle += 1 }
    }
  }
}
