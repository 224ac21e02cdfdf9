import ClusterTestSupport
import Foundation
import Synchronization
import Testing

@testable import LogIndex

/// A day of a cluster in a minute: records come and go, small blocks are merged, and nothing is left behind.
@Suite struct SimulatedDayTests {
  private let minute = Rollup.minute
  private let limit: Int64 = 6_000_000

  private func names(_ folder: URL, _ prefix: String) throws -> Set<String> {
    Set(try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix(prefix) })
  }

  private func bytes(_ folder: URL) throws -> Int64 {
    try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: [.fileSizeKey]).reduce(0) {
      $0 + Int64(try $1.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0)
    }
  }

  /// Some minutes of records: a chatty function, a quiet one, one that writes much, and one whose senders' clocks are ahead.
  private func records(_ now: Int64, _ count: Int, _ random: inout SeededGenerator) -> [[UInt8]] {
    (0..<count).map { (number: Int) -> [UInt8] in
      let time = now + Int64(number) * 5 * minute / Int64(count)
      let function = number % 10 == 0 ? "quiet" : number % 10 == 5 ? "bulk" : number % 97 == 1 ? "ahead" : "chatty"
      let noise = (0..<(function == "bulk" ? 256 : 1)).map { _ in String(random.next(), radix: 16) }.joined()
      return line(
        "order \(noise) done in \(number % 87) ms", time: function == "ahead" ? time + 180 * minute : time,
        function: function, level: number % 40 == 0 ? "error" : "info", call: "c-\(number)-\(now)",
        fields: "\"duration_ms\":\(number % 87).\(number % 10)")
    }
  }

  @Test func `a day of retention and merging leaves the disk under its limit and no file without a row`() async throws {
    let seed = Soak.seed("day")
    let count = Soak.rounds(100)
    var random = SeededGenerator(seed: seed)
    try await withTempFolder { folder in
      var options = LogIndexOptions()
      options.blockRows = 2_000
      options.blockBytes = 1 << 20
      options.mergedFileTime = .zero
      options.notice = { Issue.record("nothing is damaged here: \($0)") }
      var store = try LogStore.open(directory: folder, options: options)
      var policy = LogRetention(maxAge: .seconds(8 * 3600), maxBytes: limit)
      policy.rules = [
        LogRetentionRule(namespace: "default", function: "chatty", maxAge: .seconds(2 * 3600)),
        LogRetentionRule(namespace: "default", function: "quiet", maxBytes: 80_000),
      ]
      var sequence: UInt64 = 1
      var looked: [Int] = []
      for round in 0..<288 {
        let now = day + Int64(round) * 5 * minute
        let lines = records(now, count, &random)
        _ = try await store.append(worker: "w", firstSequence: sequence, records: lines)
        sequence += UInt64(lines.count)
        // As the idle sealer does; small blocks are what merging is for.
        if round % 3 == 0 { #expect(await store.flush()) }
        _ = try await store.retain(policy: policy, now: now + 5 * minute)
        #expect(try bytes(folder) < limit * 3 / 2, "seed \(seed), round \(round)")
        #expect(try names(folder, "block-") == Set(store.view().blocks.map(\.name) + graves(store)), "round \(round)")
        #expect(try names(folder, "wal-").count == store.view().memtables.count, "round \(round)")
        if round % 48 == 47 {
          await store.close()
          store = try LogStore.open(directory: folder, options: options)
          _ = try await store.retain(policy: policy, now: now + 5 * minute)
          try await judge(store, now + 5 * minute, "seed \(seed), round \(round)")
          looked.append(try await store.stats(try LogQuery.parse("order | stats count(call)"), scope: .all).scanned)
        }
      }
      // What a query has to look at does not grow with the day.
      #expect((looked.max() ?? 0) <= (looked.min() ?? 0) * 2, "seed \(seed): \(looked)")
      await store.close()
      #expect(try names(folder, "block-") == Set(store.view().blocks.map(\.name)))
      let reopened = try LogStore.open(directory: folder, options: options)
      #expect(reopened.view().blocks.count == store.view().blocks.count)
      await reopened.close()
    }
  }

  private func graves(_ store: LogStore) -> [String] { store.state.withLock { $0.graves.map(\.name) } }

  /// Each function has what its rule leaves, and no more than a block of what it does not.
  private func judge(_ store: LogStore, _ now: Int64, _ place: String) async throws {
    func oldest(_ function: String) async throws -> (Int64, Int) {
      let result = try await store.stats(
        try LogQuery.parse("function:\(function) | stats count() per 1m | sort by time"), scope: .all)
      guard case .time(let time)? = result.rows.first?.values[0] else { return (.max, 0) }
      return (
        time,
        result.rows.reduce(0) { total, row in
          if case .count(let count) = row.values[1] { total + count } else { total }
        }
      )
    }
    let (chatty, many) = try await oldest("chatty")
    #expect(chatty >= now - 2 * 60 * minute - minute && many > 0, "\(place)")
    let (quiet, few) = try await oldest("quiet")
    #expect(quiet > now - 8 * 60 * minute && few > 40 && few * 300 < 160_000, "\(place): \(few)")
    let entries = store.view().blocks
    #expect(entries.count < 200, "\(place): \(entries.count) blocks")
  }
}
