import ClusterTestSupport
import Testing

@testable import LogIndex

/// Files whose sums are right and whose contents are not: the sums keep most damage from the decoder, so that it is fuzzed
/// behind them.
@Suite struct BlockFuzzTests {
  private static let queries = [
    "payment", "level:error", "call:c-1", "duration_ms:>5", "\"connection refused\"", "pay*", "msg:/[0-9a-f]{8}/",
    "msg:/took .*ms$/", "NOT call:*", "status:400..599", "id:*", "path:*orders*", "time:>=2026-11-20T00:00:05Z",
  ]
  private static let stats = [
    "count() by (function, level) per 1m", "count(), sum(status), p99(duration_ms)", "max(took) by (call)",
  ]

  /// The parts of a good file, and what it was made of.
  private struct Good {
    var table: Memtable
    var header: BlockHeader
    var filter: [UInt8]
    var meta: [UInt8]
    var data: [UInt8]
    var heap: [UInt8]

    init(_ lines: [[UInt8]]) throws {
      table = try LogIndexTests.table(lines)
      var writer = BlockWriter(table, level: 4)
      let file = writer.file(workers: ["w": 7])
      let header = try BlockHeader(file[...], fileBytes: file.count)
      self.header = header
      meta = try file.withUnsafeBytes {
        try Deflate.inflate(UnsafeRawBufferPointer(rebasing: $0[header.meta.range]), size: header.metaBytes)
      }
      filter = Array(file[header.filter.range])
      data = Array(file[header.data.range])
      heap = Array(file[header.heap.range])
    }

    /// A file of these parts, its sums made anew.
    func file() -> [UInt8] {
      var header = header
      header.metaBytes = meta.count
      var start = BlockHeader.bytes
      let bodies = [filter, meta, data, heap]
      header.parts = bodies.map { body in
        defer { start += body.count }
        return BlockHeader.Part(start: start, count: body.count, crc: Deflate.crc(body[...]))
      }
      return header.encoded() + bodies.flatMap { $0 }
    }
  }

  private func spoil(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
    guard !bytes.isEmpty else { return }
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      let place = Int.random(in: 0..<bytes.count, using: &random)
      switch random.pick([0, 1, 2, 3]) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: bytes[place] = random.pick([0, 1, 0x7F, 0x80, 0xFF])
      case 2: bytes[place] = UInt8.random(in: 0...255, using: &random)
      default:
        // A run of another place, as when parts of different blocks are mixed.
        let from = Int.random(in: 0..<bytes.count, using: &random)
        let count = min(Int.random(in: 1...16, using: &random), bytes.count - max(place, from))
        bytes.replaceSubrange(place..<(place + count), with: Array(bytes[from..<(from + count)]))
      }
    }
  }

  /// Reads what there is in every way there is.
  private func read(_ file: [UInt8], _ table: Memtable) throws -> Bool {
    let block = try Block(bytes: file)
    var isWhole = true
    do throws(BlockFault) { try block.check(holds: table) } catch { isWhole = false }
    for row in stride(from: 0, to: block.rowCount, by: 37) {
      _ = try block.record(row)
      _ = try block.id(row)
    }
    let search = try BlockSearch(block)
    var found = RowSet.all(block.rowCount)
    for text in Self.queries { found = try search.matches(try LogQuery.parse(text).filter, .all(block.rowCount)) }
    for text in Self.stats {
      let stats = try #require(try LogQuery.parse("", stats: text).stats)
      var table = StatsTable(stats)
      try BlockStats(search, stats).add(.all(block.rowCount), to: &table)
      try BlockStats(search, stats).add(found, to: &table)
    }
    return isWhole
  }

  @Test func `mutations of a block's parts are read or refused, and never trap`() async throws {
    let seed = Soak.seed("blocks")
    var random = SeededGenerator(seed: seed)
    var patterned = PatternedRecords(seed: seed)
    var goods: [Good] = []
    for _ in 0..<3 {
      goods.append(
        try Good((0..<300).map { _ in random.chance(50) ? oddLine(&random) : randomLine(&random) }))
      goods.append(try Good((0..<500).map { _ in patterned.next() }))
    }
    for good in goods { #expect(try read(good.file(), good.table)) }
    var (refused, wrong, rounds) = (0, 0, 0)
    for await _ in Soak.repeats(200) {
      rounds += 1
      var bad = random.pick(goods)
      let table = bad.table
      if random.chance(70) { spoil(&bad.meta, &random) }
      if random.chance(40) { spoil(&bad.data, &random) }
      if random.chance(15) { spoil(&bad.heap, &random) }
      if random.chance(5) { spoil(&bad.filter, &random) }
      do {
        if try !read(bad.file(), table) { wrong += 1 }
      } catch is BlockFault {
        refused += 1
      }
    }
    print("blocks: \(rounds) mutations, \(refused) refused, \(wrong) with other records")
    #expect(refused > rounds / 10 && wrong > rounds / 10)
  }
}
