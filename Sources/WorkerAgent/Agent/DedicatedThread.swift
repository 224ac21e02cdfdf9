import Dispatch
import Foundation

/// An operating system thread of our own, for work that must not wait for Swift's shared threads.
final class DedicatedThread: Sendable {
  private let ended = DispatchSemaphore(value: 0)

  /// Starts the thread.
  init(name: String, _ run: @escaping @Sendable () -> Void) {
    let ended = ended
    let thread = Thread {
      run()
      ended.signal()
    }
    thread.name = name
    thread.start()
  }

  /// Waits for its end; blocks, so call it only where its end is near, and once.
  func join() { ended.wait() }
}
