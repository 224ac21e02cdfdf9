import ClusterModel
package import ImageStore

/// Gives the images of pods: an `ImageStore`, or a simulated one.
package protocol ImageSource: Sendable {
  /// The image of a reference with a digest, pulled when it is not there yet; held until `release`.
  func image(_ reference: String, credential: RegistryCredential?) async throws -> HeldImage
  /// Says that a pod no longer uses an image.
  func release(image digest: String) async
  /// Digests of the images that are here, the one used last first.
  func imageDigests() async -> [String]
  /// Removes what was not used for long; often called, cheap when there is nothing to do.
  func tidy() async
}

extension ImageStore: ImageSource {
  /// The image of a reference; see `hold`.
  package func image(_ reference: String, credential: RegistryCredential?) async throws -> HeldImage {
    try await hold(ImageReference(reference), credential: credential)
  }

  /// See `release(_:)`.
  package func release(image digest: String) { release(digest) }

  /// See `digests()`.
  package func imageDigests() -> [String] { digests() }

  /// See `collect(all:)`.
  package func tidy() { collect() }
}

/// A node that runs no images.
package struct NoImages: ImageSource {
  /// A source without images.
  package init() {}

  /// Throws.
  package func image(_ reference: String, credential: RegistryCredential?) throws -> HeldImage {
    throw WorkerError.failed("this worker runs no images")
  }

  /// Nothing.
  package func release(image digest: String) {}

  /// None.
  package func imageDigests() -> [String] { [] }

  /// Nothing.
  package func tidy() {}
}
