import CLinux
import Glibc

/// One open descriptor, closed with its last reference; every failure names what was being done to which path.
final class SystemFile {
  let descriptor: Int32
  let path: String

  /// Opens a path the caller trusts; the last component is never followed if it is a link.
  init(path: String, flags: Int32, mode: mode_t = 0) throws(ArchiveError) {
    self.path = path
    descriptor = open(path, flags | O_CLOEXEC | O_NOFOLLOW, mode)
    if descriptor < 0 { throw Self.error(path, "opening") }
  }

  /// Takes over an open descriptor.
  init(descriptor: Int32, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  /// Opens a checked name below a folder; the kernel refuses to leave it or to follow any link.
  init(in folder: SystemFile, _ name: EntryPath, flags: Int32, mode: mode_t = 0) throws(ArchiveError) {
    path = "\(folder.path)/\(name.text)"
    descriptor = apus_openat2(folder.descriptor, name.text, flags, mode)
    if descriptor < 0 {
      switch errno {
      case EXDEV: throw .refused(path: name.text, .outside)
      case ELOOP: throw .refused(path: name.text, .throughLink)
      default: throw Self.error(path, "opening")
      }
    }
  }

  deinit { close(descriptor) }

  func status() throws(ArchiveError) -> stat {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.error(path, "looking at") }
    return status
  }

  /// Reads up to `buffer.count` bytes to its front; 0 at the end.
  func read(into buffer: inout [UInt8]) throws(ArchiveError) -> Int {
    while true {
      let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 { return count }
      if errno != EINTR { throw Self.error(path, "reading") }
    }
  }

  func write(_ bytes: ArraySlice<UInt8>) throws(ArchiveError) {
    var rest = bytes
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno != EINTR {
        throw Self.error(path, "writing")
      }
    }
  }

  func setMode(_ mode: mode_t) throws(ArchiveError) {
    guard fchmod(descriptor, mode) == 0 else { throw Self.error(path, "setting the mode of") }
  }

  func sync() throws(ArchiveError) {
    guard fsync(descriptor) == 0 else { throw Self.error(path, "syncing") }
  }

  /// The error for the current `errno`.
  static func error(_ path: String, _ doing: String) -> ArchiveError {
    errno == ENOSPC || errno == EDQUOT ? .diskFull(path: path) : .system(path: path, doing: doing, code: errno)
  }

  static func text(of code: Int32) -> String { String(cString: strerror(code)) }

  /// The folder a path lies in and its last component.
  static func split(_ path: String) -> (folder: String, name: String) {
    let parts = path.split(separator: "/", omittingEmptySubsequences: true)
    let name = parts.last.map(String.init) ?? ""
    let folder = parts.dropLast().joined(separator: "/")
    return ((path.hasPrefix("/") ? "/" : "") + (folder.isEmpty && !path.hasPrefix("/") ? "." : folder), name)
  }

  /// Removes a file or a folder with all it holds, sealed folders too; what is not there is no error.
  static func removeTree(_ path: String) throws(ArchiveError) {
    if unlink(path) == 0 || errno == ENOENT { return }
    guard errno == EISDIR || errno == EPERM else { throw error(path, "removing") }
    try removeFolder(path)
  }

  private static func removeFolder(_ path: String) throws(ArchiveError) {
    let folder = try SystemFile(path: path, flags: O_RDONLY | O_DIRECTORY)
    try folder.setMode(0o700)
    for entry in try FolderListing.entries(of: folder) {
      let inner = path + "/" + String(decoding: entry, as: UTF8.self)
      if unlinkat(folder.descriptor, inner.lastName, 0) == 0 { continue }
      guard errno == EISDIR || errno == EPERM else { throw error(inner, "removing") }
      try removeFolder(inner)
    }
    guard rmdir(path) == 0 else { throw error(path, "removing") }
  }
}

extension String {
  fileprivate var lastName: String { split(separator: "/").last.map(String.init) ?? self }
}

/// The names in a folder.
enum FolderListing {
  /// The names in an open folder but `.` and `..`, as bytes, in byte order.
  static func entries(of folder: SystemFile) throws(ArchiveError) -> [[UInt8]] {
    let copy = openat(folder.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard copy >= 0 else { throw SystemFile.error(folder.path, "listing") }
    guard let stream = fdopendir(copy) else {
      close(copy)
      throw SystemFile.error(folder.path, "listing")
    }
    defer { closedir(stream) }
    var names: [[UInt8]] = []
    while true {
      errno = 0
      guard let entry = readdir(stream) else {
        if errno != 0 { throw SystemFile.error(folder.path, "listing") }
        break
      }
      let name = withUnsafeBytes(of: entry.pointee.d_name) { raw in Array(raw.prefix { $0 != 0 }) }
      if !name.elementsEqual(".".utf8), !name.elementsEqual("..".utf8) { names.append(name) }
    }
    return names.sorted { $0.lexicographicallyPrecedes($1) }
  }
}
