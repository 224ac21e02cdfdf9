internal import Foundation
internal import GRDB
internal import Glibc

/// The folder of a store: what lies in it, setting aside what cannot be used, asking for space.
struct StoreFile: Sendable {
  let directory: URL

  func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

  /// The names of the files, sorted.
  func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() }

  /// Bytes free on the volume for this process; nil when that cannot be asked.
  func freeBytes() -> Int64? {
    var info = statvfs()
    guard statvfs(directory.path, &info) == 0 else { return nil }
    let (bytes, overflow) = UInt64(info.f_bavail).multipliedReportingOverflow(by: UInt64(info.f_frsize))
    return overflow ? .max : Int64(clamping: bytes)
  }

  /// The bytes of a file, nil when it is not there.
  func size(_ name: String) -> Int64? {
    var info = stat()
    return stat(path(name), &info) == 0 ? Int64(info.st_size) : nil
  }

  func remove(_ name: String) { unlink(path(name)) }

  /// Renames a file, and what SQLite keeps beside it, to a name with the time, and answers the new name.
  func setAside(_ name: String) throws -> String {
    var number = 0
    let stamp = Int(Date().timeIntervalSince1970 * 1000)
    var aside = "\(name).damaged-\(stamp)"
    while size(aside) != nil {
      number += 1
      aside = "\(name).damaged-\(stamp)-\(number)"
    }
    for part in ["", "-wal", "-shm"] where size(name + part) != nil {
      try FileManager.default.moveItem(atPath: path(name + part), toPath: path(aside + part))
    }
    return aside
  }

  /// Writes a file so that it is there in whole or not at all, whatever happens.
  func write(_ bytes: [UInt8], to name: String) throws {
    let temporary = name + ".tmp"
    var file = try AppendFile(path: path(temporary), isNew: true)
    do {
      try bytes.withUnsafeBytes { try file.append($0) }
      try file.sync()
    } catch {
      file.close()
      remove(temporary)
      throw error
    }
    file.close()
    guard rename(path(temporary), path(name)) == 0 else { throw FileFault("renaming \(temporary)", errno) }
    try syncDirectory()
  }

  /// Makes new names and renames durable.
  func syncDirectory() throws {
    let folder = Glibc.open(directory.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { throw FileFault("opening the folder", errno) }
    defer { Glibc.close(folder) }
    guard fsync(folder) == 0 else { throw FileFault("syncing the folder", errno) }
  }

  static func isDamage(_ error: DatabaseError) -> Bool {
    error.resultCode == .SQLITE_CORRUPT || error.resultCode == .SQLITE_NOTADB
  }
}

/// Why a database file was set aside.
struct StoreFault: Error, CustomStringConvertible {
  var why: String
  var description: String { "the log store cannot be opened because \(why)" }
}

/// What the system said about a file.
struct FileFault: Error, CustomStringConvertible {
  var doing: String
  var code: Int32

  init(_ doing: String, _ code: Int32) {
    self.doing = doing
    self.code = code
  }

  var isFull: Bool { code == ENOSPC || code == EDQUOT || code == EFBIG }
  var description: String { "\(doing) failed: \(String(cString: strerror(code)))" }
}

/// A file that is read. What the system says is thrown as `FileFault`: a file that cannot be opened now is not a damaged one,
/// nor an empty one.
struct ReadFile: ~Copyable {
  private let path: String
  private let descriptor: Int32
  /// Its bytes when it was opened.
  let length: Int

  init(path: String) throws(FileFault) {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileFault("opening \(path)", errno) }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else {
      let code = errno
      Glibc.close(descriptor)
      throw FileFault("measuring \(path)", code)
    }
    self.path = path
    self.descriptor = descriptor
    length = Int(info.st_size)
  }

  deinit { Glibc.close(descriptor) }

  /// All of a file.
  static func contents(_ path: String) throws(FileFault) -> [UInt8] {
    let file = try ReadFile(path: path)
    return try file.bytes(0, file.length)
  }

  /// So many bytes from a place on.
  func bytes(_ start: Int, _ count: Int) throws(FileFault) -> [UInt8] {
    var code: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count {
        let got = pread(descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(start + filled))
        if got < 0, errno == EINTR { continue }
        guard got > 0 else {
          code = got == 0 ? EIO : errno
          return
        }
        filled += got
      }
    }
    guard code == 0 else { throw FileFault("reading \(path)", code) }
    return bytes
  }
}

/// A file that only grows.
struct AppendFile {
  private let descriptor: Int32
  private(set) var length: Int64

  init(path: String, isNew: Bool) throws {
    descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (isNew ? O_TRUNC : 0), 0o600)
    guard descriptor >= 0 else { throw FileFault("opening \(path)", errno) }
    length = isNew ? 0 : Int64(lseek(descriptor, 0, SEEK_END))
  }

  /// Appends all bytes; after a failure the file ends where it did before.
  mutating func append(_ bytes: UnsafeRawBufferPointer) throws {
    var done = 0
    while done < bytes.count {
      let count = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(length) + done)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else {
        let code = count == 0 ? EIO : errno
        try cut(to: length)
        throw FileFault("writing", code)
      }
      done += count
    }
    length += Int64(done)
  }

  mutating func cut(to length: Int64) throws {
    guard ftruncate(descriptor, off_t(length)) == 0 else { throw FileFault("shortening a file", errno) }
    self.length = length
  }

  func sync() throws {
    guard fdatasync(descriptor) == 0 else { throw FileFault("syncing", errno) }
  }

  func close() { Glibc.close(descriptor) }
}
