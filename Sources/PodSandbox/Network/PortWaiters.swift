import CLinux
import Glibc

/// Those who wait until something listens on a port inside a pod, each with the one socket it asks with. Belongs to the
/// forwarder's thread.
struct PortWaiters {
  typealias Continuation = CheckedContinuation<Result<CInt, PortForwarder.Failure>, Never>

  private struct Waiter {
    /// Keeps the pod's process descriptor open.
    var sandbox: Sandbox
    var port: UInt16
    var patience: PortPatience
    /// -1 until it could be made.
    var fd: CInt
    var begun: UInt64
    var next: UInt64
    var continuation: Continuation
  }

  private var waiters: [UInt64: Waiter] = [:]

  /// When the next is to be asked, nanoseconds of the monotonic clock; nil when nobody waits.
  var next: UInt64? { waiters.values.map(\.next).min() }

  /// One more, under an id of its own.
  mutating func add(
    _ id: UInt64, _ sandbox: Sandbox, _ port: UInt16, _ patience: PortPatience, now: UInt64,
    _ continuation: Continuation
  ) {
    waiters[id] = Waiter(
      sandbox: sandbox, port: port, patience: patience, fd: -1, begun: now,
      next: now + patience.pause(after: 0, waiting: waiters.count + 1), continuation: continuation)
  }

  /// Asks all whose time has come; `home` is the thread's own network namespace.
  mutating func ask(now: UInt64, home: CInt) {
    for (id, var waiter) in waiters where waiter.next <= now {
      // A pod that is gone is like one where nothing listens: who waits for it is told of its end, and gives up.
      if waiter.fd < 0 { waiter.fd = apus_netns_socket(waiter.sandbox.pidfd, home) }
      if waiter.fd >= 0, apus_loopback_ask(waiter.fd, waiter.port) == 1 {
        waiters[id] = nil
        waiter.continuation.resume(returning: .success(waiter.fd))
      } else {
        waiter.next = now + waiter.patience.pause(after: now - waiter.begun, waiting: waiters.count)
        waiters[id] = waiter
      }
    }
  }

  /// Ends the wait of one, if it still waits.
  mutating func end(_ id: UInt64, _ failure: PortForwarder.Failure) {
    guard let waiter = waiters.removeValue(forKey: id) else { return }
    if waiter.fd >= 0 { close(waiter.fd) }
    waiter.continuation.resume(returning: .failure(failure))
  }

  /// Ends every wait.
  mutating func endAll(_ failure: PortForwarder.Failure) { for id in Array(waiters.keys) { end(id, failure) } }
}
