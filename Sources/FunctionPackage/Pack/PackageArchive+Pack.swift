import Crypto
package import FoundationEssentials
import Glibc

/// A package that was written.
package struct PackedArchive: Sendable, Hashable {
  /// The file.
  package let path: String
  /// `sha256:` and the hexadecimal digest of its bytes.
  package let digest: String
  /// How many files are in it, folders and links not counted.
  package let files: Int
  /// Bytes of all files together, unpacked.
  package let bytes: Int64
  /// Size of the file in bytes.
  package let packed: Int64
}

extension PackageArchive {
  /// Packs a folder into a new file at `path`: a tar.gz with sorted names, no times, no owners and the modes 0644 and
  /// 0755, so that equal folders give equal bytes.
  ///
  /// `ignoring` adds patterns (see `IgnoreRules`) to the defaults and those of the folder's `.apusignore`. Links that
  /// point outside, devices, pipes, sockets and what exceeds `limits` are refused by name, and nothing is left
  /// at `path`.
  package static func pack(
    folder: String, ignoring: [String] = [], to path: String, limits: ArchiveLimits = ArchiveLimits()
  ) throws(ArchiveError) -> PackedArchive {
    let top = try SystemFile(path: resolved(folder), flags: O_RDONLY | O_DIRECTORY)
    var scan = FolderScan(rules: try rules(of: top, more: ignoring), limits: limits)
    try scan.scan(top)
    let output = try SystemFile(path: path, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
    do {
      var packer = try Packer(output: output, limits: limits)
      for entry in scan.entries { try packer.add(entry, from: top) }
      let (digest, packed) = try packer.finish()
      let summary = ArchiveSummary(digest: digest, packed: packed, entries: scan.entries)
      return PackedArchive(
        path: path, digest: summary.digest, files: summary.files, bytes: summary.bytes, packed: packed)
    } catch {
      unlink(path)
      throw error
    }
  }

  /// Packs a folder into a new file at `url`; see `pack(folder:ignoring:to:limits:)`.
  package static func pack(
    folder: URL, ignoring: [String] = [], to url: URL, limits: ArchiveLimits = ArchiveLimits()
  ) throws(ArchiveError) -> PackedArchive {
    try pack(folder: folder.path, ignoring: ignoring, to: url.path, limits: limits)
  }

  private static func resolved(_ folder: String) throws(ArchiveError) -> String {
    guard let real = realpath(folder, nil) else { throw SystemFile.error(folder, "opening") }
    defer { free(real) }
    return String(cString: real)
  }

  private static func rules(of top: SystemFile, more: [String]) throws(ArchiveError) -> IgnoreRules {
    let name = EntryPath(checked: Array(".apusignore".utf8))
    let file: SystemFile
    do {
      file = try SystemFile(in: top, name, flags: O_RDONLY)
    } catch .system(_, _, ENOENT) {
      return try IgnoreRules(more)
    }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while text.count <= 1 << 20 {
      let count = try file.read(into: &buffer)
      if count == 0 { break }
      text += buffer[..<count]
    }
    let lines = text.split(separator: 0x0a, omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self)
    }
    return try IgnoreRules(lines + more, file: "\(top.path)/.apusignore")
  }
}

/// The stream from entries over tar and gzip into the file and its digest.
private struct Packer {
  private let output: SystemFile
  private let limits: ArchiveLimits
  private let gzip: GzipWriter
  private var digest = SHA256()
  private var packed: Int64 = 0
  private var buffer = [UInt8](repeating: 0, count: 128 << 10)

  init(output: SystemFile, limits: ArchiveLimits) throws(ArchiveError) {
    self.output = output
    self.limits = limits
    gzip = try GzipWriter()
  }

  mutating func add(_ entry: ArchiveEntry, from top: SystemFile) throws(ArchiveError) {
    try write(TarWriter.header(entry)[...])
    guard case .file(let size, _) = entry.kind else { return }
    let file: SystemFile
    do {
      file = try SystemFile(in: top, entry.path, flags: O_RDONLY | O_NONBLOCK)
    } catch .system(let path, _, ENOENT) {
      throw .changed(path: path)
    }
    var left = size
    while true {
      let count = try file.read(into: &buffer)
      if count == 0 { break }
      left -= Int64(count)
      guard left >= 0 else { throw .changed(path: entry.path.text) }
      try write(buffer[..<count])
    }
    guard left == 0 else { throw .changed(path: entry.path.text) }
    try write(TarWriter.padding(size)[...])
  }

  mutating func finish() throws(ArchiveError) -> (digest: String, packed: Int64) {
    try write(TarWriter.end[...])
    try gzip.finish { piece throws(ArchiveError) in try put(piece) }
    try output.sync()
    return (PackageArchive.text(of: digest.finalize()), packed)
  }

  private mutating func write(_ bytes: ArraySlice<UInt8>) throws(ArchiveError) {
    try gzip.write(bytes) { piece throws(ArchiveError) in try put(piece) }
  }

  private mutating func put(_ piece: ArraySlice<UInt8>) throws(ArchiveError) {
    packed += Int64(piece.count)
    guard packed <= limits.packed else { throw .packedTooLarge(limit: limits.packed) }
    digest.update(data: piece)
    try output.write(piece)
  }
}
