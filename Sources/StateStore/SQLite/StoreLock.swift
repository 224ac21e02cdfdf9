import Glibc
import Synchronization

/// An advisory lock beside the database: the store counts revisions in memory, so it must be alone with its file.
/// The kernel gives it up with the process.
final class StoreLock: Sendable {
  private let descriptor: Mutex<Int32?>

  init(path: String) throws(StoreError) {
    let lockPath = path + ".lock"
    let descriptor = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw errno == ENOSPC ? .full(path: path) : .backend("opening \(lockPath): \(String(cString: strerror(errno)))")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw .inUse(path: path)
    }
    self.descriptor = Mutex(descriptor)
  }

  deinit { release() }

  func release() {
    let held = descriptor.withLock { descriptor in
      defer { descriptor = nil }
      return descriptor
    }
    guard let held else { return }
    // Given up and not only closed: a child that was forked and has executed nothing yet would still hold it.
    _ = flock(held, LOCK_UN)
    close(held)
  }
}
