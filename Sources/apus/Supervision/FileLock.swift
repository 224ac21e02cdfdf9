import Glibc

/// An exclusive lock on a file, held until the process ends or `release()`; a dead holder's lock is free by itself.
final class FileLock: Sendable {
  private let descriptor: Int32
  /// The file.
  let path: String

  /// Takes the lock, or answers nil when another process holds it.
  init?(_ path: String) throws {
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    self.path = path
    guard descriptor >= 0 else { throw SystemFailure(path, errno) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      close(descriptor)
      if code == EWOULDBLOCK { return nil }
      throw SystemFailure(path, code)
    }
  }

  deinit { close(descriptor) }
}
