import ClusterTestSupport
import Testing

@testable import LogIndex

@Suite("Sorted records")
struct SortedRecordsTests {
  private static let order = [
    LogQuery.Order(field: .reserved(.msg), isDescending: false),
    LogQuery.Order(field: .reserved(.call), isDescending: true),
  ]

  private static func key(_ number: Int, _ random: inout SeededGenerator) -> SortKey {
    let length = random.pick([0, 1, 3, 40, 900])
    let text = (0..<length).map { _ in UInt8.random(in: 97...99, using: &random) }
    let call = SortKey.Value(random.chance(50) ? Array("c\(Int.random(in: 0..<3, using: &random))".utf8) : nil)
    return SortKey(
      values: [SortKey.Value(random.chance(80) ? text : nil), call],
      position: LogPosition(time: Int64.random(in: 0..<5, using: &random), id: Int64(number)))
  }

  @Test func `what is kept is the beginning of the whole order, as much as fits`() {
    let seed = Soak.seed("sorted records")
    var random = SeededGenerator(seed: seed)
    let table = Memtable(firstID: 0, rows: 1, bytes: 1)
    var cuts = 0
    for _ in 0..<Soak.rounds(300) {
      let limit = Int.random(in: 1...200, using: &random)
      let bytesMaximum = random.pick([1, 500, 5_000, 50_000, 1 << 20])
      var records = SortedRecords(order: Self.order, limit: limit, bytesMaximum: bytesMaximum)
      var all: [SortKey] = []
      for number in 0..<Int.random(in: 0..<1_500, using: &random) {
        let key = Self.key(number, &random)
        all.append(key)
        records.add(key, .memtable(table), number)
      }
      all.sort { $0.isBefore($1, Self.order) }
      let (kept, isCut) = records.ordered()
      let count = min(limit, all.count)
      #expect(kept.map(\.key.position) == all.prefix(kept.count).map(\.position), "seed \(seed)")
      #expect(kept.map(\.row) == all.prefix(kept.count).map { Int($0.position.id) }, "seed \(seed)")
      #expect(isCut == (kept.count < count), "seed \(seed)")
      // Cut only where the next one had no room, and never so far that nothing is left.
      if isCut {
        cuts += 1
        #expect(!kept.isEmpty && kept.count <= limit, "seed \(seed)")
        #expect(all.prefix(kept.count + 1).reduce(0) { $0 + $1.textBytes } > bytesMaximum, "seed \(seed)")
      } else {
        #expect(kept.count == count, "seed \(seed)")
      }
      if kept.count > 1 { #expect(kept.reduce(0) { $0 + $1.key.textBytes } <= bytesMaximum, "seed \(seed)") }
    }
    #expect(cuts > 0)
  }
}
