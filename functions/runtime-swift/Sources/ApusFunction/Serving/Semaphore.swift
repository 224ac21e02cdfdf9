import Glibc

/// A counting semaphore of the C library, on which a thread without anything to do sleeps.
// SAFETY: the only stored property is a pointer to a sem_t, whose functions may be called from any thread.
final class Semaphore: @unchecked Sendable {
  private let pointer = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

  init() { sem_init(pointer, 0, 0) }

  deinit {
    sem_destroy(pointer)
    pointer.deallocate()
  }

  func post() { sem_post(pointer) }

  func wait() { while sem_wait(pointer) != 0, errno == EINTR {} }
}
