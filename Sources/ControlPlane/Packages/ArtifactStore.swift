package import ClusterAPI
import ClusterModel
import Crypto
import Glibc
import Synchronization

/// The packages of functions on disk: `DIR/HEX`, content-addressed, verified while they arrive.
///
/// Packages are shared by all namespaces: the digest is the name, and whoever knows it has the bytes.
package final class ArtifactStore: Artifacts, Sendable {
  /// Uploads at once.
  static let uploadsMax = 16
  /// Bytes of one chunk of a download.
  static let chunk = 262_144

  private let directory: String
  private let uploads = Mutex(0)

  /// A store in a folder, which is made if it is missing; half-written files of an earlier life are removed.
  package init(directory: String) throws {
    self.directory = directory
    mkdir(directory, 0o700)
    for name in Self.names(in: directory) where name.hasSuffix(".tmp") { unlink("\(directory)/\(name)") }
  }

  /// Whether the package is there. Whoever asks is about to name it, so it counts as new from now on.
  package func has(namespace: String, digest: String) async throws(APIStatus) -> Bool {
    let path = try path(digest)
    guard access(path, R_OK) == 0 else { return false }
    utimes(path, nil)
    return true
  }

  /// Stores a package; the bytes must have the digest.
  package func put(
    namespace: String, digest: String, size: Int64?, chunks: AsyncThrowingStream<[UInt8], any Error>
  ) async throws(APIStatus) {
    let path = try path(digest)
    if let size, size > Limits.artifactPacked { throw Self.tooLarge(size) }
    guard
      uploads.withLock({ count in
        if count >= Self.uploadsMax { return false }
        count += 1
        return true
      })
    else { throw .tooManyRequests("\(Self.uploadsMax) uploads are running; try again", retryAfterSeconds: 1) }
    defer { uploads.withLock { $0 -= 1 } }
    let temporary = "\(path).\(UInt64.random(in: 0...UInt64.max)).tmp"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw Self.failed(ArtifactFault(temporary, errno)) }
    defer { unlink(temporary) }
    do {
      defer { close(descriptor) }
      try await Self.receive(chunks, into: descriptor, digest: digest, path: temporary)
      guard fsync(descriptor) == 0 else { throw ArtifactFault(temporary, errno) }
      guard rename(temporary, path) == 0 else { throw ArtifactFault(path, errno) }
      try Self.sync(directory)
    } catch let status as APIStatus {
      throw status
    } catch {
      throw Self.failed(error)
    }
  }

  private static func receive(
    _ chunks: AsyncThrowingStream<[UInt8], any Error>, into descriptor: Int32, digest: String, path: String
  ) async throws {
    var hash = SHA256()
    var total: Int64 = 0
    for try await chunk in chunks {
      total += Int64(chunk.count)
      guard total <= Limits.artifactPacked else { throw tooLarge(total) }
      hash.update(data: chunk)
      var offset = 0
      while offset < chunk.count {
        let written = chunk[offset...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written >= 0 || errno == EINTR else { throw ArtifactFault(path, errno) }
        offset += max(0, written)
      }
    }
    let found = "sha256:" + hash.finalize().hex
    guard found == digest else {
      throw APIStatus.badRequest("the package's bytes have the digest \(found), not \(digest); send it again")
    }
  }

  /// The package's bytes.
  package func get(
    namespace: String, digest: String
  ) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    let path = try path(digest)
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw APIStatus(
        code: 404, reason: "NotFound", message: "package \(digest) is not in the artifact store; deploy again")
    }
    let file = OpenFile(descriptor)
    return AsyncThrowingStream(unfolding: {
      let bytes = try [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, count in
        count = read(file.descriptor, buffer.baseAddress, buffer.count)
        guard count >= 0 else {
          count = 0
          throw ArtifactFault(path, errno)
        }
      }
      return bytes.isEmpty ? nil : bytes
    })
  }

  /// Digests that are stored with the time of their last change.
  func stored() -> [(digest: String, at: Timestamp)] {
    Self.names(in: directory).compactMap { name in
      var information = stat()
      guard name.utf8.count == 64, stat("\(directory)/\(name)", &information) == 0 else { return nil }
      return ("sha256:\(name)", Timestamp(nanoseconds: Int64(information.st_mtim.tv_sec) * 1_000_000_000))
    }
  }

  /// Removes a package.
  func remove(_ digest: String) {
    if let path = try? path(digest) { unlink(path) }
  }

  private func path(_ digest: String) throws(APIStatus) -> String {
    if let fault = Schema.Rule.digest.check(digest) { throw .badRequest(fault) }
    return "\(directory)/\(digest.dropFirst(7))"
  }

  private static func names(in directory: String) -> [String] {
    guard let folder = opendir(directory) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      names.append(
        withUnsafeBytes(of: &entry.pointee.d_name) { raw in
          String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        })
    }
    return names.filter { $0 != "." && $0 != ".." }
  }

  /// Makes a rename in a folder durable.
  private static func sync(_ folder: String) throws {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw ArtifactFault(folder, errno) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw ArtifactFault(folder, errno) }
  }

  private static func tooLarge(_ size: Int64) -> APIStatus {
    .tooLarge("the package has \(size) bytes; at most \(Limits.artifactPacked) are taken")
  }

  private static func failed(_ error: any Error) -> APIStatus {
    if let error = error as? ArtifactFault, error.code == ENOSPC || error.code == EDQUOT {
      return .storageFull("the disk of the control plane is full; the package was not stored")
    }
    return .internalError("the package could not be stored: \(error)")
  }
}

/// An open descriptor that is closed with its last reference.
private final class OpenFile: Sendable {
  let descriptor: Int32
  init(_ descriptor: Int32) { self.descriptor = descriptor }
  deinit { close(descriptor) }
}

/// A file operation of the store that failed.
private struct ArtifactFault: Error, CustomStringConvertible {
  let path: String
  let code: Int32

  init(_ path: String, _ code: Int32) {
    self.path = path
    self.code = code
  }

  var description: String { "\(path): \(String(cString: strerror(code)))" }
}
