/// An image that is unpacked here and ready to be run.
package struct StoredImage: Codable, Hashable, Sendable {
  /// What the reference named: `sha256:HEX` of an index or manifest.
  package var digest: String
  /// How it is run.
  package var config: ImageConfig
  /// Its layers without repetition, the topmost first.
  package var layers: [StoredLayer]
  /// The user it runs as, 0 …< 65536, as the image counts.
  package var user: UInt32
  /// The group it runs as, 0 …< 65536.
  package var group: UInt32
}

/// One layer of an image, which other images may have too.
package struct StoredLayer: Codable, Hashable, Sendable {
  /// `sha256:HEX` of its unpacked tar.
  package var diffID: String
  /// Bytes of its files.
  package var bytes: Int64
}

/// An image a pod holds: it stays until `ImageStore.release`.
package struct HeldImage: Hashable, Sendable {
  /// The image.
  package var image: StoredImage
  /// The folders of its layers, the topmost first; the first is the platform's own, with the places that are mounted
  /// upon.
  package var folders: [String]

  /// An image and its folders.
  package init(image: StoredImage, folders: [String]) {
    self.image = image
    self.folders = folders
  }
}
