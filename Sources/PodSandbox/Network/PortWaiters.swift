import CLinux
import Glibc
import HeapModule

/// Those who wait until something listens on a port inside a pod, each with the one socket it asks with. Belongs to the
/// forwarder's thread.
struct PortWaiters {
  typealias Continuation = CheckedContinuation<Result<CInt, PortForwarder.Failure>, Never>

  /// Shared by the two collections below: hundreds wait in a burst, and each is looked at often.
  private final class Waiter {
    /// Keeps the pod's process descriptor open.
    let sandbox: Sandbox
    let port: UInt16
    let patience: PortPatience
    /// Nanoseconds of the monotonic clock.
    let begun: UInt64
    let continuation: Continuation
    /// -1 until it could be made.
    var fd: CInt = -1
    /// How often it was passed over since it was asked.
    var passedOver = 0
    var waits = true

    init(
      _ sandbox: Sandbox, _ port: UInt16, _ patience: PortPatience, begun: UInt64, _ continuation: Continuation
    ) {
      self.sandbox = sandbox
      self.port = port
      self.patience = patience
      self.begun = begun
      self.continuation = continuation
    }

    /// Whether something listens. In a burst many pods wait for a processor before their command begins, and what has not
    /// begun does not listen: such a one is passed over. That it began is heard late now and then, so it is asked all the
    /// same after a while.
    func listens(waiting: Int, home: CInt) -> Bool {
      if patience.mayPassOver(passedOver, waiting: waiting), sandbox.ranNs == nil {
        passedOver += 1
        return false
      }
      passedOver = 0
      // A pod that is gone is like one where nothing listens: who waits for it is told of its end, and gives up.
      if fd < 0 { fd = apus_netns_socket(sandbox.pidfd, home) }
      return fd >= 0 && apus_loopback_ask(fd, port) == 1
    }
  }

  /// When one is to be asked.
  private struct Turn: Comparable {
    var at: UInt64
    var id: UInt64
    var waiter: Waiter

    static func < (one: Turn, other: Turn) -> Bool { (one.at, one.id) < (other.at, other.id) }
    static func == (one: Turn, other: Turn) -> Bool { (one.at, one.id) == (other.at, other.id) }
  }

  private var waiters: [UInt64: Waiter] = [:]
  /// One for each that waits, and what is left of those that wait no more.
  private var turns = Heap<Turn>()

  /// When the next is to be asked, nanoseconds of the monotonic clock; nil when nobody waits.
  var next: UInt64? { turns.min?.at }

  /// One more, under an id of its own.
  mutating func add(
    _ id: UInt64, _ sandbox: Sandbox, _ port: UInt16, _ patience: PortPatience, now: UInt64,
    _ continuation: Continuation
  ) {
    let waiter = Waiter(sandbox, port, patience, begun: now, continuation)
    waiters[id] = waiter
    turns.insert(Turn(at: patience.next(now: now, begun: now, waiting: waiters.count), id: id, waiter: waiter))
  }

  /// Asks all whose time has come; `home` is the thread's own network namespace.
  mutating func ask(now: UInt64, home: CInt) {
    while var turn = turns.min, turn.at <= now {
      let waiter = turn.waiter
      if waiter.waits, waiter.listens(waiting: waiters.count, home: home) {
        waiter.waits = false
        waiters[turn.id] = nil
        waiter.continuation.resume(returning: .success(waiter.fd))
      }
      if waiter.waits {
        turn.at = waiter.patience.next(now: now, begun: waiter.begun, waiting: waiters.count)
        turns.replaceMin(with: turn)
      } else {
        turns.removeMin()
      }
    }
  }

  /// Ends the wait of one, if it still waits.
  mutating func end(_ id: UInt64, _ failure: PortForwarder.Failure) {
    guard let waiter = waiters.removeValue(forKey: id) else { return }
    waiter.waits = false
    if waiter.fd >= 0 { close(waiter.fd) }
    waiter.continuation.resume(returning: .failure(failure))
  }

  /// Ends every wait.
  mutating func endAll(_ failure: PortForwarder.Failure) { for id in Array(waiters.keys) { end(id, failure) } }
}
