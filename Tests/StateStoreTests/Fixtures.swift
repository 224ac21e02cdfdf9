import Foundation
import StateStore
import Synchronization
import Testing

/// The stores one contract holds for.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
  case sqlite
  /// Only the last two events are in memory: watchers live on the log.
  case sqliteWithTinyRing
  case memory

  var testDescription: String { rawValue }
  static let durable: [StoreKind] = [.sqlite, .sqliteWithTinyRing]
}

/// Runs the body with a fresh store in a folder of its own, and removes both.
func withStore(_ kind: StoreKind, _ body: (any StateStore) async throws -> Void) async throws {
  if kind == .memory { return try await body(MemoryStore(boot: 3)) }
  try await withFolder { folder in
    var options = SQLiteOptions()
    if kind == .sqliteWithTinyRing { options.ringEvents = 2 }
    let store = try SQLiteStore.open(path: folder + "/store.db", options: options)
    do {
      try await body(store)
    } catch {
      await store.close()
      throw error
    }
    await store.close()
  }
}

/// Runs the body with a new empty folder and removes it.
func withFolder(_ body: (String) async throws -> Void) async throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-store-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try await body(folder)
}

/// The seed of this run: APUS_TEST_SEED, or a new one; printed with every failure through the test's argument.
let testSeed: UInt64 =
  ProcessInfo.processInfo.environment["APUS_TEST_SEED"].flatMap(UInt64.init) ?? .random(in: 0...99_999)

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

extension StateStore {
  @discardableResult
  func put(_ key: String, _ text: String) async throws -> Int64 {
    try await commit([], [.put(key, value: bytes(text))])
  }

  /// The next batches of a watch until one reaches `revision`, without progress.
  func events(prefix: String, after: Int64, until revision: Int64) async throws -> [StoreEvent] {
    var events: [StoreEvent] = []
    if after >= revision { return [] }
    for try await batch in watch(prefix: prefix, after: after) {
      events += batch.events
      if batch.revision >= revision { break }
    }
    return events
  }
}

/// The error a call throws, as a store error.
func storeError(_ call: () async throws -> Void) async -> StoreError? {
  do {
    try await call()
    return nil
  } catch {
    return error as? StoreError
  }
}

/// A list several tasks append to.
final class Collected<Element: Sendable>: Sendable {
  private let elements = Mutex<[Element]>([])

  func append(_ element: Element) { elements.withLock { $0.append(element) } }
  var all: [Element] { elements.withLock { $0 } }
}

/// A logical clock: each reading is later than every earlier one.
final class LogicalClock: Sendable {
  private let now = Atomic<Int>(0)

  func tick() -> Int { now.add(1, ordering: .sequentiallyConsistent).newValue }
}
