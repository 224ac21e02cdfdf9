import ClusterModel
import ClusterTestSupport
import Foundation
import FunctionPackage
import Logging
import NIOHTTP1
import Synchronization
import Testing

@testable import ImageStore

/// The store of a node against a registry played by the test; as root, for the owners of files.
@Suite("Image store", .enabled(if: geteuid() == 0, "owners and whiteouts need root"), .timeLimit(.minutes(2)))
struct StoreTests {
  private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  private static let platform = ImagePlatform(architecture: "amd64")

  private final class Clock: Sendable {
    let time = Mutex<Int64>(1_700_000_000_000)
    func move(_ milliseconds: Int64) { time.withLock { $0 += milliseconds } }
  }

  private struct World {
    let registry: FakeRegistry
    let folder: TemporaryFolder
    let clock = Clock()
    var limits = ImageLimits()
    var images: String { "\(folder.path)/images" }

    func store(insecure: Set<String> = []) throws -> ImageStore {
      let clock = clock
      return try ImageStore(
        folder: images, registries: RegistryClient(insecure: insecure, limits: limits, logger: StoreTests.logger),
        platform: StoreTests.platform, limits: limits, logger: StoreTests.logger, now: { clock.time.withLock { $0 } })
    }

    func reference(_ digest: String, of other: FakeRegistry? = nil, _ repository: String = "team/app") throws
      -> ImageReference
    { try ImageReference("\((other ?? registry).host)/\(repository):1@\(digest)") }

    /// Names in the store's folder of layers, what is being fetched or removed among them.
    var layers: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: "\(images)/layers")) ?? []).sorted() }
    var records: [String] { (try? FileManager.default.contentsOfDirectory(atPath: "\(images)/images")) ?? [] }
  }

  private func world(
    limits edit: (inout ImageLimits) -> Void = { _ in }, _ body: (World) async throws -> Void
  ) async throws {
    var world = World(registry: try await FakeRegistry.start(), folder: try TemporaryFolder("apus-images"))
    world.limits.retryFirst = 1
    world.limits.answerTime = 5000
    edit(&world.limits)
    do { try await body(world) } catch {
      await world.registry.stop()
      throw error
    }
    await world.registry.stop()
  }

  private static func layer(_ name: String, _ text: String = "text") -> [UInt8] {
    LayerBytes.make { $0.file(name, text) }
  }

  private func failure(_ store: ImageStore, _ image: ImageReference) async -> ImageError? {
    do {
      _ = try await store.hold(image)
      return nil
    } catch { return error as? ImageError }
  }

  @Test("many pods pull once, layers are shared by images, and the topmost folder comes first")
  func sharing() async throws {
    try await world { world in
      let (base, one, two) = (Self.layer("base"), Self.layer("one"), Self.layer("two"))
      let first = world.registry.image(
        layers: [base, one, base],
        config:
          #"{"Entrypoint":["/a"],"Cmd":["b"],"Env":["A=1"],"User":"7:8","WorkingDir":"/srv","StopSignal":"SIGINT"}"#)
      let second = world.registry.image(layers: [base, two], tag: "2")
      let store = try world.store()
      let reference = try world.reference(first)
      let held = try await withThrowingTaskGroup(of: HeldImage.self) { group in
        for _ in 0..<20 { group.addTask { try await store.hold(reference) } }
        var all: Set<HeldImage> = []
        for try await image in group { all.insert(image) }
        return all
      }
      let image = try #require(held.first)
      #expect(held.count == 1)
      #expect(image.image.user == 7 && image.image.group == 8 && image.image.config.directory == "/srv")
      #expect(image.folders.count == 3, "ours, and two of three: one comes twice")
      #expect(image.folders[0].hasSuffix("/base-1"))
      #expect(FileManager.default.fileExists(atPath: "\(image.folders[1])/base"))
      #expect(FileManager.default.fileExists(atPath: "\(image.folders[2])/one"))
      #expect(world.registry.hits("/blobs/\(FakeRegistry.digest(base))") == 1)
      _ = try await store.hold(world.reference(second))
      #expect(world.registry.hits("/blobs/\(FakeRegistry.digest(base))") == 1, "a layer of both is fetched once")
      #expect(world.registry.hits("/blobs/\(FakeRegistry.digest(two))") == 1)
      #expect(world.layers.count == 3)
      var status = stat()
      #expect(stat(world.images, &status) == 0 && status.st_mode & 0o777 == 0o700)
    }
  }

  @Test("a store that is opened again has its images, and nothing of what was interrupted")
  func reopening() async throws {
    try await world { world in
      let digest = world.registry.image(layers: [Self.layer("a")])
      _ = try await world.store().hold(world.reference(digest))
      let interrupted = [".download-1", ".unpacking-x.1.2", ".removing-3", String(repeating: "0", count: 64)]
      for name in interrupted { mkdir("\(world.images)/layers/\(name)", 0o755) }
      try Data("{".utf8).write(to: URL(filePath: "\(world.images)/images/\(String(repeating: "1", count: 64)).json"))
      try Data().write(to: URL(filePath: "\(world.images)/images/.2"))
      await world.registry.stop()
      let store = try world.store()
      #expect(await store.digests() == [digest])
      let held = try await store.hold(world.reference(digest))
      #expect(held.image.config.entrypoint == ["/bin/app"])
      #expect(await eventually { world.layers.count == 1 }, "\(world.layers)")
      let record = "\(digest.dropFirst(7)).json"
      #expect(await eventually { world.records == [record] }, "\(world.records)")
    }
  }

  @Test("unused images go after their time or beyond their number; layers go with the last image that has them")
  func collecting() async throws {
    try await world(limits: { $0.unusedImages = 2 }) { world in
      let shared = Self.layer("shared")
      let digests = (0..<4).map { number in
        world.registry.image(layers: [shared, Self.layer("own\(number)")], tag: "\(number)")
      }
      let store = try world.store()
      for digest in digests {
        _ = try await store.hold(world.reference(digest))
        world.clock.move(1000)
      }
      await store.collect(all: true)
      #expect(world.records.count == 4, "pods hold them all")
      for digest in digests {
        await store.release(digest)
        world.clock.move(1000)
      }
      #expect(await store.digests() == [digests[3], digests[2]], "two are kept, the ones used last")
      #expect(await eventually { world.layers.count == 3 }, "\(world.layers)")
      world.clock.move(world.limits.unusedTime - 1500)
      await store.collect()
      #expect(await store.digests() == [digests[3]])
      #expect(await eventually { world.layers.count == 2 })
      world.clock.move(10_000)
      _ = try world.store()
      await store.collect()
      #expect(await store.digests() == [] && world.records == [])
      #expect(await eventually { world.layers.isEmpty })
      _ = try await store.hold(world.reference(digests[0]))
      #expect(world.layers.count == 2, "it can be pulled again")
    }
  }

  @Test("what is not what its digest says is tried again, refused, and leaves nothing")
  func digests() async throws {
    try await world { world in
      let (good, bad) = (Self.layer("a"), Self.layer("a", "evil"))
      let digest = world.registry.image(layers: [good])
      let path = "/v2/team/app/blobs/\(FakeRegistry.digest(good))"
      world.registry.state.withLock { $0.swapped[path] = bad }
      let store = try world.store()
      let error = await failure(store, try world.reference(digest))
      guard case .digestMismatch(_, FakeRegistry.digest(good), FakeRegistry.digest(bad))? = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(world.registry.hits(path) == 3)
      #expect(world.layers == [] && world.records == [])
      world.registry.state.withLock { $0.swapped = ["/v2/team/app/manifests/\(digest)": Array("{}".utf8)] }
      guard case .digestMismatch? = await failure(store, try world.reference(digest)) else {
        Issue.record("another manifest passes")
        return
      }
      world.registry.state.withLock { $0.swapped = [path: Array(good.prefix(100))] }
      guard case .digestMismatch? = await failure(store, try world.reference(digest)) else {
        Issue.record("a layer that was cut short passes")
        return
      }
      world.registry.state.withLock { $0.swapped = [:] }
      _ = try await store.hold(world.reference(digest))
      // The tar is not the one the configuration names.
      let other = world.registry.image(layers: [good], tag: "3")
      #expect(other == digest)
    }
  }

  @Test("each reason why an image cannot be had has its own words")
  func reasons() async throws {
    try await world { world in
      let store = try world.store()
      let none = FakeRegistry.digest([1])
      #expect(await failure(store, try world.reference(none))?.description.contains("there is no image") == true)
      let arm = world.registry.image(layers: [Self.layer("a")], architecture: "arm64")
      #expect(
        await failure(store, try world.reference(arm))?.description.contains(
          "not for linux/amd64, only for linux/arm64")
          == true)
      let index = world.registry.manifest(
        #"{"manifests":[{"digest":"\#(arm)","size":1,"platform":{"os":"linux","architecture":"arm64"}}]}"#, tag: "i")
      #expect(
        await failure(store, try world.reference(index))?.description.contains("only for linux/arm64") == true)
      let unknown = world.registry.image(layers: [Self.layer("b")], config: #"{"User":"ghost"}"#)
      #expect(await failure(store, try world.reference(unknown))?.description.contains("ghost") == true)
      let far = world.registry.image(layers: [Self.layer("b")], config: #"{"User":"70000"}"#)
      #expect(await failure(store, try world.reference(far))?.description.contains("65535") == true)
      let zstd = world.registry.image(layers: [[0x28, 0xb5, 0x2f, 0xfd, 0]])
      #expect(await failure(store, try world.reference(zstd))?.description.contains("zstd") == true)
      #expect(
        await failure(store, try ImageReference("\(world.registry.host)/team/app:1"))?.description.contains("digest")
          == true)
      world.registry.state.withLock { $0.failures = [.serviceUnavailable, .tooManyRequests] }
      let fine = world.registry.image(layers: [Self.layer("c")])
      #expect(await failure(store, try world.reference(fine)) == nil, "two failures that pass are no failure")
      let away = try ImageReference("127.0.0.1:1/team/app@\(none)")
      #expect(await failure(store, away)?.description.contains("cannot be reached: connection refused") == true)
      #expect(await eventually { world.layers.count == 1 }, "what was unpacked for an image without a user goes")
    }
  }

  @Test("an index leads to the manifest for this machine, and keeps its own digest")
  func index() async throws {
    try await world { world in
      let (arm, amd) = (
        world.registry.image(layers: [Self.layer("arm")], architecture: "arm64", tag: "arm"),
        world.registry.image(layers: [Self.layer("amd")], tag: "amd")
      )
      func entry(_ digest: String, _ platform: String) -> String {
        #"{"digest":"\#(digest)","size":1,"platform":{"os":"linux","architecture":"\#(platform)"}}"#
      }
      let index = world.registry.manifest(
        #"{"schemaVersion":2,"manifests":[\#(entry(arm, "arm64")),\#(entry(amd, "amd64"))]}"#, tag: "1")
      let client = RegistryClient(logger: Self.logger)
      let found = try await client.inspect(try ImageReference("\(world.registry.host)/team/app:1"))
      #expect(found.digest == index)
      let held = try await world.store().hold(world.reference(index))
      #expect(held.image.digest == index && FileManager.default.fileExists(atPath: "\(held.folders[1])/amd"))
    }
  }

  @Test("a registry that asks for a login gets it, by itself or for a token, and nobody else does")
  func login() async throws {
    for kind in ["basic", "bearer"] {
      try await world { world in
        let other = try await FakeRegistry.start()
        let layer = Self.layer("a")
        let digest = world.registry.image(layers: [layer])
        other.blob(layer, type: "x")
        let path = "/v2/team/app/blobs/\(FakeRegistry.digest(layer))"
        let place = "http://\(other.host)\(path)"
        world.registry.state.withLock { state in
          state.login = kind
          state.redirects[path] = place
        }
        let store = try world.store(insecure: [other.host])
        guard case .unauthorized? = await failure(store, try world.reference(digest)) else {
          Issue.record("\(kind): no login was asked for")
          return
        }
        let credential = RegistryCredential(user: FakeRegistry.user, password: FakeRegistry.password)
        _ = try await store.hold(world.reference(digest), credential: credential)
        #expect(other.state.withLock { $0.authorizations } == [nil], "\(kind): the login stays with its registry")
        await other.stop()
      }
    }
  }

  @Test("redirects in a circle, to elsewhere by plain HTTP, and a registry far away by plain HTTP are refused")
  func redirects() async throws {
    try await world { world in
      let digest = world.registry.image(layers: [Self.layer("a")])
      let path = "/v2/team/app/manifests/\(digest)"
      let store = try world.store()
      for place in [path, "http://192.0.2.1/x", "ftp://127.0.0.1/x", "file:///etc/passwd"] {
        world.registry.state.withLock { $0.redirects = [path: place] }
        guard case .unreachable? = await failure(store, try world.reference(digest)) else {
          Issue.record("\(place) is followed")
          return
        }
      }
    }
  }

  @Test("a registry of this machine leads to none of its other services, by redirect or for a token")
  func otherServices() async throws {
    try await world { world in
      let service = try await FakeRegistry.start()
      let digest = world.registry.image(layers: [Self.layer("a")])
      let (path, away) = ("/v2/team/app/manifests/\(digest)", "http://\(service.host)/token")
      let store = try world.store()
      world.registry.state.withLock { $0.redirects = [path: away] }
      guard case .unreachable? = await failure(store, try world.reference(digest)) else {
        Issue.record("a redirect is followed")
        return
      }
      world.registry.state.withLock { state in
        (state.redirects, state.login, state.realm) = ([:], "bearer", away)
      }
      guard case .unreachable? = await failure(store, try world.reference(digest)) else {
        Issue.record("a token is asked for elsewhere")
        return
      }
      #expect(service.state.withLock { $0.seen } == [])
      await service.stop()
    }
  }

  @Test("a registry that stalls keeps nobody from the same layer elsewhere, and who waits for another asks by itself")
  func stalling() async throws {
    try await world { world in
      let (other, layer) = (try await FakeRegistry.start(), Self.layer("shared"))
      let blob = "/v2/team/app/blobs/\(FakeRegistry.digest(layer))"
      let (slow, quick) = (world.registry.image(layers: [layer]), other.image(layers: [layer], tag: "2"))
      let foreign = world.registry.image(
        layers: [layer], config: #"{"Cmd":["/x"]}"#, tag: "3", repository: "team/other")
      world.registry.state.withLock { $0.held = [blob] }
      let store = try world.store()
      let registry = world.registry
      let (first, third) = (try world.reference(slow), try world.reference(foreign, "team/other"))
      let stalled = Task { try await store.hold(first) }
      #expect(await eventually { registry.hits(blob) == 1 })
      // The same registry and layer, of a repository that may have it: it waits for the first.
      let waiting = Task { try await store.hold(third) }
      #expect(await eventually { registry.hits("/team/other/blobs/") == 1 }, "its configuration is read")
      registry.state.withLock { $0.failures = [.notFound] }
      registry.release()
      await #expect(throws: ImageError.self) { _ = try await stalled.value }
      #expect(try await waiting.value.folders.count == 2)
      #expect(registry.hits("/team/other/blobs/\(FakeRegistry.digest(layer))") == 1)
      await store.release(foreign)
      await store.collect(all: true)
      #expect(await eventually { world.layers.isEmpty })
      registry.state.withLock { $0.held = [blob] }
      let again = Task { try await store.hold(first) }
      #expect(await eventually { registry.hits(blob) == 2 })
      #expect(try await store.hold(world.reference(quick, of: other)).folders.count == 2)
      registry.release()
      _ = try await again.value
      #expect(world.layers.count == 1, "both unpacked the same layer")
      await other.stop()
    }
  }

  @Test("of one registry a bounded number of layers is fetched at once, each over a connection of its own")
  func manyFetches() async throws {
    try await world(limits: { ($0.fetchesOfRegistry, $0.fetchesAtOnce) = (12, 2) }) { world in
      let layers = (0..<16).map { Self.layer("layer\($0)") }
      let digests = (0..<8).map { world.registry.image(layers: Array(layers[$0 * 2..<$0 * 2 + 2]), tag: "\($0)") }
      let registry = world.registry
      registry.state.withLock { $0.held = Set(layers.map { "/v2/team/app/blobs/\(FakeRegistry.digest($0))" }) }
      let fetched: @Sendable () -> Int = {
        registry.state.withLock { state in state.seen.count { state.held.contains($0) } }
      }
      let store = try world.store()
      let references = try digests.map { try world.reference($0) }
      let all = Task {
        try await withThrowingTaskGroup(of: Int.self) { group in
          for reference in references { group.addTask { try await store.hold(reference).folders.count } }
          return try await group.reduce(0, +)
        }
      }
      #expect(await eventually { fetched() == 12 })
      #expect(await eventually { registry.hits("/manifests/") == 8 })
      #expect(fetched() == 12)
      registry.release()
      #expect(try await all.value == 24)
    }
  }

  @Test("who waits for a place in a registry gets the first that is free")
  func firstPlace() async throws {
    try await world(limits: { $0.fetchesOfRegistry = 3 }) { world in
      let layers = (0..<4).map { Self.layer("layer\($0)") }
      let paths = layers.map { "/v2/team/app/blobs/\(FakeRegistry.digest($0))" }
      let digests = layers.enumerated().map { world.registry.image(layers: [$1], tag: "\($0)") }
      let registry = world.registry
      registry.state.withLock { $0.held = Set(paths) }
      let store = try world.store()
      let references = try digests.map { try world.reference($0) }
      let first = references[..<3].map { reference in Task { try await store.hold(reference) } }
      #expect(await eventually { registry.state.withLock { $0.waiting.count } == 3 })
      let last = Task { try await store.hold(references[3]) }
      #expect(await eventually { registry.hits("/manifests/") == 4 })
      // All but one go on, whichever they are.
      let stalled = registry.state.withLock { state in
        state.held = []
        return state.waiting.removeFirst()
      }
      registry.release()
      #expect(try await last.value.folders.count == 2)
      stalled()
      for task in first { _ = try await task.value }
    }
  }

  @Test("what a failed pull unpacked goes with it, and an image counts its files besides their bytes")
  func leftovers() async throws {
    try await world(limits: { ($0.imageBytes, $0.entryBytes) = (100_000, 1000) }) { world in
      let store = try world.store()
      let large = (0..<3).map { Self.layer("big\($0)", String(repeating: "x", count: 40_000)) }
      let tooLarge = world.registry.image(layers: large, tag: "1")
      let error = await failure(store, try world.reference(tooLarge))
      #expect(error?.description.contains("100000 bytes") == true, "\(error as Any)")
      #expect(await eventually { world.layers.isEmpty }, "\(world.layers)")
      let many = world.registry.image(
        layers: (0..<2).map { part in
          LayerBytes.make { layer in for number in 0..<60 { layer.file("f\(part)-\(number)", "") } }
        }, tag: "2")
      let second = await failure(store, try world.reference(many))
      #expect(second?.description.contains("1000 bytes for each file") == true, "\(second as Any)")
      #expect(await eventually { world.layers.isEmpty }, "\(world.layers)")
      let missing = Self.layer("missing")
      let half = world.registry.image(layers: [Self.layer("there"), missing], tag: "3")
      world.registry.state.withLock { $0.documents["/v2/team/app/blobs/\(FakeRegistry.digest(missing))"] = nil }
      #expect(await failure(store, try world.reference(half)) != nil)
      #expect(await eventually { world.layers.isEmpty }, "\(world.layers)")
    }
  }

  @Test("a layer's folder that the store does not know of is taken for what it is")
  func strangers() async throws {
    try await world { world in
      let layer = Self.layer("a")
      let digest = world.registry.image(layers: [layer])
      let store = try world.store()
      let place = "\(world.images)/layers/\(FakeRegistry.digest(layer).dropFirst(7))"
      mkdir(place, 0o755)
      try Data("known".utf8).write(to: URL(filePath: "\(place)/a"))
      let held = try await store.hold(world.reference(digest))
      #expect(try String(contentsOfFile: "\(held.folders[1])/a", encoding: .utf8) == "known")
      #expect(world.layers.count == 1)
    }
  }

  @Test("a pod that is stopped does not wait for its image; the pull goes on for the next")
  func cancelling() async throws {
    // The first attempt fails, and the second comes after a second.
    try await world(limits: { $0.retryFirst = 1000 }) { world in
      let digest = world.registry.image(layers: [Self.layer("a")])
      world.registry.state.withLock { $0.failures = [.serviceUnavailable] }
      let store = try world.store()
      let reference = try world.reference(digest)
      let registry = world.registry
      let waiting = Task { try await store.hold(reference) }
      #expect(await eventually { registry.hits("/manifests/") == 1 })
      waiting.cancel()
      await #expect(throws: CancellationError.self) { _ = try await waiting.value }
      #expect(registry.hits("/manifests/") == 1)
      _ = try await store.hold(reference)
      #expect(registry.hits("/manifests/") == 2)
    }
  }

  @Test("a full disk leaves nothing half-written, and images nobody uses make room")
  func fullDisk() async throws {
    try await world { world in
      mkdir(world.images, 0o700)
      let mounted = try await Command.run("mount", ["-t", "tmpfs", "-o", "size=3m", "apus-test", world.images])
      try #require(mounted.isSuccess, "\(mounted.output)")
      let large = String(repeating: "x", count: 1_400_000)
      let (first, second, third) = (
        world.registry.image(layers: [Self.layer("a", large)], tag: "1"),
        world.registry.image(layers: [Self.layer("b", large)], tag: "2"),
        world.registry.image(layers: [Self.layer("c", large), Self.layer("d", large)], tag: "3")
      )
      var failures: [String] = []
      do {
        let store = try world.store()
        _ = try await store.hold(world.reference(first))
        if await failure(store, try world.reference(second))?.wantsRoom != true { failures.append("there was room") }
        if world.layers.count != 1 { failures.append("left: \(world.layers)") }
        await store.release(first)
        do { _ = try await store.hold(world.reference(second)) } catch { failures.append("\(error)") }
        if await failure(store, try world.reference(third))?.wantsRoom != true { failures.append("3 MiB hold 4") }
        if await !eventually({ world.layers.count == 1 }) { failures.append("of the third: \(world.layers)") }
      } catch { failures.append("\(error)") }
      _ = try await Command.run("umount", [world.images])
      #expect(failures == [])
    }
  }
}
