import Foundation

/// Threads of our own for calls that block or that change the calling thread's namespaces: never a pool's thread.
enum DedicatedThread {
  /// Runs `body` on a new thread that ends with it.
  static func start(name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.start()
  }

  /// Nanoseconds of the monotonic clock, the one the spawner reads too.
  static func monotonicNs() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
  }
}
