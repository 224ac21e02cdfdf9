/// One file, folder or link of a package.
package struct ArchiveEntry: Sendable, Hashable {
  /// What an entry is.
  package enum Kind: Sendable, Hashable {
    /// A regular file of that many bytes; executable or not is all that is kept of its mode.
    case file(size: Int64, executable: Bool)
    /// A folder.
    case folder
    /// A symbolic link that stays inside the package.
    case link(target: String)
  }

  /// Where it lies.
  package let path: EntryPath
  /// What it is.
  package let kind: Kind

  /// An entry of a package.
  package init(path: EntryPath, kind: Kind) {
    self.path = path
    self.kind = kind
  }

  /// The bytes of a file; 0 for the rest.
  package var size: Int64 {
    if case .file(let size, _) = kind { return size }
    return 0
  }
}

/// What is in a package, and what it is called.
package struct ArchiveSummary: Sendable, Hashable {
  /// `sha256:` and the hexadecimal digest of the packed bytes.
  package let digest: String
  /// Size of the packed file in bytes.
  package let packed: Int64
  /// Everything in it, in the order of the archive.
  package let entries: [ArchiveEntry]
  /// Bytes of all files together, unpacked.
  package var bytes: Int64 { entries.reduce(0) { $0 + $1.size } }
  /// How many files it holds.
  package var files: Int { entries.count { if case .file = $0.kind { true } else { false } } }
}

/// Where the contents of an archive go as they are read; every entry it is given has been checked.
protocol ArchiveSink {
  mutating func begin(_ entry: ArchiveEntry) throws(ArchiveError)
  /// More bytes of the file that began last.
  mutating func write(_ bytes: ArraySlice<UInt8>) throws(ArchiveError)
  /// The file that began last is complete.
  mutating func end() throws(ArchiveError)
}

/// Keeps the list of entries and nothing of their contents.
struct ListingSink: ArchiveSink {
  private(set) var entries: [ArchiveEntry] = []

  mutating func begin(_ entry: ArchiveEntry) { entries.append(entry) }
  mutating func write(_ bytes: ArraySlice<UInt8>) {}
  mutating func end() {}
}
