import CLinux
import FunctionPackage
import Glibc

/// Finds out which numbers the user and group of an image have, from the image's own /etc/passwd and /etc/group.
enum ImageUsers {
  /// Largest file that is read.
  static let bytesMax = 1 << 20
  /// O_PATH, which Swift does not see.
  private static let pathOnly: CInt = 0o10_000_000

  /// The numbers of `USER[:GROUP]` in layers, the topmost first.
  static func resolve(_ text: String, layers: [String]) throws(ImageError) -> (user: UInt32, group: UInt32) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let name = parts.first, !name.isEmpty else { return (0, 0) }
    let accounts = lines(of: "etc/passwd", layers)
    let number = UInt32(name)
    let account = accounts.first { number == nil ? $0[0] == name : $0.count > 3 && UInt32($0[2]) == number }
    guard let user = number ?? account.flatMap({ $0.count > 3 ? UInt32($0[2]) : nil }) else {
      throw .unsupported("the image runs as user \(name.prefix(80)), whom its /etc/passwd does not know")
    }
    var group = account.flatMap { $0.count > 3 ? UInt32($0[3]) : nil } ?? 0
    if parts.count > 1, !parts[1].isEmpty {
      let own = lines(of: "etc/group", layers).first { $0[0] == parts[1] }
      guard let found = UInt32(parts[1]) ?? own.flatMap({ $0.count > 2 ? UInt32($0[2]) : nil }) else {
        throw .unsupported("the image runs as group \(parts[1].prefix(80)), which its /etc/group does not know")
      }
      group = found
    }
    guard user < UInt32(APUS_IMAGE_USERS), group < UInt32(APUS_IMAGE_USERS) else {
      throw .unsupported("the image runs as \(user):\(group); users and groups go up to \(APUS_IMAGE_USERS - 1)")
    }
    return (user, group)
  }

  private static func lines(of path: String, _ layers: [String]) -> [[String]] {
    String(decoding: contents(of: path, layers) ?? [], as: UTF8.self).split(separator: "\n").map { line in
      line.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    }.filter { !$0.isEmpty }
  }

  /// A file as the overlay would show it: of the topmost layer that has something at its name.
  private static func contents(of path: String, _ layers: [String]) -> [UInt8]? {
    for layer in layers {
      let top = open(layer, pathOnly | O_DIRECTORY | O_CLOEXEC)
      guard top >= 0 else { continue }
      defer { close(top) }
      let place = apus_open_in_root(top, path, pathOnly)
      guard place >= 0 else { continue }
      defer { close(place) }
      var status = stat()
      // A whiteout, or nothing that could be read.
      guard fstat(place, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
      let file = open("/proc/self/fd/\(place)", O_RDONLY | O_CLOEXEC)
      guard file >= 0 else { return nil }
      defer { close(file) }
      var bytes = [UInt8](repeating: 0, count: min(Int(status.st_size), bytesMax))
      var done = 0
      while done < bytes.count {
        let count = bytes.withUnsafeMutableBytes { read(file, $0.baseAddress?.advanced(by: done), $0.count - done) }
        guard count > 0 else { break }
        done += count
      }
      return Array(bytes[..<done])
    }
    return nil
  }
}
