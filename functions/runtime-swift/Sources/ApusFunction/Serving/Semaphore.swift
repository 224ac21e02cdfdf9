import Glibc

// SAFETY: the only stored property is a pointer to a sem_t, whose functions may be called from any thread.
/// A counting semaphore of the C library, on which a thread without anything to do sleeps.
package final class Semaphore: @unchecked Sendable {
  private let pointer = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

  /// With nothing to take, or so many.
  package init(_ count: UInt32 = 0) { sem_init(pointer, 0, count) }

  deinit {
    sem_destroy(pointer)
    pointer.deallocate()
  }

  /// Gives one.
  package func post() { sem_post(pointer) }

  /// Takes one; sleeps until there is one.
  package func wait() { while sem_wait(pointer) != 0, errno == EINTR {} }

  /// Takes one if there is one within so many milliseconds.
  package func wait(milliseconds: Int) -> Bool {
    var end = timespec()
    clock_gettime(CLOCK_REALTIME, &end)
    let nanoseconds = end.tv_nsec + milliseconds % 1000 * 1_000_000
    end.tv_sec += milliseconds / 1000 + nanoseconds / 1_000_000_000
    end.tv_nsec = nanoseconds % 1_000_000_000
    while sem_timedwait(pointer, &end) != 0 { if errno != EINTR { return false } }
    return true
  }
}
