import ClusterAPI
import Dispatch
import FunctionPackage
import Glibc
import Logging
import Synchronization

/// The unpacked packages of this node: `DATA/code/<digest>`, each fetched once however many pods wait for it, verified,
/// read-only, and kept as long as a pod uses it or there is room.
actor CodeCache: PackageSource {
  /// Unused packages kept.
  static let unusedMaximum = 100
  /// Attempts of one fetch.
  static let attemptsMaximum = 3
  /// How long one attempt may take, milliseconds.
  static let attemptMaximum: Int64 = 60_000
  private static let downloadPrefix = ".download-"

  private struct Entry {
    var uses = 0
    var lastUse: UInt64 = 0
    var here = false
  }

  /// What is here and who uses it: behind a lock, so that a pod whose package is here need not wait for its turn.
  private struct Shelf {
    var entries: [String: Entry] = [:]
    private var clock: UInt64 = 0

    mutating func use(_ digest: String) {
      clock += 1
      entries[digest, default: Entry()].uses += 1
      entries[digest]?.lastUse = clock
    }
  }

  private let folder: String
  private let artifacts: any Artifacts
  private let logger: Logger
  private let unpacking = DispatchQueue(label: "apus.worker.unpack")
  private let shelf = Mutex(Shelf())
  private var fetches: [String: Task<Void, any Error>] = [:]

  /// A cache in a folder that exists; removes what interrupted fetches left and takes up what is whole.
  init(folder: String, artifacts: any Artifacts, logger: Logger) {
    self.folder = folder
    self.artifacts = artifacts
    self.logger = logger
    for name in Descriptors.names(in: folder) {
      if name.hasPrefix(PackageArchive.temporaryPrefix) { try? PackageArchive.remove("\(folder)/\(name)") }
      if name.hasPrefix(Self.downloadPrefix) { unlink("\(folder)/\(name)") }
      if PackageArchive.isDigest("sha256:\(name)") {
        shelf.withLock { $0.entries["sha256:\(name)"] = Entry(here: true) }
      }
    }
  }

  func folder(namespace: String, digest: String) async throws -> String {
    guard PackageArchive.isDigest(digest) else { throw WorkerError.failed("\(digest) is not a package digest") }
    let isHere = shelf.withLock { shelf in
      shelf.use(digest)
      return shelf.entries[digest]?.here ?? false
    }
    do {
      if !isHere { try await fetched(namespace, digest).value }
      return path(of: digest)
    } catch {
      release(digest: digest)
      throw error
    }
  }

  nonisolated func folderHere(digest: String) -> String? {
    shelf.withLock { shelf in
      guard shelf.entries[digest]?.here == true else { return nil }
      shelf.use(digest)
      return path(of: digest)
    }
  }

  nonisolated func release(digest: String) {
    shelf.withLock { shelf in
      guard let entry = shelf.entries[digest], entry.uses > 0 else { return }
      shelf.entries[digest]?.uses = entry.uses - 1
      if entry.uses == 1, !entry.here { shelf.entries[digest] = nil }
    }
  }

  nonisolated func digests() -> [String] {
    let here = shelf.withLock { $0.entries.filter(\.value.here) }
    return here.sorted { ($1.value.lastUse, $0.key) < ($0.value.lastUse, $1.key) }.prefix(1000).map(\.key)
  }

  private nonisolated func path(of digest: String) -> String { "\(folder)/\(digest.dropFirst(7))" }

  private func fetched(_ namespace: String, _ digest: String) -> Task<Void, any Error> {
    if let fetch = fetches[digest] { return fetch }
    // Awaited by every pod that needs the package; goes on when one of them is stopped.
    let fetch = Task {
      do {
        try await self.fetch(namespace, digest)
        self.done(digest)
      } catch {
        self.fetches[digest] = nil
        throw error
      }
    }
    fetches[digest] = fetch
    return fetch
  }

  private func done(_ digest: String) {
    fetches[digest] = nil
    let surplus = shelf.withLock { shelf in
      shelf.entries[digest, default: Entry()].here = true
      let unused = shelf.entries.filter { $0.value.uses == 0 && $0.value.here }
        .sorted { $0.value.lastUse < $1.value.lastUse }.map(\.key)
      let surplus = unused.prefix(max(0, unused.count - Self.unusedMaximum))
      for old in surplus { shelf.entries[old] = nil }
      return surplus
    }
    for path in surplus.map(path(of:)) { unpacking.async { try? PackageArchive.remove(path) } }
  }

  private func fetch(_ namespace: String, _ digest: String) async throws {
    var backoff = Backoff(first: 100, longest: 1000)
    for attempt in 1... {
      do {
        let (artifacts, file) = (artifacts, "\(folder)/\(Self.downloadPrefix)\(UInt64.random(in: 0 ... .max))")
        defer { unlink(file) }
        try await within(milliseconds: Self.attemptMaximum) {
          try await Self.download(namespace, digest, from: artifacts, to: file)
        }
        try await unpack(file, digest)
        return
      } catch {
        guard attempt < Self.attemptsMaximum, Self.mayPass(error) else { throw error }
        logger.warning(
          "fetching a package failed", metadata: ["package.digest": "\(digest)", "error": "\(error)"])
        try await NamedWait.downloadRetry(milliseconds: backoff.failed()).wait()
      }
    }
  }

  /// Whether another attempt may go better.
  private static func mayPass(_ error: any Error) -> Bool {
    if let status = error as? APIStatus { return status.code >= 500 || status.code == 429 }
    return !(error is ArchiveError) && !(error is CancellationError)
  }

  private static func download(
    _ namespace: String, _ digest: String, from artifacts: any Artifacts, to file: String
  ) async throws {
    let chunks = try await artifacts.get(namespace: namespace, digest: digest)
    let fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard fd >= 0 else { throw WorkerError.errno("making \(file)") }
    defer { close(fd) }
    for try await chunk in chunks {
      var done = 0
      while done < chunk.count {
        let count = chunk.withUnsafeBytes { write(fd, $0.baseAddress?.advanced(by: done), $0.count - done) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw WorkerError.errno("writing \(file)") }
        done += count
      }
    }
  }

  private func unpack(_ file: String, _ digest: String) async throws {
    let path = path(of: digest)
    let result: Result<Void, ArchiveError> = await withCheckedContinuation { continuation in
      unpacking.async {
        do throws(ArchiveError) {
          try PackageArchive.unpack(file, into: path, expecting: digest)
          continuation.resume(returning: .success(()))
        } catch {
          if case .exists = error {
            continuation.resume(returning: .success(()))
          } else {
            continuation.resume(returning: .failure(error))
          }
        }
      }
    }
    try result.get()
  }
}
