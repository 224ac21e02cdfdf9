import ClusterTestSupport
import Foundation
import Glibc
import StateStore
import Subprocess
import Testing

#if canImport(System)
  import System
#else
  import SystemPackage
#endif

/// Nothing acknowledged is gone, no revision is used twice, every remainder opens.
@Suite(.serialized) struct `After a crash` {
  @Test func `copies of the files taken at any moment hold every commit that had returned`() async throws {
    try await withFolder { folder in
      let path = folder + "/store.db"
      var options = SQLiteOptions()
      options.checkpointPages = 0  // the copy of two growing files is only a moment of one of them if the other rests
      let store = try SQLiteStore.open(path: path, options: options)
      let acknowledged = Collected<Int64>()
      let writers = Task {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for worker in 0..<8 {
            group.addTask {
              for step in 0..<80 {
                let revision = try await store.put("/w\(worker)/\(step)", "\(worker) \(step)")
                acknowledged.append(revision)
              }
            }
          }
          try await group.waitForAll()
        }
      }
      for copy in 0..<12 {
        let sure = Set(acknowledged.all)
        let target = "\(folder)/copy\(copy).db"
        try FileManager.default.copyItem(atPath: path, toPath: target)
        try FileManager.default.copyItem(atPath: path + "-wal", toPath: target + "-wal")
        try await Self.verify(target, holds: sure, atLeast: 0)
      }
      try await writers.value
      #expect(Set(acknowledged.all).count == 640)
      await store.close()
    }
  }

  @Test func `a write-ahead log cut at any byte of its tail opens at a whole revision`() async throws {
    var random = SeededGenerator(seed: testSeed)
    try await withFolder { folder in
      let path = folder + "/store.db"
      var options = SQLiteOptions()
      options.checkpointPages = 0
      let store = try SQLiteStore.open(path: path, options: options)
      var sizes: [(size: Int, revision: Int64)] = []
      for number in 0..<40 {
        let revision = try await store.put("/k\(number)", String(repeating: "x", count: 700))
        sizes.append((try Self.size(path + "-wal"), revision))
      }
      let main = try Data(contentsOf: URL(fileURLWithPath: path))
      let wal = try Data(contentsOf: URL(fileURLWithPath: path + "-wal"))
      await store.close()
      for round in 0..<60 {
        let cut = round == 0 ? 1 : Int.random(in: 0..<wal.count / 2, using: &random)
        let target = "\(folder)/cut\(round).db"
        try main.write(to: URL(fileURLWithPath: target))
        try wal.prefix(wal.count - cut).write(to: URL(fileURLWithPath: target + "-wal"))
        let least = sizes.last { $0.size <= wal.count - cut }?.revision ?? 0
        try await Self.verify(target, holds: [], atLeast: least)
      }
    }
  }

  @Test func `kill -9 between commits, checkpoints and compactions loses nothing acknowledged`() async throws {
    var random = SeededGenerator(seed: testSeed)
    try await withFolder { folder in
      let path = folder + "/store.db"
      var acknowledged: Set<Int64> = []
      for round in 0..<5 {
        let lines = try await Self.runChild(path: path, killedAfter: .random(in: 1...1_500, using: &random))
        let fresh = lines.compactMap { Int64($0) }
        #expect(!fresh.isEmpty, "round \(round): the child wrote nothing")
        for revision in fresh {
          #expect(acknowledged.insert(revision).inserted, "seed \(testSeed): revision \(revision) was used twice")
        }
        try await Self.verify(path, holds: acknowledged, atLeast: 0)
      }
    }
  }

  /// Not a test by itself: the process the test above kills.
  @Test func crashWriterChild() async throws {
    guard let path = ProcessInfo.processInfo.environment["APUS_STORE_CRASH_CHILD"] else { return }
    var options = SQLiteOptions()
    options.checkpointPages = 20
    let store = try SQLiteStore.open(path: path, options: options)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in 0..<8 {
        group.addTask {
          for step in 0... {
            let revision = try await store.put("/child/\(worker)/\(step % 50)", String(repeating: "y", count: 300))
            _ = try await store.put("/revision/\(revision)", "")
            let line = "ACK \(revision)\n"
            _ = write(STDOUT_FILENO, line, line.utf8.count)
            if worker == 0, step % 20 == 19 { try await store.compact(before: revision - 10) }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  /// Runs this test binary with the child above only, kills it in the midst of its work after so many acknowledgements
  /// (it does not wait for the reader), and returns the revisions it had acknowledged.
  static func runChild(path: String, killedAfter count: Int) async throws -> [String] {
    let arguments = try Data(contentsOf: URL(fileURLWithPath: "/proc/self/cmdline")).split(separator: 0)
      .map { String(decoding: $0, as: UTF8.self) }
    let binary = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path
    let child = try await Subprocess.run(
      .path(FilePath(binary)),
      arguments: Arguments(Self.withoutFilters(arguments.dropFirst()) + ["--filter", "crashWriterChild"]),
      environment: .inherit.updating(["APUS_STORE_CRASH_CHILD": path]), input: .none, output: .sequence,
      error: .discarded
    ) { execution in
      var text: [UInt8] = []
      var isKilled = false
      for try await piece in execution.standardOutput {
        piece.withUnsafeBytes { text += $0 }
        if !isKilled, Self.acknowledged(text).count >= count {
          isKilled = true
          try execution.send(signal: .kill)
        }
      }
      return text
    }
    guard case .signaled = child.terminationStatus else {
      Issue.record("the child ended by itself: \(child.terminationStatus)")
      return []
    }
    return Self.acknowledged(child.closureResult)
  }

  /// The revisions a child told, of its whole lines only: the last may be cut.
  private static func acknowledged(_ text: [UInt8]) -> [String] {
    let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
    return lines.filter { $0.starts(with: Array("ACK ".utf8)) }
      .map { String(decoding: $0.dropFirst(4), as: UTF8.self) }
  }

  static func withoutFilters(_ arguments: ArraySlice<String>) -> [String] {
    var kept: [String] = []
    var skipping = false
    for argument in arguments {
      if skipping {
        skipping = false
      } else if ["--filter", "--skip", "--xunit-output", "--event-stream-output-path"].contains(argument) {
        skipping = true
      } else {
        kept.append(argument)
      }
    }
    return kept
  }

  /// Opens what a crash left: the revisions are there, their order has no gap, lists and logs agree, and it goes on.
  static func verify(_ path: String, holds sure: Set<Int64>, atLeast least: Int64) async throws {
    let store = try SQLiteStore.open(path: path)
    let head = await store.currentRevision
    #expect(head >= max(least, sure.max() ?? 0), "seed \(testSeed)")
    var state: [String: StoredObject] = [:]
    let oldest = await store.oldestRevision
    for object in try await Self.allObjects(store, at: oldest) { state[object.key] = object }
    var next = oldest + 1
    for event in try await store.events(prefix: "", after: oldest, until: head) {
      #expect(event.revision == next || event.revision == next - 1, "seed \(testSeed): a gap")
      next = event.revision + 1
      state[event.key] = event.object
    }
    let objects = try await store.listAll(prefix: "").items
    #expect(objects == state.values.sorted { $0.key < $1.key }, "seed \(testSeed): the list is not what the log says")
    let marked = objects.filter { $0.key.hasPrefix("/revision/") }.compactMap { Int64($0.key.dropFirst(10)) }
    if !marked.isEmpty { #expect(sure.isSubset(of: marked), "seed \(testSeed): an acknowledged commit is gone") }
    #expect(try await store.put("/goes-on", "") == head + 1)
    await store.close()
  }

  static func allObjects(_ store: SQLiteStore, at revision: Int64) async throws -> [StoredObject] {
    var page = try await store.list(prefix: "", after: nil, limit: 1_000, at: revision)
    var items = page.items
    while let next = page.next {
      page = try await store.list(prefix: "", after: next, limit: 1_000, at: revision)
      items += page.items
    }
    return items
  }

  static func size(_ path: String) throws -> Int {
    try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
  }
}
