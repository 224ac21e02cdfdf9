internal import Foundation

/// Files that only their owner may read, written whole or not at all.
enum PrivateFile {
  /// Writes a temporary file (mode 0600) beside `path`, syncs it, renames it over `path` and syncs the folder.
  static func write(_ bytes: [UInt8], to path: String) throws {
    let folder = (path as NSString).deletingLastPathComponent
    let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
    let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw failure("create", temporary) }
    var written = 0
    var fault: (any Error)?
    while written < bytes.count, fault == nil {
      let count = bytes[written...].withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
      if count < 0 { fault = failure("write", temporary) } else { written += count }
    }
    if fault == nil, fsync(file) != 0 { fault = failure("sync", temporary) }
    close(file)
    if fault == nil, rename(temporary, path) != 0 { fault = failure("rename", temporary) }
    if let fault {
      unlink(temporary)
      throw fault
    }
    let directory = open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { return }
    fsync(directory)
    close(directory)
  }

  private static func failure(_ what: String, _ path: String) -> CredentialError {
    CredentialError(description: "cannot \(what) \(path): \(String(cString: strerror(errno)))")
  }
}
