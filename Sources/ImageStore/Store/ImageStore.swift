package import ClusterModel
import Dispatch
import FunctionPackage
import Glibc
package import Logging

/// The images of one node: pulled once however many pods wait, each layer unpacked once however many images have it,
/// every byte checked against its digest, and kept as long as a pod uses them or there is room and time.
package actor ImageStore {
  private struct Entry {
    var image: StoredImage
    var lastUse: Int64
  }

  private let folder: ImageFolder
  private let registries: RegistryClient
  private let platform: ImagePlatform
  private let limits: ImageLimits
  private let logger: Logger
  private let now: @Sendable () -> Int64
  /// Unpacks and removes, which blocks; one layer at a time, so that a pull leaves the pods a core.
  private let unpacking = DispatchQueue(label: "apus.images.unpack", qos: .utility)
  private var images: [String: Entry] = [:]
  /// Layers that are here, with the bytes of their files.
  private var layers: [String: Int64] = [:]
  /// Pods that hold an image, or wait for it.
  private var holders: [String: Int] = [:]
  /// Layers that a pull under way needs.
  private var needed: [String: Int] = [:]
  private var pulls: [Pull: Task<Void, any Error>] = [:]

  private struct Pull: Hashable {
    var image: String
    var credential: RegistryCredential?
  }

  private var fetches: [String: Task<Void, any Error>] = [:]

  /// A store in a folder, which is made; removes what an interrupted process left, and layers of no image.
  package init(
    folder: String, registries: RegistryClient, platform: ImagePlatform = .current,
    limits: ImageLimits = ImageLimits(), logger: Logger,
    now: @escaping @Sendable () -> Int64 = { Timestamp.now().milliseconds }
  ) throws(ImageError) {
    self.folder = ImageFolder(path: folder)
    self.registries = registries
    self.platform = platform
    self.limits = limits
    self.logger = logger
    self.now = now
    try self.folder.open()
    let found = self.folder.contents()
    for (image, lastUse) in found.images {
      images[image.digest] = Entry(image: image, lastUse: lastUse)
      for layer in image.layers { layers[layer.diffID] = layer.bytes }
    }
    for orphan in found.layers.subtracting(layers.keys) {
      guard let aside = self.folder.setAside(layer: orphan) else { continue }
      unpacking.async { try? PackageArchive.remove(aside) }
    }
  }

  /// An image and the folders of its layers, pulled when it is not here; it stays until `release`. The reference must
  /// have a digest. Ends early when the task is cancelled; the pull goes on for whoever asks next.
  package func hold(_ image: ImageReference, credential: RegistryCredential? = nil) async throws -> HeldImage {
    guard let digest = image.digest else {
      throw ImageError.unsupported("\(image) has no digest; deploy the function again")
    }
    holders[digest, default: 0] += 1
    do {
      if images[digest] == nil { try await Self.wait(for: pulled(image, digest, credential)) }
      guard let entry = images[digest] else { throw ImageError.notFound("\(image)") }
      used(digest)
      return HeldImage(image: entry.image, folders: [folder.base] + entry.image.layers.map { folder.layer($0.diffID) })
    } catch {
      release(digest)
      throw error
    }
  }

  /// Says that a pod no longer uses an image.
  package func release(_ digest: String) {
    guard let count = holders[digest] else { return }
    holders[digest] = count > 1 ? count - 1 : nil
    if count == 1, images[digest] != nil {
      used(digest)
      collect()
    }
  }

  /// Digests of the images that are here, the one used last first.
  package func digests() -> [String] {
    images.sorted { ($1.value.lastUse, $0.key) < ($0.value.lastUse, $1.key) }.map(\.key)
  }

  /// Removes images that no pod uses and that were not used for long, or are beyond what is kept, and layers of no
  /// image. Cheap when there is nothing to do. `all` removes every image that no pod uses.
  @discardableResult
  package func collect(all: Bool = false) -> Int {
    let unused = images.filter { holders[$0.key] == nil }.sorted {
      ($1.value.lastUse, $0.key) < ($0.value.lastUse, $1.key)
    }
    var kept: Int64 = 0
    var removed = 0
    for (index, (digest, entry)) in unused.enumerated() {
      kept += entry.image.layers.reduce(0) { $0 + $1.bytes }
      let old = now() - entry.lastUse > limits.unusedTime
      guard all || old || index >= limits.unusedImages || kept > limits.unusedBytes else { continue }
      images[digest] = nil
      folder.removeRecord(digest)
      removed += 1
    }
    if removed > 0 { removeLayers() }
    return removed
  }

  private func removeLayers() {
    let used = Set(images.values.flatMap { $0.image.layers.map(\.diffID) }).union(needed.keys)
    for diffID in layers.keys where !used.contains(diffID) {
      layers[diffID] = nil
      guard let aside = folder.setAside(layer: diffID) else { continue }
      unpacking.async { try? PackageArchive.remove(aside) }
    }
  }

  private func used(_ digest: String) {
    let time = now()
    images[digest]?.lastUse = time
    folder.touch(digest, at: time)
  }

  // MARK: pulling

  private func pulled(
    _ image: ImageReference, _ digest: String, _ credential: RegistryCredential?
  ) -> Task<Void, any Error> {
    let key = Pull(image: "\(image)", credential: credential)
    if let pull = pulls[key] { return pull }
    let limits = limits
    // Awaited by every pod that needs the image; goes on when one of them is stopped. Ends by its own bounds.
    let pull = Task {
      defer { self.pulls[key] = nil }
      try await Deadline.within(limits.pullTime, what: "\(image)") {
        try await self.pull(image, digest, credential)
      }
    }
    pulls[key] = pull
    return pull
  }

  /// Waits for a task that others wait for too; ends early when the waiting task is cancelled.
  private static func wait(for task: Task<Void, any Error>) async throws {
    let (stream, continuation) = AsyncThrowingStream<Void, any Error>.makeStream()
    // Ends with the task it waits for.
    Task {
      do {
        try await task.value
        continuation.finish()
      } catch {
        continuation.finish(throwing: error)
      }
    }
    for try await _ in stream {}
    try Task.checkCancellation()
  }

  private func pull(_ image: ImageReference, _ digest: String, _ credential: RegistryCredential?) async throws {
    var attempt = 1
    while true {
      do {
        return try await attemptPull(image, digest, credential)
      } catch let error as ImageError {
        let madeRoom = error.wantsRoom && collect(all: true) > 0
        guard attempt < limits.attempts, error.mayPass || madeRoom else { throw error }
        logger.warning("pulling an image failed", metadata: ["image": "\(image)", "error": "\(error)"])
      }
      try await Task.sleep(for: .milliseconds(limits.retryFirst << (attempt - 1)))
      attempt += 1
    }
  }

  private func attemptPull(_ image: ImageReference, _ digest: String, _ credential: RegistryCredential?) async throws {
    let (_, manifest) = try await registries.manifest(image, credential, platform)
    let config = try await registries.config(image, manifest, credential)
    guard config.platform == platform else {
      throw ImageError.noPlatform(image: "\(image)", wanted: "\(platform)", offered: ["\(config.platform)"])
    }
    let parts = Array(zip(manifest.layers, config.diffIDs))
    for (_, diffID) in parts { needed[diffID, default: 0] += 1 }
    defer {
      for (_, diffID) in parts { needed[diffID] = needed[diffID].flatMap { $0 > 1 ? $0 - 1 : nil } }
    }
    try await fetchAll(parts, image, credential)
    let total = config.diffIDs.reduce(0) { $0 + (layers[$1] ?? 0) }
    guard total <= limits.imageBytes else {
      throw ImageError.tooLarge(what: "\(image), unpacked,", limit: limits.imageBytes)
    }
    // A layer that comes twice counts where it is on top: the same files once more change nothing below it.
    var seen: Set<String> = []
    let distinct = config.diffIDs.reversed().filter { seen.insert($0).inserted }
    let (user, group) = try ImageUsers.resolve(config.user, layers: distinct.map(folder.layer))
    let stored = StoredImage(
      digest: digest, config: config, layers: distinct.map { StoredLayer(diffID: $0, bytes: layers[$0] ?? 0) },
      user: user, group: group)
    try folder.write(stored)
    images[digest] = Entry(image: stored, lastUse: now())
    logger.info("image pulled", metadata: ["image": "\(image)", "layers": "\(distinct.count)", "bytes": "\(total)"])
    collect()
  }

  private func fetchAll(
    _ parts: [(ImageDescriptor, String)], _ image: ImageReference, _ credential: RegistryCredential?
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      var started = 0
      for (blob, diffID) in parts where layers[diffID] == nil {
        if started >= limits.fetchesAtOnce { try await group.next() }
        started += 1
        let fetch = fetched(blob, diffID, image, credential)
        group.addTask { try await fetch.value }
      }
      try await group.waitForAll()
    }
  }

  private func fetched(
    _ blob: ImageDescriptor, _ diffID: String, _ image: ImageReference, _ credential: RegistryCredential?
  ) -> Task<Void, any Error> {
    if let fetch = fetches[diffID] { return fetch }
    // Awaited by every pull that needs the layer; ends by the bounds of its transfer.
    let fetch = Task {
      defer { self.fetches[diffID] = nil }
      if self.layers[diffID] != nil { return }
      let file = self.folder.download()
      defer { unlink(file) }
      try await self.registries.fetch(blob, of: image, credential, to: file)
      self.layers[diffID] = try await self.unpack(file, diffID, blob.digest)
    }
    fetches[diffID] = fetch
    return fetch
  }

  private func unpack(_ file: String, _ diffID: String, _ digest: String) async throws(ImageError) -> Int64 {
    let (path, bounds) = (folder.layer(diffID), limits.layer)
    let result: Result<Int64, ArchiveError> = await withCheckedContinuation { continuation in
      unpacking.async {
        do throws(ArchiveError) {
          let summary = try LayerArchive.unpack(file, into: path, diffID: diffID, limits: bounds)
          continuation.resume(returning: .success(summary.bytes))
        } catch {
          continuation.resume(returning: .failure(error))
        }
      }
    }
    do throws(ArchiveError) { return try result.get() } catch { throw .layer(digest: digest, error) }
  }
}

/// Bounds how long something takes; what is late is cancelled.
private enum Deadline {
  static func within(
    _ milliseconds: Int64, what: String, _ body: @escaping @Sendable () async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await body() }
      group.addTask {
        try await Task.sleep(for: .milliseconds(milliseconds))
        throw ImageError.unsupported("\(what) could not be had within \(milliseconds / 1000) s")
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }
}
