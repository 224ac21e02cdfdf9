internal import Foundation

/// Files that only their owner may read, written whole or not at all.
package enum PrivateFile {
  /// Writes a temporary file (mode 0600) beside `path`, syncs it, renames it over `path` and syncs the folder.
  package static func write(_ bytes: [UInt8], to path: String) throws(FileError) {
    let folder = (path as NSString).deletingLastPathComponent
    let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
    let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw FileError("create", temporary) }
    var written = 0
    var fault: FileError?
    while written < bytes.count, fault == nil {
      let count = bytes[written...].withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
      if count < 0 { fault = FileError("write", temporary) } else { written += count }
    }
    if fault == nil, fsync(file) != 0 { fault = FileError("sync", temporary) }
    close(file)
    if fault == nil, rename(temporary, path) != 0 { fault = FileError("rename", temporary) }
    if let fault {
      unlink(temporary)
      throw fault
    }
    let directory = open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { return }
    fsync(directory)
    close(directory)
  }

  /// The text of a file; nil when there is none.
  package static func read(_ path: String) throws(FileError) -> String? {
    guard access(path, F_OK) == 0 else { return nil }
    do {
      return try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw FileError("read", path)
    }
  }
}

/// Something with a file did not work; `description` says what and where.
package struct FileError: Error, CustomStringConvertible {
  /// The explanation.
  package let description: String

  init(_ what: String, _ path: String) {
    description = "cannot \(what) \(path): \(String(cString: strerror(errno)).lowercased())"
  }
}
