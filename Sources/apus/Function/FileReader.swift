import Glibc

/// An open file that is read from its start; closed when let go.
final class FileReader {
  private let descriptor: Int32
  private let path: String

  /// Opens a file; throws a `Failure` that names it.
  init(_ path: String) throws(Failure) {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw Failure("\(path) cannot be read: \(String(cString: strerror(errno)))") }
  }

  deinit { close(descriptor) }

  /// The first line of a file, without white space around it; `-` reads standard input. For tokens, which never stand
  /// on a command line.
  static func secretLine(_ path: String) throws(Failure) -> String {
    let bytes = try FileReader(path == "-" ? "/dev/stdin" : path).read(secretBytesMax) ?? []
    let line = String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self).filter { !$0.isWhitespace }
    if line.isEmpty { throw Failure("\(path) holds no token") }
    return line
  }

  /// Bytes of a secret line at most.
  static let secretBytesMax = 64 * 1024

  /// The next bytes, at most `count`; nil at the end.
  func read(_ count: Int) throws(Failure) -> [UInt8]? {
    while true {
      var got = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
        got = Glibc.read(descriptor, buffer.baseAddress, count)
        used = max(0, got)
      }
      if got > 0 { return bytes }
      if got == 0 { return nil }
      if errno != EINTR { throw Failure("\(path) cannot be read: \(String(cString: strerror(errno)))") }
    }
  }
}

/// What a path leads to, links followed.
enum PathKind: Hashable {
  case file, folder, other

  /// The kind of a path; nil when there is nothing.
  init?(_ path: String) {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    switch info.st_mode & S_IFMT {
    case S_IFREG: self = .file
    case S_IFDIR: self = .folder
    default: self = .other
    }
  }
}
