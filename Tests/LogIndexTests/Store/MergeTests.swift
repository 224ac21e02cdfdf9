import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

@Suite struct MergeTests {
  private func entry(_ firstID: Int64, _ rows: Int) -> BlockEntry {
    BlockEntry(
      name: BlockEntry.name(firstID: firstID, rows: rows), fileBytes: 1, rows: rows, rawBytes: Int64(rows), oldest: 0,
      newest: 0, firstID: firstID, levels: 1)
  }

  @Test func `a plan takes neighbours that fit in one block and are worth it`() {
    let small = (0..<10).map { entry(Int64(1 + $0 * 10), 10) }
    #expect(MergePlan.runs(small, rows: 1_000, bytes: 1 << 20) == [small])
    #expect(MergePlan.runs(Array(small[0..<5]), rows: 1_000, bytes: 1 << 20) == [])
    #expect(MergePlan.runs(Array(small[0..<5]), rows: 100, bytes: 1 << 20) == [Array(small[0..<5])])
    #expect(MergePlan.runs(small, rows: 50, bytes: 1 << 20) == [Array(small[0..<5]), Array(small[5..<10])])
    #expect(MergePlan.runs(Array(small[0..<4] + small[5..<9]), rows: 1_000, bytes: 1 << 20) == [])
    #expect(MergePlan.runs(small, rows: 15, bytes: 1 << 20) == [], "each is more than half a block")
  }

  @Test func `merging changes no answer, and an interrupted merge is put right`() async throws {
    try await withTempFolder { folder in
      let seed: UInt64 = 21
      var random = SeededGenerator(seed: seed)
      var options = LogIndexOptions()
      options.notice = { Issue.record("nothing is damaged here: \($0)") }
      let store = try LogStore.open(directory: folder, options: options)
      for batch in 0..<10 {
        let lines = (0..<30).map { _ in randomLine(&random) }
        _ = try await store.append(worker: "w\(batch)", firstSequence: 1, records: lines)
        #expect(await store.flush())
      }
      let queries = ["", "payment", "level:error", "call:c-1 OR duration_ms:>5"].map { try? LogQuery.parse($0) }
      var before: [[String]] = []
      for query in queries { before.append(try await texts(store, query ?? LogQuery())) }
      let parts = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix("block-") }
      #expect(parts.count == 10)
      let kept = folder.appendingPathComponent("kept")
      try FileManager.default.createDirectory(at: kept, withIntermediateDirectories: true)
      for name in parts {
        try FileManager.default.copyItem(at: folder.appendingPathComponent(name), to: kept.appendingPathComponent(name))
      }
      await store.mergeSmallBlocks()
      #expect(store.view().blocks.count == 1)
      for (query, answer) in zip(queries, before) { #expect(try await texts(store, query ?? LogQuery()) == answer) }
      await store.close()
      // With the parts still there, as after a crash, they go.
      for name in parts {
        try FileManager.default.copyItem(at: kept.appendingPathComponent(name), to: folder.appendingPathComponent(name))
      }
      let again = try LogStore.open(directory: folder, options: options)
      #expect(again.view().blocks.count == 1)
      for (query, answer) in zip(queries, before) { #expect(try await texts(again, query ?? LogQuery()) == answer) }
      #expect(try await again.append(worker: "w3", firstSequence: 1, records: [line("old")]) == 30)
      await again.close()
      let left = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix("block-") }
      #expect(left.count == 1)
      // With parts and whole and no catalogue, each record is there once.
      for name in parts {
        try FileManager.default.copyItem(at: kept.appendingPathComponent(name), to: folder.appendingPathComponent(name))
      }
      for part in ["", "-wal", "-shm"] {
        try? FileManager.default.removeItem(at: folder.appendingPathComponent("catalogue.sqlite" + part))
      }
      let third = try LogStore.open(directory: folder, options: options)
      #expect(try await texts(third, LogQuery()) == before[0])
      await third.close()
    }
  }

  @Test func `what is in memory becomes a block when nothing more comes`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.sealIdle = .milliseconds(20)
      options.sealIdleRows = 5
      let store = try LogStore.open(directory: folder, options: options)
      _ = try await store.append(worker: "w", firstSequence: 1, records: (0..<10).map { line("m\($0)") })
      while store.view().blocks.isEmpty { await Task.yield() }
      #expect(try await messages(store).count == 10)
      _ = try await store.append(worker: "w", firstSequence: 11, records: [line("few")])
      #expect(try await messages(store).count == 11)
      await store.close()
    }
  }
}
