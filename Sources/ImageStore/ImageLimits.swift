package import FunctionPackage

/// Every bound on images of one node.
package struct ImageLimits: Sendable {
  /// Largest index, manifest or configuration, bytes.
  package var documentBytes = 4 << 20
  /// Most layers of an image.
  package var layers = 127
  /// Bounds of one layer.
  package var layer = ArchiveLimits.layer
  /// What each file, folder and link counts besides its contents, bytes: what ext4 has an inode for by default (mke2fs.conf,
  /// inode_ratio), so that a disk has its inodes as long as its bytes.
  package var entryBytes: Int64 = 16 << 10
  /// Largest image, its layers unpacked, bytes; entries count.
  package var imageBytes: Int64 = 16 << 30
  /// Layers of one image that are fetched at once.
  package var fetchesAtOnce = 3
  /// Layers of one registry's images that are fetched at once.
  package var fetchesOfRegistry = 8
  /// Attempts of one fetch.
  package var attempts = 3
  /// First wait between two attempts, milliseconds; doubles.
  package var retryFirst: Int64 = 200
  /// How long one image may take in all, milliseconds.
  package var pullTime: Int64 = 900_000
  /// How long a registry may take to answer, and between two pieces of an answer, milliseconds.
  package var answerTime: Int64 = 30_000
  /// How long an image that no pod uses is kept, milliseconds: three days.
  package var unusedTime: Int64 = 3 * 86_400_000
  /// Images that no pod uses that are kept; the one used longest ago goes first.
  package var unusedImages = 50
  /// Bytes of images that no pod uses that are kept; the one used longest ago goes first.
  package var unusedBytes: Int64 = 20 << 30

  /// The platform's bounds.
  package init() {}
}
