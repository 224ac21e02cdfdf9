import ClusterModel

/// The bounds of a package; the defaults are the platform's.
package struct ArchiveLimits: Sendable, Hashable {
  /// Most files, folders and links, folders only named in paths included.
  package var files = Limits.artifactFiles
  /// Most bytes of all files together.
  package var bytes: Int64 = Limits.artifactUnpacked
  /// Most bytes of the packed file.
  package var packed: Int64 = Limits.artifactPacked
  /// How many times its packed size a package may grow …
  package var ratio = 250
  /// … once it is larger than this many bytes unpacked.
  package var ratioFrom: Int64 = 16 << 20

  /// The platform's bounds.
  package init() {}

  /// Bytes of the inflated archive with all its headers: what the bytes, and three blocks for each file, can take.
  var inflated: Int64 { bytes + Int64(files) * 3 * 512 + (1 << 20) }
}
