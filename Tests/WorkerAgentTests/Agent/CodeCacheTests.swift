import ClusterAPI
import ClusterTestSupport
import Foundation
import FunctionPackage
import Logging
import Synchronization
import Testing

@testable import WorkerAgent

/// An artifact store in memory that counts, waits and fails as told.
final class SimulatedArtifacts: Artifacts {
  private struct State {
    var packages: [String: [UInt8]] = [:]
    var gets = 0
    var failures: [APIStatus] = []
  }

  private let state = Mutex(State())
  var gets: Int { state.withLock { $0.gets } }

  func add(_ digest: String, _ bytes: [UInt8]) { state.withLock { $0.packages[digest] = bytes } }
  func fail(_ failures: [APIStatus]) { state.withLock { $0.failures = failures } }

  func has(namespace: String, digest: String) async throws(APIStatus) -> Bool {
    state.withLock { $0.packages[digest] != nil }
  }

  func put(namespace: String, digest: String, size: Int64?, chunks: AsyncThrowingStream<[UInt8], any Error>)
    async throws(APIStatus)
  {}

  func get(namespace: String, digest: String) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    let result = state.withLock { state -> Result<[UInt8], APIStatus> in
      state.gets += 1
      if !state.failures.isEmpty { return .failure(state.failures.removeFirst()) }
      guard let bytes = state.packages[digest] else { return .failure(.noSuchPath(digest)) }
      return .success(bytes)
    }
    let bytes = try result.get()
    return AsyncThrowingStream { continuation in
      for start in stride(from: 0, to: bytes.count, by: 100) {
        continuation.yield(Array(bytes[start..<min(bytes.count, start + 100)]))
      }
      continuation.finish()
    }
  }
}

@Suite("Code cache")
struct CodeCacheTests {
  /// A packed folder with one file, and its digest.
  static func package(_ text: String, in folder: TemporaryFolder) throws -> (digest: String, bytes: [UInt8]) {
    let source = "\(folder.path)/src-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(source)/handler.py"))
    let packed = "\(source).tar.gz"
    let summary = try PackageArchive.pack(folder: source, to: packed)
    return (summary.digest, [UInt8](try Data(contentsOf: URL(fileURLWithPath: packed))))
  }

  static func cache(_ folder: TemporaryFolder, _ artifacts: SimulatedArtifacts) throws -> CodeCache {
    let code = "\(folder.path)/code"
    try Descriptors.makeFolder(code)
    return CodeCache(
      folder: code, artifacts: artifacts, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  @Test func `many pods share one fetch, and the files are there`() async throws {
    let folder = try TemporaryFolder()
    let artifacts = SimulatedArtifacts()
    let (digest, bytes) = try Self.package("print(1)", in: folder)
    artifacts.add(digest, bytes)
    let cache = try Self.cache(folder, artifacts)
    let paths = try await withThrowingTaskGroup(of: String.self) { group in
      for _ in 0..<20 { group.addTask { try await cache.folder(namespace: "default", digest: digest) } }
      return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(artifacts.gets == 1)
    let path = try #require(paths.first)
    #expect(paths.count == 1)
    #expect(try String(contentsOfFile: "\(path)/handler.py", encoding: .utf8) == "print(1)")
    #expect(cache.digests() == [digest])
    let again = try Self.cache(folder, artifacts)
    #expect(try await again.folder(namespace: "default", digest: digest) == path)
    #expect(artifacts.gets == 1)
    try PackageArchive.remove(path)
  }

  @Test func `a store that is away is asked again, one that says no is not`() async throws {
    let folder = try TemporaryFolder()
    let artifacts = SimulatedArtifacts()
    let (digest, bytes) = try Self.package("print(2)", in: folder)
    artifacts.add(digest, bytes)
    artifacts.fail([.unavailable("away"), .unavailable("away")])
    let cache = try Self.cache(folder, artifacts)
    let path = try await cache.folder(namespace: "default", digest: digest)
    #expect(artifacts.gets == 3)
    try PackageArchive.remove(path)
    let missing = "sha256:" + String(repeating: "0", count: 64)
    await #expect(throws: APIStatus.self) { try await cache.folder(namespace: "default", digest: missing) }
    #expect(artifacts.gets == 4)
  }

  @Test func `bytes of another digest are refused and leave nothing`() async throws {
    let folder = try TemporaryFolder()
    let artifacts = SimulatedArtifacts()
    let (_, bytes) = try Self.package("print(3)", in: folder)
    let digest = "sha256:" + String(repeating: "1", count: 64)
    artifacts.add(digest, bytes)
    let cache = try Self.cache(folder, artifacts)
    await #expect(throws: ArchiveError.self) { try await cache.folder(namespace: "default", digest: digest) }
    #expect(Descriptors.names(in: "\(folder.path)/code").isEmpty)
    #expect(cache.digests().isEmpty)
  }
}
