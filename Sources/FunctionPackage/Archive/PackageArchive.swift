import Crypto
import Glibc

/// Packages: a folder as one content-addressed file, packed here, unpacked on every worker that runs it.
package enum PackageArchive {
  /// Reads a package to its end without writing anything: every check that `unpack` makes but those of the disk.
  package static func inspect(
    _ path: String, limits: ArchiveLimits = ArchiveLimits()
  ) throws(ArchiveError) -> ArchiveSummary {
    var sink = ListingSink()
    let (digest, packed) = try read(path, to: &sink, limits: limits)
    return ArchiveSummary(digest: digest, packed: packed, entries: sink.entries)
  }

  /// The digest of a file: `sha256:` and 64 hexadecimal digits.
  package static func digest(of path: String) throws(ArchiveError) -> String {
    let file = try SystemFile(path: path, flags: O_RDONLY)
    var digest = SHA256()
    var buffer = [UInt8](repeating: 0, count: chunkBytes)
    while true {
      let count = try file.read(into: &buffer)
      if count == 0 { return text(of: digest.finalize()) }
      digest.update(data: buffer[..<count])
    }
  }

  /// Whether text is a digest: `sha256:` and 64 lower-case hexadecimal digits.
  package static func isDigest(_ text: String) -> Bool {
    let digits = text.utf8.dropFirst(7)
    return text.hasPrefix("sha256:") && digits.count == 64
      && digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }

  /// Streams a packed file through gzip and tar into a sink; answers its digest and size.
  static func read(
    _ path: String, to sink: inout some ArchiveSink, limits: ArchiveLimits
  ) throws(ArchiveError) -> (digest: String, packed: Int64) {
    let file = try SystemFile(path: path, flags: O_RDONLY)
    let status = try file.status()
    guard status.st_mode & S_IFMT == S_IFREG else { throw .system(path: path, doing: "reading", code: EINVAL) }
    guard status.st_size <= limits.packed else { throw .packedTooLarge(limit: limits.packed) }
    var reader = try ArchiveReader(limits: limits)
    var digest = SHA256()
    var packed: Int64 = 0
    var buffer = [UInt8](repeating: 0, count: chunkBytes)
    while true {
      let count = try file.read(into: &buffer)
      if count == 0 { break }
      let chunk = count == buffer.count ? buffer : Array(buffer[..<count])
      packed += Int64(count)
      digest.update(data: chunk)
      try reader.feed(chunk, to: &sink)
    }
    try reader.finish()
    return (text(of: digest.finalize()), packed)
  }

  static func text(of digest: SHA256.Digest) -> String {
    "sha256:" + digest.map(EntryPath.hex).joined()
  }

  private static let chunkBytes = 64 << 10
}

/// gzip and tar, one behind the other.
struct ArchiveReader {
  private let gzip: GzipReader
  private var tar: TarReader

  init(limits: ArchiveLimits) throws(ArchiveError) {
    gzip = try GzipReader(limits: limits)
    tar = TarReader(limits: limits)
  }

  mutating func feed(_ packed: [UInt8], to sink: inout some ArchiveSink) throws(ArchiveError) {
    try gzip.feed(packed) { piece throws(ArchiveError) in try tar.feed(piece, to: &sink) }
  }

  mutating func finish() throws(ArchiveError) {
    try gzip.finish()
    try tar.finish()
  }
}
