import CLinux
import Glibc

/// Writes a layer below one folder, in the form an overlay reads: whiteouts are devices 0:0, opaque folders have an
/// attribute. Every folder is opened as if that one folder were the root, so that links of the layer lead nowhere else.
struct LayerSink: LayerEntrySink {
  private let top: SystemFile
  private let entriesMaximum: Int
  private var entries = 0
  /// Folders that were only named in the paths of others, and made.
  private(set) var foldersMade = 0
  private var parent: (path: EntryPath?, folder: SystemFile)
  private var file: (file: SystemFile, entry: LayerEntry)?

  /// Begins in an empty folder; takes as many entries at most, folders that are only named in paths included.
  init(top: SystemFile, entriesMaximum: Int) {
    self.top = top
    self.entriesMaximum = entriesMaximum
    parent = (nil, top)
  }

  mutating func begin(_ entry: LayerEntry) throws(ArchiveError) {
    guard let path = entry.path else {
      if case .opaque = entry.kind { try makeOpaque(top) }
      return
    }
    try count(path)
    let name = path.lastComponent
    switch entry.kind {
    case .opaque:
      let folder = try openFolder(path)
      try makeOpaque(folder)
    case .whiteout:
      let folder = try openParent(of: path)
      // What the layer itself has here stays: whiteouts are about the layers below.
      guard apus_whiteout(folder.descriptor, name) == 0 || errno == EEXIST else {
        throw SystemFile.error(path.text, "hiding")
      }
    case .folder: try makeFolder(path, entry)
    case .file:
      let folder = try openParent(of: path)
      let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
      var descriptor = openat(folder.descriptor, name, flags, 0o600)
      if descriptor < 0, errno == EEXIST {
        try clear(path, in: folder)
        descriptor = openat(folder.descriptor, name, flags, 0o600)
      }
      guard descriptor >= 0 else { throw SystemFile.error(path.text, "making") }
      file = (SystemFile(descriptor: descriptor, path: path.text), entry)
    case .link(let target):
      let folder = try openParent(of: path)
      try place(path, in: folder) { Self.symlink(target, folder.descriptor, name) }
      guard fchownat(folder.descriptor, name, entry.user, entry.group, AT_SYMLINK_NOFOLLOW) == 0 else {
        throw SystemFile.error(path.text, "giving away")
      }
    case .hardLink(let target): try makeHardLink(path, to: target)
    }
  }

  mutating func write(_ bytes: ArraySlice<UInt8>) throws(ArchiveError) {
    try file?.file.write(bytes)
  }

  mutating func end() throws(ArchiveError) {
    guard let (file, entry) = file else { return }
    self.file = nil
    // The owner first: changing it would take bits of the mode away.
    guard fchown(file.descriptor, entry.user, entry.group) == 0 else {
      throw SystemFile.error(file.path, "giving away")
    }
    try file.setMode(mode_t(entry.mode))
    // Compiled modules are trusted while the time of their source is what it was.
    let time = timespec(tv_sec: Int(entry.modified), tv_nsec: 0)
    _ = [time, time].withUnsafeBufferPointer { futimens(file.descriptor, $0.baseAddress) }
  }

  /// Waits until all is on the disk.
  func sync() throws(ArchiveError) {
    guard apus_sync_filesystem(top.descriptor) == 0 else { throw SystemFile.error(top.path, "syncing") }
  }

  // MARK: entries

  private mutating func count(_ path: EntryPath) throws(ArchiveError) {
    entries += 1
    guard entries <= entriesMaximum else { throw .tooManyFiles(limit: entriesMaximum, path: path.text) }
  }

  private func makeOpaque(_ folder: SystemFile) throws(ArchiveError) {
    guard apus_make_opaque(folder.descriptor) == 0 else { throw SystemFile.error(folder.path, "marking") }
  }

  private mutating func makeFolder(_ path: EntryPath, _ entry: LayerEntry) throws(ArchiveError) {
    let above = try openParent(of: path)
    let name = path.lastComponent
    if mkdirat(above.descriptor, name, 0o755) != 0 {
      guard errno == EEXIST else { throw SystemFile.error(path.text, "making the folder") }
      var status = stat()
      guard fstatat(above.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
        throw SystemFile.error(path.text, "looking at")
      }
      if status.st_mode & S_IFMT != S_IFDIR {
        try clear(path, in: above)
        guard mkdirat(above.descriptor, name, 0o755) == 0 else {
          throw SystemFile.error(path.text, "making the folder")
        }
      }
    }
    let descriptor = openat(above.descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { throw SystemFile.error(path.text, "opening") }
    let folder = SystemFile(descriptor: descriptor, path: path.text)
    guard fchown(descriptor, entry.user, entry.group) == 0 else { throw SystemFile.error(path.text, "giving away") }
    try folder.setMode(mode_t(entry.mode))
  }

  private mutating func makeHardLink(_ path: EntryPath, to target: EntryPath) throws(ArchiveError) {
    // Only folders the layer has: nothing is made for a target.
    let from: SystemFile
    if let above = target.parent {
      let descriptor = apus_open_in_root(top.descriptor, above.text, O_RDONLY | O_DIRECTORY)
      guard descriptor >= 0 else { throw missing(path, target) }
      from = SystemFile(descriptor: descriptor, path: above.text)
    } else {
      from = top
    }
    var status = stat()
    guard fstatat(from.descriptor, target.lastComponent, &status, AT_SYMLINK_NOFOLLOW) == 0,
      [S_IFREG, S_IFLNK].contains(status.st_mode & S_IFMT)
    else { throw missing(path, target) }
    let folder = try openParent(of: path)
    var there = stat()
    let name = path.lastComponent
    if fstatat(folder.descriptor, name, &there, AT_SYMLINK_NOFOLLOW) == 0, there.st_ino == status.st_ino { return }
    let targetName = target.lastComponent
    try place(path, in: folder) { linkat(from.descriptor, targetName, folder.descriptor, name, 0) }
  }

  private func missing(_ path: EntryPath, _ target: EntryPath) -> ArchiveError {
    .refused(path: path.text, .linkOutside(target: target.text))
  }

  /// Makes something at a name; what was there goes.
  private mutating func place(
    _ path: EntryPath, in folder: SystemFile, _ make: () -> Int32
  ) throws(ArchiveError) {
    if make() == 0 { return }
    guard errno == EEXIST else { throw SystemFile.error(path.text, "linking") }
    try clear(path, in: folder)
    guard make() == 0 else { throw SystemFile.error(path.text, "linking") }
  }

  /// Takes away what the layer itself put at a name before; a folder only when it is empty.
  private mutating func clear(_ path: EntryPath, in folder: SystemFile) throws(ArchiveError) {
    parent = (nil, top)
    let name = path.lastComponent
    if unlinkat(folder.descriptor, name, 0) == 0 || errno == ENOENT { return }
    guard errno == EISDIR || errno == EPERM else { throw SystemFile.error(path.text, "replacing") }
    guard unlinkat(folder.descriptor, name, AT_REMOVEDIR) == 0 else {
      if errno == ENOTEMPTY || errno == EEXIST { throw .refused(path: path.text, .duplicate) }
      throw SystemFile.error(path.text, "replacing")
    }
  }

  private static func symlink(_ target: [UInt8], _ folder: Int32, _ name: String) -> Int32 {
    (target + [0]).withUnsafeBytes { bytes in
      bytes.withMemoryRebound(to: CChar.self) { text in
        text.baseAddress.map { symlinkat($0, folder, name) } ?? -1
      }
    }
  }

  // MARK: folders

  private mutating func openParent(of path: EntryPath) throws(ArchiveError) -> SystemFile {
    guard let above = path.parent else { return top }
    if parent.path == above { return parent.folder }
    let folder = try openFolder(above)
    parent = (above, folder)
    return folder
  }

  /// A folder of the layer, through its own links; made with those above it when it is not there.
  private mutating func openFolder(_ path: EntryPath) throws(ArchiveError) -> SystemFile {
    var descriptor = apus_open_in_root(top.descriptor, path.text, O_RDONLY | O_DIRECTORY)
    if descriptor < 0, errno == ENOENT {
      let above: SystemFile = if let parent = path.parent { try openFolder(parent) } else { top }
      try count(path)
      foldersMade += 1
      guard mkdirat(above.descriptor, path.lastComponent, 0o755) == 0 else {
        // A link that leads nowhere.
        if errno == EEXIST { throw .refused(path: path.text, .throughLink) }
        throw SystemFile.error(path.text, "making the folder")
      }
      descriptor = apus_open_in_root(top.descriptor, path.text, O_RDONLY | O_DIRECTORY)
    }
    guard descriptor >= 0 else {
      if [ELOOP, ENOTDIR, ENOENT].contains(errno) { throw .refused(path: path.text, .throughLink) }
      throw SystemFile.error(path.text, "opening")
    }
    let folder = SystemFile(descriptor: descriptor, path: path.text)
    guard Self.isShort(folder, below: top) else {
      throw .refused(path: path.text, .badName("leads through links to a place too deep"))
    }
    return folder
  }

  /// Links could make places that are too deep for anybody to name, and so to remove.
  private static func isShort(_ folder: SystemFile, below top: SystemFile) -> Bool {
    func length(_ file: SystemFile) -> Int {
      var text = [CChar](repeating: 0, count: Int(PATH_MAX))
      return readlink("/proc/self/fd/\(file.descriptor)", &text, text.count)
    }
    let (inner, outer) = (length(folder), length(top))
    return inner >= 0 && outer >= 0 && inner - outer <= EntryPath.bytesMax + 1
  }
}
