import Glibc

/// The plain file calls that control groups need; errors are errno values.
enum CgroupFiles {
  struct Failure: Error {
    var path: String
    var errno: CInt
  }

  static func write(_ text: String, to path: String) throws(Failure) {
    let fd = open(path, O_WRONLY | O_CLOEXEC)
    guard fd >= 0 else { throw Failure(path: path, errno: errno) }
    defer { close(fd) }
    let bytes = Array(text.utf8)
    guard Glibc.write(fd, bytes, bytes.count) == bytes.count else { throw Failure(path: path, errno: errno) }
  }

  /// The text of a small file, or nil when it is not there.
  static func read(_ path: String, atMost limit: Int = 65_536) -> String? {
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while text.count < limit {
      let count = Glibc.read(fd, &buffer, buffer.count)
      if count <= 0 { break }
      text.append(contentsOf: buffer[..<count])
    }
    return String(decoding: text, as: UTF8.self)
  }

  static func number(_ path: String) -> UInt64? {
    guard let text = read(path) else { return nil }
    return UInt64(trimmed(text))
  }

  /// The number behind `key` in a file of `key value` lines.
  static func number(_ path: String, key: String) -> UInt64? {
    guard let text = read(path) else { return nil }
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, words[0] == key { return UInt64(words[1]) }
    }
    return nil
  }

  static func trimmed(_ text: String) -> Substring {
    let line = text.prefix { $0 != "\n" }
    return line.drop { $0 == " " }
  }

  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  /// Names in a folder, without `.` and `..`; empty when it is not there.
  static func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  /// Folders directly below a folder.
  static func folders(in folder: String) -> [String] {
    names(in: folder).filter { isFolder("\(folder)/\($0)") }
  }

  static func isFolder(_ path: String) -> Bool {
    var info = stat()
    return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
  }
}
