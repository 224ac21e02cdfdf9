import Glibc

/// What will stand in a root: a list of paths with their content, decided before anything is copied.
struct RootPlan {
  enum Content: Equatable {
    case folder
    case text(String)
    case link(String)
    case file(source: String, size: UInt64, mtimeSeconds: Int, mtimeNanoseconds: Int, executable: Bool)
  }

  private(set) var entries: [String: Content] = [:]
  var interpreter: String?

  /// Bytes of all copied files.
  var bytes: UInt64 {
    entries.values.reduce(0) { sum, content in
      if case .file(_, let size, _, _, _) = content { sum + size } else { sum }
    }
  }

  /// Paths in the root are below /usr where the host may still have them twice.
  static func place(_ path: String) -> String {
    for old in ["/bin/", "/sbin/", "/lib/", "/lib64/", "/lib32/"] where path.hasPrefix(old) { return "/usr\(path)" }
    return path
  }

  mutating func add(_ content: Content, at path: String) {
    let place = Self.place(path)
    // The folders above, so that every one is there with our mode.
    var parent = place
    while let slash = parent.lastIndex(of: "/"), slash != parent.startIndex {
      parent = String(parent[..<slash])
      if entries[parent] == nil { entries[parent] = .folder }
    }
    if case .folder = content, entries[place] != nil { return }
    entries[place] = content
  }

  /// Adds a host file, following links; false when there is none.
  @discardableResult
  mutating func addFile(_ source: String, at path: String) -> Bool {
    var info = stat()
    guard stat(source, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return false }
    add(
      .file(
        source: source, size: UInt64(info.st_size), mtimeSeconds: info.st_mtim.tv_sec,
        mtimeNanoseconds: info.st_mtim.tv_nsec, executable: info.st_mode & 0o111 != 0), at: path)
    return true
  }

  /// Adds a program or library with all libraries it needs.
  mutating func addProgram(_ source: String, at path: String, loader: String?, _ closure: inout LibraryClosure)
    throws(RootError)
  {
    guard addFile(source, at: path) else {
      throw .missing("\(source) is not a file", advice: "install what provides it")
    }
    for library in try closure.libraries(of: source, loader: loader) { addFile(library, at: library) }
  }

  /// Adds a folder of the host with all in it, but not the names in `without`; links to files become files.
  mutating func addFolder(_ source: String, at path: String, without: Set<String>) {
    add(.folder, at: path)
    for name in CgroupFiles.names(in: source) where !without.contains(name) {
      let from = "\(source)/\(name)"
      if CgroupFiles.isFolder(from) {
        addFolder(from, at: "\(path)/\(name)", without: without)
      } else {
        addFile(from, at: "\(path)/\(name)")
      }
    }
  }

  /// Raised when the plan's meaning changes, so that older roots are not taken for new ones.
  private static let layoutVersion = 1

  /// The root's name: a hash over every path with its source, size and time; platform files count by content.
  func digest(kind: RootKind, contents: [String: [UInt8]]) -> String {
    var digest = ContentDigest()
    digest.add("apus root \(Self.layoutVersion) \(kind.rawValue)\n")
    var lines: [UInt8] = []
    for (path, content) in entries.sorted(by: { $0.key < $1.key }) {
      let text =
        switch content {
        case .folder: "d \(path)\n"
        case .text(let text): "t \(path)\0\(text)\n"
        case .link(let target): "l \(path)\0\(target)\n"
        case .file(let source, let size, let seconds, let nanoseconds, let executable):
          contents[path] == nil
            ? "f \(path)\0\(source)\0\(size) \(seconds).\(nanoseconds) \(executable)\n"
            : "r \(path)\0\(size) \(executable)\n"
        }
      lines.append(contentsOf: text.utf8)
      if let bytes = contents[path] { lines.append(contentsOf: bytes) }
    }
    digest.add(lines)
    return digest.finish()
  }
}
