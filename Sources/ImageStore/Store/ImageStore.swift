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
  /// Unpacks, which blocks; one layer at a time, so that a pull leaves the pods a core.
  private let unpacking = DispatchQueue(label: "apus.images.unpack", qos: .utility)
  /// Removes, which blocks too; what is removed has a name that nothing else asks for.
  private let removing = DispatchQueue(label: "apus.images.remove", qos: .utility)
  private var images: [String: Entry] = [:]
  /// Layers that are here, with what they count: the bytes of their files, and `entryBytes` for each.
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

  private struct Fetch: Hashable {
    var registry: String
    var blob: String
    var diffID: String
  }

  private var fetches: [Fetch: Task<Void, any Error>] = [:]

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
    let left = try self.folder.open()
    let found = self.folder.contents()
    for (image, lastUse) in found.images {
      images[image.digest] = Entry(image: image, lastUse: lastUse)
      for layer in image.layers { layers[layer.diffID] = layer.bytes }
    }
    let orphans = found.layers.subtracting(layers.keys).compactMap { self.folder.setAside(layer: $0) }
    removing.async { for path in left + orphans { try? PackageArchive.remove(path) } }
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
  /// image. Cheap when there is nothing to do. `all` removes every image that no pod uses. Answers how many went.
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
    return removed > 0 || all ? removed + removeLayers() : 0
  }

  @discardableResult
  private func removeLayers() -> Int {
    let used = Set(images.values.flatMap { $0.image.layers.map(\.diffID) }).union(needed.keys)
    let unused = layers.keys.filter { !used.contains($0) }
    for diffID in unused {
      // One that cannot be taken away now is still here, and tried again with the next.
      guard let aside = folder.setAside(layer: diffID) else {
        if !folder.has(layer: diffID) { layers[diffID] = nil }
        continue
      }
      layers[diffID] = nil
      removing.async { try? PackageArchive.remove(aside) }
    }
    return unused.count
  }

  /// Waits until all is removed that was taken away so far.
  private func removed() async { await withCheckedContinuation { done in removing.async { done.resume() } } }

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
    var noted: Set<String> = []
    defer {
      for diffID in noted { needed[diffID] = needed[diffID].flatMap { $0 > 1 ? $0 - 1 : nil } }
      // What came for an image that did not.
      removeLayers()
    }
    var attempt = 1
    while true {
      do {
        return try await attemptPull(image, digest, credential, noting: &noted)
      } catch let error as ImageError {
        let madeRoom = error.wantsRoom && collect(all: true) > 0
        guard attempt < limits.attempts, error.mayPass || madeRoom else { throw error }
        logger.warning("pulling an image failed", metadata: ["image": "\(image)", "error": "\(error)"])
        if madeRoom { await removed() }
      }
      try await Task.sleep(for: .milliseconds(limits.retryFirst << (attempt - 1)))
      attempt += 1
    }
  }

  /// One attempt; the layers that the image has are noted as needed, and stay so for the next.
  private func attemptPull(
    _ image: ImageReference, _ digest: String, _ credential: RegistryCredential?, noting noted: inout Set<String>
  ) async throws {
    let (_, manifest) = try await registries.manifest(image, credential, platform)
    let config = try await registries.config(image, manifest, credential)
    guard config.platform == platform else {
      throw ImageError.noPlatform(image: "\(image)", wanted: "\(platform)", offered: ["\(config.platform)"])
    }
    for diffID in config.diffIDs where noted.insert(diffID).inserted { needed[diffID, default: 0] += 1 }
    try await fetchAll(Array(zip(manifest.layers, config.diffIDs)), of: Source(image: image, credential: credential))
    // A layer that comes twice counts where it is on top: the same files once more change nothing below it.
    var seen: Set<String> = []
    let distinct = config.diffIDs.reversed().filter { seen.insert($0).inserted }
    let total = distinct.reduce(0) { $0 + (layers[$1] ?? 0) }
    guard total <= limits.imageBytes else { throw tooLarge(image) }
    let (user, group) = try ImageUsers.resolve(config.user, layers: distinct.map(folder.layer))
    let stored = StoredImage(
      digest: digest, config: config, layers: distinct.map { StoredLayer(diffID: $0, bytes: layers[$0] ?? 0) },
      user: user, group: group)
    try folder.write(stored)
    images[digest] = Entry(image: stored, lastUse: now())
    logger.info("image pulled", metadata: ["image": "\(image)", "layers": "\(distinct.count)", "bytes": "\(total)"])
    collect()
  }

  private func tooLarge(_ image: ImageReference) -> ImageError {
    .tooLarge(
      what: "\(image), unpacked, with \(limits.entryBytes) bytes for each file and folder,", limit: limits.imageBytes)
  }

  // MARK: layers

  /// Where the layers of an image come from.
  private struct Source: Sendable {
    var image: ImageReference
    var credential: RegistryCredential?
  }

  private func fetchAll(_ parts: [(ImageDescriptor, String)], of source: Source) async throws {
    let all = Set(parts.map(\.1))
    try await withThrowingTaskGroup(of: Void.self) { group in
      var started: Set<String> = []
      for (blob, diffID) in parts where layers[diffID] == nil && started.insert(diffID).inserted {
        if started.count > limits.fetchesAtOnce { try await group.next() }
        group.addTask { try await self.fetched(blob, diffID, of: source, beside: all) }
      }
      try await group.waitForAll()
    }
  }

  /// Sees to it that a layer is here. Another image's pull that fetches the same from the same registry does so for this
  /// one too; when it fails, this one asks by itself: another repository or login may be given what that one was not.
  private func fetched(
    _ blob: ImageDescriptor, _ diffID: String, of source: Source, beside all: Set<String>
  ) async throws {
    let key = Fetch(registry: source.image.registry, blob: blob.digest, diffID: diffID)
    while layers[diffID] == nil {
      let busy = fetches[key].map { [$0] } ?? fullRegistry(key.registry)
      if !busy.isEmpty {
        await Self.wait(forOneOf: busy)
        try Task.checkCancellation()
        continue
      }
      let fetch = Task { try await self.fetch(blob, diffID, of: source, beside: all) }
      fetches[key] = fetch
      defer { fetches[key] = nil }
      return try await withTaskCancellationHandler {
        try await fetch.value
      } onCancel: {
        fetch.cancel()
      }
    }
  }

  /// The fetches from a registry, when there are as many as may be.
  private func fullRegistry(_ registry: String) -> [Task<Void, any Error>] {
    let busy = fetches.filter { $0.key.registry == registry }
    return busy.count >= limits.fetchesOfRegistry ? Array(busy.values) : []
  }

  /// Waits until one of several tasks has ended, however; ends early when the waiting task is cancelled.
  private static func wait(forOneOf tasks: [Task<Void, any Error>]) async {
    await withTaskGroup(of: Void.self) { group in
      for task in tasks { group.addTask { try? await wait(for: task) } }
      await group.next()
      group.cancelAll()
    }
  }

  private func fetch(
    _ blob: ImageDescriptor, _ diffID: String, of source: Source, beside all: Set<String>
  ) async throws {
    let file = folder.download()
    defer { unlink(file) }
    try await registries.fetch(blob, of: source.image, source.credential, to: file)
    guard layers[diffID] == nil else { return }
    let room = max(0, limits.imageBytes - all.reduce(0) { $0 + (layers[$1] ?? 0) })
    var bounds = limits.layer
    bounds.bytes = min(bounds.bytes, room)
    bounds.files = min(bounds.files, Int(room / max(1, limits.entryBytes)))
    do throws(ArchiveError) {
      let summary = try await unpack(file, diffID, bounds)
      layers[diffID] = summary.bytes + Int64(summary.entries) * limits.entryBytes
    } catch {
      switch error {
      case .tooManyBytes where bounds.bytes < limits.layer.bytes, .tooManyFiles where bounds.files < limits.layer.files:
        throw tooLarge(source.image)
      default: throw ImageError.layer(digest: blob.digest, error)
      }
    }
  }

  private func unpack(
    _ file: String, _ diffID: String, _ bounds: ArchiveLimits
  ) async throws(ArchiveError) -> LayerSummary {
    let path = folder.layer(diffID)
    let result: Result<LayerSummary, ArchiveError> = await withCheckedContinuation { continuation in
      unpacking.async {
        continuation.resume(
          returning: Result { () throws(ArchiveError) in
            try LayerArchive.unpack(file, into: path, diffID: diffID, limits: bounds)
          })
      }
    }
    return try result.get()
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
