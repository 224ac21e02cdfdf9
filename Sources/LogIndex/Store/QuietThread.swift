internal import Dispatch
internal import Foundation
internal import Glibc
internal import Synchronization

/// Does jobs one after another on a thread that gives way to all others when processors are short: making a block must not
/// delay the lines that arrive meanwhile.
///
/// A thread of its own, because a thread cannot get its rank back without a privilege. It ends with the last reference,
/// after the jobs it was given.
final class QuietThread: Sendable {
  /// What is added to the thread's nice value.
  private static let nice: CInt = 5

  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var isEnding = false
  }

  /// What the thread itself holds on to.
  private final class Queue: Sendable {
    let state = Mutex(State())
    let wake = DispatchSemaphore(value: 0)

    func run() {
      while true {
        wake.wait()
        let (job, isOver) = state.withLock { state -> ((@Sendable () -> Void)?, Bool) in
          if state.jobs.isEmpty { return (nil, state.isEnding) }
          return (state.jobs.removeFirst(), false)
        }
        if isOver { return }
        job?()
      }
    }
  }

  private let queue = Queue()

  init(name: String) {
    let thread = Thread { [queue] in
      // Its rank is what it may lose at most: without it the work is done all the same.
      _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Self.nice)
      queue.run()
    }
    thread.name = name
    thread.start()
  }

  deinit {
    queue.state.withLock { $0.isEnding = true }
    queue.wake.signal()
  }

  /// Does a job after those before it.
  func async(_ job: @escaping @Sendable () -> Void) {
    queue.state.withLock { $0.jobs.append(job) }
    queue.wake.signal()
  }

  /// Waits until all jobs so far are done.
  func wait() {
    let done = DispatchSemaphore(value: 0)
    async { done.signal() }
    done.wait()
  }
}
