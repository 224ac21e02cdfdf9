import Crypto
import Glibc

/// What a layer turned out to hold.
package struct LayerSummary: Sendable, Hashable {
  /// Files, folders, links and whiteouts, folders that are only named in paths included.
  package let entries: Int
  /// Bytes of its files, unpacked.
  package let bytes: Int64
}

extension ArchiveLimits {
  /// The bounds of one layer of a container image: 2 GiB packed, 8 GiB and 300,000 entries unpacked.
  package static let layer: ArchiveLimits = {
    var limits = ArchiveLimits()
    limits.packed = 2 << 30
    limits.bytes = 8 << 30
    limits.files = 300_000
    limits.ratioFrom = 256 << 20
    return limits
  }()
}

/// Layers of container images: tar, plain or gzip.
package enum LayerArchive {
  private static let chunkBytes = 256 << 10

  /// Unpacks a layer into a new folder at `path`, whole or not at all, for an overlay: owners and times as the image
  /// has them, whiteouts as devices 0:0, set-id bits, devices, pipes, sockets and attributes left out. Needs root.
  ///
  /// `diffID` is the digest of the unpacked tar (`sha256:HEX`), which the image's configuration names. Everything is
  /// written into a folder beside it, which takes its name once the digest fitted and all is on the disk. A folder that is
  /// at `path` by then is the same layer, because nothing else takes such a name, and stays; anything else gives `.exists`.
  @discardableResult
  package static func unpack(
    _ blob: String, into path: String, diffID: String, limits: ArchiveLimits = .layer
  ) throws(ArchiveError) -> LayerSummary {
    guard PackageArchive.isDigest(diffID) else { throw .badDigest(diffID) }
    let (above, name) = SystemFile.split(path)
    let prefix = PackageArchive.temporaryPrefix
    let temporary = "\(above)/\(prefix)\(name).\(getpid()).\(UInt32.random(in: 0 ... .max))"
    guard mkdir(temporary, 0o755) == 0, chmod(temporary, 0o755) == 0 else {
      throw SystemFile.error(temporary, "making the folder")
    }
    do throws(ArchiveError) {
      let summary = try fill(temporary, from: blob, diffID: diffID, limits: limits)
      guard rename(temporary, path) == 0 else {
        let code = errno
        guard [EEXIST, ENOTEMPTY].contains(code) else {
          throw code == ENOTDIR ? .exists(path) : SystemFile.error(path, "naming")
        }
        try? SystemFile.removeTree(temporary)
        return summary
      }
      try SystemFile(path: above, flags: O_RDONLY | O_DIRECTORY).sync()
      return summary
    } catch {
      // What cannot be removed now is recognised by its name and removed at the next start.
      try? SystemFile.removeTree(temporary)
      throw error
    }
  }

  private static func fill(
    _ folder: String, from blob: String, diffID: String, limits: ArchiveLimits
  ) throws(ArchiveError) -> LayerSummary {
    var sink = LayerSink(
      top: try SystemFile(path: folder, flags: O_RDONLY | O_DIRECTORY), entriesMaximum: limits.files)
    let (read, found) = try read(blob, to: &sink, limits: limits)
    guard found == diffID else { throw .digestMismatch(expected: diffID, found: found) }
    try sink.sync()
    return LayerSummary(entries: read.entries + sink.foldersMade, bytes: read.bytes)
  }

  /// Streams a layer into a sink; answers what it held and the digest of the tar.
  static func read(
    _ blob: String, to sink: inout some LayerEntrySink, limits: ArchiveLimits
  ) throws(ArchiveError) -> (LayerSummary, diffID: String) {
    let file = try SystemFile(path: blob, flags: O_RDONLY)
    var reader = LayerReader(limits: limits)
    var digest = SHA256()
    var gzip: GzipReader?
    var buffer = [UInt8](repeating: 0, count: chunkBytes)
    var packed: Int64 = 0
    while true {
      let count = try file.read(into: &buffer)
      if count == 0 { break }
      let chunk = count == buffer.count ? buffer : Array(buffer[..<count])
      if packed == 0, chunk.starts(with: [0x1f, 0x8b]) { gzip = try GzipReader(limits: limits, takesMembers: true) }
      if packed == 0, chunk.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) {
        throw .refused(path: "layer", .unsupported("compression by zstd"))
      }
      packed += Int64(count)
      guard packed <= limits.packed else { throw .packedTooLarge(limit: limits.packed) }
      if let gzip {
        try gzip.feed(chunk) { piece throws(ArchiveError) in
          digest.update(data: piece)
          try reader.feed(piece, to: &sink)
        }
      } else {
        digest.update(data: chunk)
        try reader.feed(chunk[...], to: &sink)
      }
    }
    try gzip?.finish()
    try reader.finish()
    let summary = LayerSummary(entries: reader.entries, bytes: reader.bytes)
    return (summary, PackageArchive.text(of: digest.finalize()))
  }
}
