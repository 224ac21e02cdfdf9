import Foundation
import Synchronization
import Testing

@testable import LogIndex

/// The highest sequence a writer was told is durable.
private final class Acknowledged: Sendable {
  private let state = Mutex(0)
  var sequence: Int {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}

/// Images of a store's files, taken as a crash would leave them, must open with every acknowledged record.
@Suite struct CrashTests {
  /// With the database file left alone, a copy of it and then of the growing write-ahead log is what a crash at that
  /// moment leaves.
  @Test func `a copy at any moment holds a gap-free prefix with all that was acknowledged`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.checkpointPages = 0
      let live = folder.appendingPathComponent("live")
      let store = try LogStore.open(directory: live, options: options)
      let seed: UInt64 = 404
      var random = SeededRandom(seed)
      let acked = Acknowledged()
      for image in 0..<20 {
        let first = acked.sequence + 1
        let writer = Task {
          for next in stride(from: first, to: first + 70, by: 7) {
            let lines = (next..<(next + 7)).map { line("m\($0)", time: day + Int64($0)) }
            let last = try await store.append(worker: "w", firstSequence: UInt64(next), records: lines)
            acked.sequence = Int(last)
          }
        }
        let moment = first + Int.random(in: 0..<63, using: &random)
        while acked.sequence < moment { await Task.yield() }
        let before = acked.sequence
        let copy = folder.appendingPathComponent("image-\(image)")
        try copyFiles(live, to: copy)
        try await writer.value
        try await check(copy, atLeast: before)
      }
      await store.close()
    }
  }

  @Test func `a write-ahead log cut at any byte costs only its end`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.checkpointPages = 0
      let live = folder.appendingPathComponent("live")
      let store = try LogStore.open(directory: live, options: options)
      for batch in 0..<30 {
        let lines = (0..<3).map { line("m\(batch * 3 + $0 + 1)", time: day + Int64(batch * 3 + $0 + 1)) }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 3 + 1), records: lines)
      }
      let image = folder.appendingPathComponent("image")
      try copyFiles(live, to: image)
      await store.close()
      let seed: UInt64 = 77
      var random = SeededRandom(seed)
      let log = try Data(contentsOf: image.appendingPathComponent("logs.sqlite-wal"))
      var lengths = Set<Int>()
      for cut in 0..<40 {
        let copy = folder.appendingPathComponent("cut-\(cut)")
        try copyFiles(image, to: copy)
        var torn = log.prefix(Int.random(in: 0...log.count, using: &random))
        if cut % 2 == 1, !torn.isEmpty { torn[Int.random(in: 0..<torn.count, using: &random)] ^= 0x40 }
        try torn.write(to: copy.appendingPathComponent("logs.sqlite-wal"))
        lengths.insert(try await check(copy, atLeast: 0))
      }
      #expect(lengths.count > 5, "seed \(seed): the cuts should differ, \(lengths)")
    }
  }

  @Test func `with checkpoints, a copy between appends holds all of them`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.checkpointPages = 20
      let live = folder.appendingPathComponent("live")
      let store = try LogStore.open(directory: live, options: options)
      for batch in 0..<60 {
        let lines = (0..<20).map { line("m\(batch * 20 + $0 + 1)", time: day + Int64(batch * 20 + $0 + 1)) }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 20 + 1), records: lines)
        if batch % 10 == 9 {
          let copy = folder.appendingPathComponent("image-\(batch)")
          try copyFiles(live, to: copy)
          try await check(copy, atLeast: (batch + 1) * 20)
        }
      }
      await store.close()
    }
  }

  private func copyFiles(_ from: URL, to: URL) throws {
    try FileManager.default.createDirectory(at: to, withIntermediateDirectories: true)
    for name in ["logs.sqlite", "logs.sqlite-wal"] {
      try Data(contentsOf: from.appendingPathComponent(name)).write(to: to.appendingPathComponent(name))
    }
  }

  /// Opens an image, expects messages m1…mN for some N, and appends on; answers N.
  @discardableResult
  private func check(_ folder: URL, atLeast: Int) async throws -> Int {
    let notices = Mutex<[String]>([])
    var options = LogIndexOptions()
    options.notice = { text in notices.withLock { $0.append(text) } }
    let store = try LogStore.open(directory: folder, options: options)
    #expect(notices.withLock { $0 } == [])
    let found = try await messages(store)
    #expect(found == (0..<found.count).map { "m\(found.count - $0)" })
    #expect(found.count >= atLeast)
    #expect(try await store.figures().records == Int64(found.count))
    // The worker sends what was not acknowledged again: each is there once.
    let from = max(1, found.count - 3)
    let again = (from...(found.count + 2)).map { line("m\($0)", time: day + Int64($0)) }
    #expect(try await store.append(worker: "w", firstSequence: UInt64(from), records: again) == UInt64(found.count + 2))
    #expect(try await messages(store).count == found.count + 2)
    await store.close()
    return found.count
  }
}
