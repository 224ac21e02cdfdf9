import Glibc

/// Writes the entries of an archive below one folder, through openat2 alone.
///
/// While it works, folders are 0700; `seal` makes everything read-only and durable. Files belong to the user this
/// process runs as, root in a worker, whatever the archive says.
struct FolderSink: ArchiveSink {
  /// Up to this many files are synced one by one, more all at once.
  private static let syncedFilesMax = 64

  private let top: SystemFile
  private var folders: [EntryPath] = []
  private var known: Set<EntryPath> = []
  private var parent: (path: EntryPath?, folder: SystemFile)
  private var file: (file: SystemFile, executable: Bool)?
  private var files = 0
  private(set) var entries: [ArchiveEntry] = []

  /// Begins in an empty folder.
  init(top: SystemFile) {
    self.top = top
    parent = (nil, top)
  }

  mutating func begin(_ entry: ArchiveEntry) throws(ArchiveError) {
    entries.append(entry)
    switch entry.kind {
    case .folder: try makeFolder(entry.path)
    case .link(let target):
      let folder = try openParent(of: entry.path)
      guard symlinkat(target, folder.descriptor, entry.path.lastComponent) == 0 else {
        throw SystemFile.error(entry.path.text, "linking")
      }
    case .file(_, let executable):
      let folder = try openParent(of: entry.path)
      let name = EntryPath(checked: Array(entry.path.lastComponent.utf8))
      let created = try SystemFile(in: folder, name, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
      file = (created, executable)
    }
  }

  mutating func write(_ bytes: ArraySlice<UInt8>) throws(ArchiveError) {
    try file?.file.write(bytes)
  }

  mutating func end() throws(ArchiveError) {
    guard let (file, executable) = file else { return }
    try file.setMode(executable ? 0o555 : 0o444)
    files += 1
    if files <= Self.syncedFilesMax { try file.sync() }
    self.file = nil
  }

  /// Makes every folder read-only, the innermost first, and waits until all is on the disk.
  func seal() throws(ArchiveError) {
    let syncsEach = files <= Self.syncedFilesMax
    for path in folders.reversed() {
      let folder = try SystemFile(in: top, path, flags: O_RDONLY | O_DIRECTORY)
      try folder.setMode(0o555)
      if syncsEach { try folder.sync() }
    }
    try top.setMode(0o555)
    if !syncsEach { Glibc.sync() }
    try top.sync()
  }

  private mutating func makeFolder(_ path: EntryPath) throws(ArchiveError) {
    guard known.insert(path).inserted else { return }
    let above = try openParent(of: path)
    guard mkdirat(above.descriptor, path.lastComponent, 0o700) == 0 else {
      throw SystemFile.error(path.text, "making the folder")
    }
    folders.append(path)
  }

  /// The open folder an entry lies in; folders the archive never named are made.
  private mutating func openParent(of path: EntryPath) throws(ArchiveError) -> SystemFile {
    guard let above = path.parent else { return top }
    if parent.path == above { return parent.folder }
    try makeFolder(above)
    let folder = try SystemFile(in: top, above, flags: O_RDONLY | O_DIRECTORY)
    parent = (above, folder)
    return folder
  }
}
