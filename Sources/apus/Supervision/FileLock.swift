import Glibc

/// An exclusive lock on a file, held until its last holder lets go or ends; a dead holder's lock is free by itself.
final class FileLock: Sendable {
  /// The open file, which has the lock: a process that is handed it has it, too.
  let descriptor: Descriptor
  /// The file.
  let path: String

  /// Takes the lock, or answers nil when another process holds it.
  init?(_ path: String) throws {
    let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    self.path = path
    descriptor = Descriptor(number)
    guard number >= 0 else { throw SystemFailure(path, errno) }
    guard flock(number, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      if code == EWOULDBLOCK { return nil }
      throw SystemFailure(path, code)
    }
  }
}
