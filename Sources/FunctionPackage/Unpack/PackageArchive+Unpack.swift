import Glibc

extension PackageArchive {
  /// Unpacks a package into a new folder at `path`, whole or not at all.
  ///
  /// Everything is written into a folder beside it, which takes the name `path` when the archive was read to its end,
  /// had the digest `expected` (if one is given), is read-only (files 0444 and 0555, folders 0555) and on the disk. A
  /// package that tries to leave the folder, or exceeds `limits`, is refused with the name of the entry, and nothing is
  /// left. Something that is already at `path` gives `.exists`.
  @discardableResult
  package static func unpack(
    _ archive: String, into path: String, expecting expected: String? = nil, limits: ArchiveLimits = ArchiveLimits()
  ) throws(ArchiveError) -> ArchiveSummary {
    if let expected, !isDigest(expected) { throw .badDigest(expected) }
    var status = stat()
    guard lstat(path, &status) != 0 else { throw .exists(path) }
    let (above, name) = SystemFile.split(path)
    let temporary = "\(above)/\(temporaryPrefix)\(name).\(getpid()).\(UInt32.random(in: 0 ... .max))"
    guard mkdir(temporary, 0o700) == 0 else { throw SystemFile.error(temporary, "making the folder") }
    do {
      let summary = try fill(temporary, from: archive, expecting: expected, limits: limits)
      try move(temporary, to: path)
      let parent = try SystemFile(path: above, flags: O_RDONLY | O_DIRECTORY)
      try parent.sync()
      return summary
    } catch {
      // What cannot be removed now is recognised by its name and removed at the next start.
      try? SystemFile.removeTree(temporary)
      throw error
    }
  }

  /// How the names of folders begin that an interrupted unpacking left behind; remove them at start.
  package static let temporaryPrefix = ".unpacking-"

  /// Removes an unpacked package, or what an interrupted unpacking left; what is not there is no error.
  package static func remove(_ path: String) throws(ArchiveError) {
    try SystemFile.removeTree(path)
  }

  private static func fill(
    _ folder: String, from archive: String, expecting expected: String?, limits: ArchiveLimits
  ) throws(ArchiveError) -> ArchiveSummary {
    let top = try SystemFile(path: folder, flags: O_RDONLY | O_DIRECTORY)
    var sink = FolderSink(top: top)
    let (digest, packed) = try read(archive, to: &sink, limits: limits)
    if let expected, expected != digest { throw .digestMismatch(expected: expected, found: digest) }
    try sink.seal()
    return ArchiveSummary(digest: digest, packed: packed, entries: sink.entries)
  }

  /// Gives the finished folder its name, unless somebody else was first.
  private static func move(_ temporary: String, to path: String) throws(ArchiveError) {
    guard rename(temporary, path) == 0 else {
      switch errno {
      case EEXIST, ENOTEMPTY, ENOTDIR: throw .exists(path)
      default: throw SystemFile.error(path, "naming")
      }
    }
  }
}
