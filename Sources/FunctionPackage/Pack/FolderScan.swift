import Glibc

/// Looks through a folder and lists what goes into its package, in byte order; refuses what must not.
struct FolderScan {
  private let rules: IgnoreRules
  private let limits: ArchiveLimits
  private(set) var entries: [ArchiveEntry] = []
  private var bytes: Int64 = 0

  init(rules: IgnoreRules, limits: ArchiveLimits) {
    self.rules = rules
    self.limits = limits
  }

  mutating func scan(_ folder: SystemFile) throws(ArchiveError) {
    try scan(folder, at: nil)
    entries.sort { $0.path < $1.path }
  }

  private mutating func scan(_ folder: SystemFile, at above: EntryPath?) throws(ArchiveError) {
    for name in try FolderListing.entries(of: folder) {
      let raw = above.map { $0.appending(name).bytes } ?? name
      guard let path = try EntryPath.check(raw) else { continue }
      var status = stat()
      guard fstatat(folder.descriptor, path.lastComponent, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
        if errno == ENOENT { throw .changed(path: path.text) }
        throw SystemFile.error(path.text, "looking at")
      }
      let type = status.st_mode & S_IFMT
      if rules.ignores(path.text, isFolder: type == S_IFDIR) { continue }
      try add(path, type: type, status, in: folder)
      if type == S_IFDIR {
        let inner = EntryPath(checked: name)
        try scan(try SystemFile(in: folder, inner, flags: O_RDONLY | O_DIRECTORY), at: path)
      }
    }
  }

  private mutating func add(
    _ path: EntryPath, type: mode_t, _ status: stat, in folder: SystemFile
  ) throws(ArchiveError) {
    guard entries.count < limits.files else { throw .tooManyFiles(limit: limits.files, path: path.text) }
    switch type {
    case S_IFREG:
      bytes += Int64(status.st_size)
      guard bytes <= limits.bytes else { throw .tooManyBytes(limit: limits.bytes, path: path.text) }
      let kind = ArchiveEntry.Kind.file(size: Int64(status.st_size), executable: status.st_mode & 0o111 != 0)
      entries.append(ArchiveEntry(path: path, kind: kind))
    case S_IFDIR: entries.append(ArchiveEntry(path: path, kind: .folder))
    case S_IFLNK:
      let target = try Self.target(of: path, in: folder)
      guard path.allowsLink(to: target) else {
        throw .refused(path: path.text, .linkOutside(target: EntryPath.printable(target)))
      }
      entries.append(ArchiveEntry(path: path, kind: .link(target: String(decoding: target, as: UTF8.self))))
    case S_IFIFO: throw .refused(path: path.text, .fifo)
    case S_IFSOCK: throw .refused(path: path.text, .socket)
    default: throw .refused(path: path.text, .device)
    }
  }

  private static func target(of path: EntryPath, in folder: SystemFile) throws(ArchiveError) -> [UInt8] {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlinkat(folder.descriptor, path.lastComponent, &buffer, buffer.count)
    guard count >= 0 else { throw SystemFile.error(path.text, "reading the link") }
    return buffer[..<count].map { UInt8(bitPattern: $0) }
  }
}
