import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

@Suite struct IntColumnTests {
  /// What a column of integers is read back as.
  private func readBack(_ values: [UInt64]) throws -> [UInt64] {
    var parts = BlockParts(level: 4)
    IntWriter.write(values, to: &parts)
    var reader = ByteReader(parts.meta.bytes)
    let column = try IntColumn(&reader, size: parts.data.count, most: values.count)
    #expect(reader.isAtEnd && column.count == values.count)
    let read = try parts.data.withUnsafeBytes { try column.values($0) }
    if let direct = column.direct {
      parts.data.withUnsafeBytes { data in
        for index in values.indices where direct.value(index, data) != values[index] {
          Issue.record("value \(index) is \(direct.value(index, data)) instead of \(values[index])")
        }
      }
    }
    return read
  }

  /// Runs whose lengths are runs themselves, whose lengths are runs again.
  @Test func `runs of runs come back`() throws {
    var values: [UInt64] = []
    var head: UInt64 = 0
    for outer in 0..<40 {
      for _ in 0..<60 {
        head = (head + 7_919) % 60_000
        values += Array(repeating: head, count: outer % 2 == 0 ? 40 : 41)
      }
    }
    #expect(try readBack(values) == values)
    let short = (0..<100_000).map { UInt64($0 / 64 % 2) }
    #expect(try readBack(short) == short)
    let levels = (0..<200_000).map { UInt64($0 / ($0 < 100_000 ? 50 : 60) % 3) }
    #expect(try readBack(levels) == levels)
  }

  @Test func `integers of every pattern come back`() throws {
    let seed: UInt64 = 4_711
    var random = SeededGenerator(seed: seed)
    for round in 0..<400 {
      let count = random.pick([0, 1, 2, 15, 16, 63, 64, 127, 128, 1_000, 3_000])
      let width = random.pick([1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64])
      let least: UInt64 = random.chance(50) ? 0 : UInt64.random(in: 0...(.max >> UInt64(width) + 1), using: &random)
      var values: [UInt64] = []
      let runs = random.pick([1, 1, 3, 30, 300])
      let isSteady = random.chance(50)
      let few = (0..<Int.random(in: 1...5, using: &random)).map { _ in random.next() & BitWriter.mask(width) }
      while values.count < count {
        var value = random.chance(50) ? random.pick(few) : random.next() & BitWriter.mask(width)
        if random.chance(30) { value >>= UInt64.random(in: 0..<UInt64(width), using: &random) }
        let length = isSteady ? runs : Int.random(in: 1...runs, using: &random)
        values += Array(repeating: width == 64 ? value : least &+ value, count: length)
      }
      values = Array(values.prefix(count))
      let read = try readBack(values)
      #expect(read == values, "seed \(seed), round \(round): \(count) values of \(width) bits")
    }
  }
}
