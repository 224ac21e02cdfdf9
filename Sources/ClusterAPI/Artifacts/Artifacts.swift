/// The store of function packages, addressed by digest (`sha256:HEX`).
package protocol Artifacts: Sendable {
  /// Whether the package is there.
  func has(namespace: String, digest: String) async throws(APIStatus) -> Bool
  /// Stores a package; 400 when the bytes do not have the digest, 413 when there are too many.
  func put(namespace: String, digest: String, size: Int64?, chunks: AsyncThrowingStream<[UInt8], any Error>)
    async throws(APIStatus)
  /// The package's bytes; 404 when it is not there.
  func get(namespace: String, digest: String) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error>
}
