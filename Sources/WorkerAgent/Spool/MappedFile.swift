import Glibc

/// A file's bytes, mapped read-only for as long as this lives.
final class MappedFile {
  private let start: UnsafeMutableRawPointer?
  private let count: Int

  /// Maps a file; throws when it cannot be read. An empty file has no bytes.
  init(_ path: String) throws(WorkerError) {
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { throw .errno("opening \(path)") }
    defer { close(fd) }
    var status = stat()
    guard fstat(fd, &status) == 0 else { throw .errno("looking at \(path)") }
    count = Int(status.st_size)
    guard count > 0 else {
      start = nil
      return
    }
    let mapped = mmap(nil, count, PROT_READ, MAP_PRIVATE, fd, 0)
    guard let mapped, mapped != MAP_FAILED else { throw .errno("mapping \(path)") }
    start = mapped
  }

  /// The bytes.
  func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value {
    body(UnsafeRawBufferPointer(start: start, count: count))
  }

  deinit {
    if let start { munmap(start, count) }
  }
}
