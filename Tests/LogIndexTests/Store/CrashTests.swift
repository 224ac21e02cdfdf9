import ClusterTestSupport
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
  /// With one segment and no block, a copy of the growing write-ahead log is what a crash at that moment leaves.
  @Test func `a copy at any moment holds a gap-free prefix with all that was acknowledged`() async throws {
    try await withTempFolder { folder in
      let live = folder.appendingPathComponent("live")
      let store = try LogStore.open(directory: live)
      let seed: UInt64 = 404
      var random = SeededGenerator(seed: seed)
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

  private func segment(_ folder: URL) throws -> URL {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix("wal-") }
    return folder.appendingPathComponent(try #require(names.sorted().last))
  }

  /// A store with 90 records in 30 frames, closed.
  private func image(_ folder: URL) async throws -> URL {
    let live = folder.appendingPathComponent("live")
    let store = try LogStore.open(directory: live)
    for batch in 0..<30 {
      let lines = (0..<3).map { line("m\(batch * 3 + $0 + 1)", time: day + Int64(batch * 3 + $0 + 1)) }
      _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 3 + 1), records: lines)
    }
    await store.close()
    return live
  }

  @Test func `a write-ahead log cut at any byte costs only its end`() async throws {
    try await withTempFolder { folder in
      let image = try await image(folder)
      let log = try Data(contentsOf: segment(image))
      var lengths = Set<Int>()
      // Every byte of the head and of the last two frames, and some between.
      let cuts = Set(Array(0...40) + Array(stride(from: 41, to: log.count - 1_500, by: 311)) + [log.count])
        .union(stride(from: log.count - 1_500, to: log.count, by: 7))
      for cut in cuts.sorted() {
        let copy = folder.appendingPathComponent("cut-\(cut)")
        try copyFiles(image, to: copy)
        try log.prefix(cut).write(to: segment(copy))
        lengths.insert(try await check(copy, atLeast: 0))
        try FileManager.default.removeItem(at: copy)
      }
      #expect(lengths.count > 10 && lengths.contains(90), "the cuts should differ, \(lengths)")
    }
  }

  @Test func `a flipped bit in the write-ahead log costs at most its frame, and is reported`() async throws {
    try await withTempFolder { folder in
      let image = try await image(folder)
      let log = try Data(contentsOf: segment(image))
      let seed: UInt64 = 77
      var random = SeededGenerator(seed: seed)
      for round in 0..<60 {
        let copy = folder.appendingPathComponent("flip-\(round)")
        try copyFiles(image, to: copy)
        var bytes = log
        let place = Int.random(in: 16..<bytes.count, using: &random)
        bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        try bytes.write(to: segment(copy))
        let notices = Mutex<[String]>([])
        var options = LogIndexOptions()
        options.notice = { text in notices.withLock { $0.append(text) } }
        let store = try LogStore.open(directory: copy, options: options)
        let found = Set(try await messages(store))
        #expect(found.count >= 87, "seed \(seed), byte \(place): \(found.count)")
        let isLast = place > log.count - 1_000
        #expect(isLast || notices.withLock { $0.count } == 1, "seed \(seed), byte \(place)")
        await store.close()
        try FileManager.default.removeItem(at: copy)
      }
    }
  }

  @Test func `with blocks, a copy between appends holds all of them`() async throws {
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.blockRows = 100
      let live = folder.appendingPathComponent("live")
      let store = try LogStore.open(directory: live, options: options)
      for batch in 0..<60 {
        let lines = (0..<20).map { line("m\(batch * 20 + $0 + 1)", time: day + Int64(batch * 20 + $0 + 1)) }
        _ = try await store.append(worker: "w", firstSequence: UInt64(batch * 20 + 1), records: lines)
        if batch % 10 == 9 {
          #expect(await store.flush())
          let copy = folder.appendingPathComponent("image-\(batch)")
          try copyFiles(live, to: copy)
          try await check(copy, atLeast: (batch + 1) * 20)
        }
      }
      await store.close()
    }
  }

  /// The moments between writing a block, its entry, and deleting its segment.
  @Test(arguments: ["block without entry", "entry and segment", "entry without block", "half a block"])
  func `a crash while a block is made loses and doubles nothing`(_ moment: String) async throws {
    try await withTempFolder { folder in
      let image = try await image(folder)
      let log = try Data(contentsOf: segment(image))
      let name = try segment(image).lastPathComponent
      let catalogue = try Data(contentsOf: image.appendingPathComponent("catalogue.sqlite"))
      let store = try LogStore.open(directory: image)
      #expect(await store.flush())
      await store.close()
      let block = try #require(store.view().blocks.first)
      switch moment {
      case "block without entry":
        try? FileManager.default.removeItem(at: image.appendingPathComponent("catalogue.sqlite-wal"))
        try catalogue.write(to: image.appendingPathComponent("catalogue.sqlite"))
        try log.write(to: image.appendingPathComponent(name))
      case "entry and segment": try log.write(to: image.appendingPathComponent(name))
      case "half a block":
        let file = image.appendingPathComponent(block.name)
        try Data(contentsOf: file).prefix(300).write(to: image.appendingPathComponent(block.name + ".tmp"))
      default: break
      }
      if moment == "entry without block" {
        try FileManager.default.removeItem(at: image.appendingPathComponent(block.name))
        let notices = Mutex<[String]>([])
        var options = LogIndexOptions()
        options.notice = { text in notices.withLock { $0.append(text) } }
        let again = try LogStore.open(directory: image, options: options)
        #expect(notices.withLock { $0.count } == 1)
        #expect(try await messages(again) == [])
        #expect(try await again.append(worker: "w", firstSequence: 1, records: [line("x")]) == 90)
        await again.close()
      } else {
        try await check(image, atLeast: 90)
      }
    }
  }

  private func copyFiles(_ from: URL, to: URL) throws {
    try FileManager.default.createDirectory(at: to, withIntermediateDirectories: true)
    for name in try FileManager.default.contentsOfDirectory(atPath: from.path) where !name.hasSuffix("-shm") {
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
