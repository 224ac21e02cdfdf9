import CLinux
import Glibc

/// The plain descriptor calls this target needs.
enum Descriptors {
  /// A pipe, close-on-exec; the read end does not block, the write end (a pod's) does.
  static func pipe() throws(WorkerError) -> (read: CInt, write: CInt) {
    var ends: [CInt] = [-1, -1]
    guard apus_pipe(&ends) == 0 else { throw .errno("making a pipe") }
    _ = fcntl(ends[0], F_SETFL, fcntl(ends[0], F_GETFL) | O_NONBLOCK)
    return (ends[0], ends[1])
  }

  /// A unix socket listening at a path, close-on-exec, for the owner and root only. What stood there is removed.
  static func listen(at path: String, owner: uid_t? = nil, backlog: CInt = 1024) throws(WorkerError) -> CInt {
    let fd = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { throw .errno("making a socket for \(path)") }
    do throws(WorkerError) {
      try bind(fd, to: path)
      guard chmod(path, 0o600) == 0 else { throw .errno("setting the mode of \(path)") }
      if let owner, chown(path, owner, owner) != 0 { throw .errno("setting the owner of \(path)") }
      guard Glibc.listen(fd, backlog) == 0 else { throw .errno("listening on \(path)") }
    } catch {
      close(fd)
      throw error
    }
    return fd
  }

  private static func bind(_ fd: CInt, to path: String) throws(WorkerError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let fits = withUnsafeMutableBytes(of: &address.sun_path) { room in
      guard path.utf8.count < room.count else { return false }
      room.copyBytes(from: path.utf8)
      return true
    }
    guard fits else { throw .failed("the socket path \(path) is longer than 107 bytes: use a shorter run directory") }
    unlink(path)
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.bind(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0 else { throw .errno("binding \(path)") }
  }

  /// Makes a folder and its parents.
  static func makeFolder(_ path: String, mode: mode_t = 0o755) throws(WorkerError) {
    var made = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
      made += "/\(part)"
      if mkdir(made, mode) != 0, errno != EEXIST { throw .errno("making the folder \(made)") }
    }
  }

  /// Names in a folder, without `.` and `..`; empty when it is not there.
  static func names(in folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// The whole of a small file (at most 1 MiB), or nil when it cannot be read.
  static func contents(of path: String) -> [UInt8]? {
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while bytes.count < 1 << 20 {
      let count = read(fd, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return count == 0 ? bytes : nil }
      bytes.append(contentsOf: buffer[0..<count])
    }
    return bytes
  }

  /// Writes a small file as a whole: beside it, to the disk, then in its place.
  static func replace(_ path: String, with bytes: [UInt8], mode: mode_t = 0o600) throws(WorkerError) {
    let beside = "\(path).new"
    let fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard fd >= 0 else { throw .errno("making \(beside)") }
    defer { close(fd) }
    guard write(fd, bytes, bytes.count) == bytes.count, fsync(fd) == 0, rename(beside, path) == 0 else {
      throw .errno("writing \(path)")
    }
  }
}
