import CLinux
import ClusterModel
import Glibc

/// A thread of its own that ticks every `Limits.heartbeat`, so that a busy node is not taken for a dead one. It only
/// sets flags: no work, no waiting for anybody.
final class Heartbeat: Sendable {
  private let wake: CInt
  private let thread: DedicatedThread

  /// Starts ticking; `tick` gets the number of the tick, from 1.
  init(every milliseconds: Int64 = Limits.heartbeat, _ tick: @escaping @Sendable (_ number: UInt64) -> Void)
    throws(WorkerError)
  {
    let wake = apus_wake_create()
    guard wake >= 0 else { throw .errno("making the heartbeat's wake-up") }
    self.wake = wake
    thread = DedicatedThread(name: "apus-heartbeat") {
      var number: UInt64 = 0
      while apus_wait_readable(wake, CInt(clamping: milliseconds)) == 0 {
        number += 1
        tick(number)
      }
    }
  }

  /// Ends the thread.
  func stop() {
    _ = apus_wake(wake)
    thread.join()
  }

  deinit { close(wake) }
}
