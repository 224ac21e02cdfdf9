import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

/// A memtable of lines, all of which must be records.
func table(_ lines: [[UInt8]], firstID: Int64 = 1) throws -> Memtable {
  let table = Memtable(firstID: firstID, rows: max(1, lines.count), bytes: lines.reduce(16) { $0 + $1.count })
  var scanner = LineScanner()
  for bytes in lines {
    let isRecord = bytes.withUnsafeBufferPointer { table.take($0, &scanner) }
    #expect(isRecord, "no record: \(String(decoding: bytes, as: UTF8.self))")
  }
  table.publish()
  return table
}

/// The file of a block of lines.
func blockFile(_ lines: [[UInt8]], workers: [String: UInt64] = [:]) throws -> [UInt8] {
  var writer = BlockWriter(try table(lines), level: 4)
  return writer.file(workers: workers)
}

/// A line with odd keys, spellings, nesting and sizes.
func oddLine(_ random: inout SeededGenerator) -> [UInt8] {
  func text(_ random: inout SeededGenerator, _ depth: Int) -> String {
    random.pick([
      "", "a", "größe", "a\\\"b", "\\\\", "\\u00e9", "\\ud83d\\ude00", "line\\nbreak", "0012", "-0", "1e5", "deadbeef",
      "DEADBEEF00", "x\\u0001y", "id 8f3a12bc90 took 12.50ms", "GET /a/\(Int.random(in: 0..<99999, using: &random))",
      String(repeating: "z", count: random.chance(2) ? 20_000 : 30), "6cbc36de-39a3-4e3c-91c4-daec1b283943",
      "日本 \(Int.random(in: 0..<100, using: &random))",
    ])
  }
  func number(_ random: inout SeededGenerator) -> String {
    random.pick([
      "0", "-0", "1", "-1", "1.0", "1.50", "1e5", "1E+05", "-0.0", "0.1", "123456789012345678", "12345678901234567890",
      "9007199254740993", "-12.345", "1e-7", "\(Int.random(in: 0..<1000, using: &random)).25",
    ])
  }
  func value(_ random: inout SeededGenerator, _ depth: Int) -> String {
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<4: return "\"\(text(&random, depth))\""
    case 4..<7: return number(&random)
    case 7: return random.pick(["true", "false", "null"])
    case 8: return "[\(number(&random)), \"\(text(&random, depth))\",{\"a\":[]}]"
    default:
      if depth > 11 { return "{}" }
      let inner = (0..<Int.random(in: 0...2, using: &random)).map { _ in member(&random, depth + 1) }
      return "{\(inner.joined(separator: random.pick([",", " , "])))}"
    }
  }
  func member(_ random: inout SeededGenerator, _ depth: Int) -> String {
    let key = random.pick(["a", "b", "a.b", "", "k\\\"q", "\\u0061", "größe", "msg", "level", "time", "user", "id"])
    return "\"\(key)\"\(random.pick([":", " : "]))\(value(&random, depth))"
  }
  var members = ["\"time\":\"\(RecordTime.text(day + Int64.random(in: 0..<1_000_000_000, using: &random)))\""]
  if random.chance(5) { members[0] = "\"time\":\"2026-11-20T01:02:03\(random.pick([".5", ".000", ""]))+02:00\"" }
  if random.chance(20) { members[0] = "\"time\":\"2026-11-20T01:02:03\(random.pick([".5Z", ".123456Z", "Z"]))\"" }
  for key in ["namespace", "function", "level", "call", "msg", "pod"] where random.chance(80) {
    members.append("\"\(key)\":\(random.chance(90) ? "\"\(text(&random, 0))\"" : value(&random, 1))")
  }
  if random.chance(60) { members.append("\"fields\":{\(member(&random, 2)),\(member(&random, 2))}") }
  if random.chance(20) { members.append(member(&random, 1).replacingOccurrences(of: "\"time\"", with: "\"tim\"")) }
  if random.chance(10) { members.append("\"msg\":\"again \(text(&random, 0))\"") }
  if random.chance(30) { members.shuffle(using: &random) }
  return Array("\(random.chance(5) ? " " : ""){\(members.joined(separator: random.chance(10) ? " , " : ","))}".utf8)
}

@Suite struct BlockTests {
  @Test(arguments: [1, 2, 15, 17, 400, 3_000])
  func `every record comes back byte for byte, with its time and number`(_ count: Int) throws {
    let seed = UInt64(count) &* 31
    var random = SeededGenerator(seed: seed)
    let lines = (0..<count).map { _ in random.chance(50) ? oddLine(&random) : randomLine(&random) }
    let block = try Block(bytes: blockFile(lines, workers: ["w": 7]))
    #expect(block.rowCount == count && block.workers == ["w": 7])
    var seen = Set<Int64>()
    for row in 0..<count {
      let position = try block.position(row)
      let expected = lines[Int(position.id) - 1]
      let found = try block.record(row)
      #expect(
        found == expected,
        "seed \(seed): \(String(decoding: expected, as: UTF8.self)) became \(String(decoding: found, as: UTF8.self))")
      #expect(try IndexedRecord(expected).time == position.time)
      seen.insert(position.id)
    }
    #expect(seen.count == count)
  }

  @Test func `texts that vary in odd ways come back`() throws {
    var random = SeededGenerator(seed: 4)
    var lines: [[UInt8]] = []
    for index in 0..<2_000 {
      let order = String(format: "%08x", UInt32.random(in: 0 ... .max, using: &random))
      let user = String(format: "%06d", index * 7)
      var msg = "order ord_\(order) for u-\(user) took \(index).\(index % 100) ms v1.2.\(index % 3)"
      msg += " \\u0041\(index) a\(index)b\(index)c 0x\(index) path /x/\(index)"
      let call = "6cbc36de-39a3-4e3c-91c4-" + String(format: "%012x", index / 5)
      let hash = String(format: "%032x", index)
      lines.append(
        line(
          msg, time: day + Int64(index) * 1_000_003, function: "f\(index % 7)", call: call,
          fields: "\"path\":\"/x/\(index)\",\"n\":\(index).50,\"h\":\"\(hash)\""))
    }
    let file = try blockFile(lines)
    let block = try Block(bytes: file)
    for row in 0..<block.rowCount { #expect(try block.record(row) == lines[Int(try block.id(row)) - 1]) }
    #expect(file.count * 8 < lines.reduce(0) { $0 + $1.count }, "\(file.count)")
  }

  @Test func `a block that cannot be read back keeps its lines whole, and says so`() throws {
    let seed: UInt64 = 31
    var random = SeededGenerator(seed: seed)
    let lines = (0..<200).map { _ in random.chance(50) ? oddLine(&random) : randomLine(&random) }
    let table = try table(lines)
    let bad: [@Sendable ([UInt8]) throws -> [UInt8]] = [
      { file in
        var file = file
        file[file.count / 2] ^= 1
        return file
      },
      { _ in try blockFile(lines.dropLast() + [line("another")]) },
      { _ in try blockFile(lines.reversed()) },
      { _ in try blockFile(Array(lines.dropLast())) },
    ]
    for spoil in bad {
      var notices = 0
      let made = try BlockMaker.file(table, notice: { _ in notices += 1 }) { keepsLines in
        var writer = BlockWriter(table, level: 4, keepsLines: keepsLines)
        let file = writer.file(workers: ["w": 7])
        return keepsLines ? file : (try? spoil(file)) ?? []
      }
      #expect(notices == 1)
      let block = try Block(bytes: made.bytes)
      #expect(block.workers == ["w": 7] && block.rowCount == lines.count)
      for row in lines.indices { #expect(try block.record(row) == lines[Int(try block.id(row)) - 1]) }
      let search = try BlockSearch(block)
      for text in ["payment", "level:error", "call:c-1", "duration_ms:>5"] {
        let query = try LogQuery.parse(text)
        let found = try search.matches(query.filter, .all(block.rowCount))
        let wanted = try lines.filter { query.matches(try IndexedRecord($0), scope: .all) }.count
        #expect(found.count == wanted && BloomProbes(query.filter).allow(block.filter), "\(text)")
      }
    }
    #expect(throws: BlockFault.self) {
      _ = try BlockMaker.file(table, notice: { _ in }) { _ in Array(repeating: 0, count: 500) }
    }
  }

  @Test func `the filter knows every value and word that is there`() throws {
    let seed: UInt64 = 88
    var random = SeededGenerator(seed: seed)
    let lines = (0..<500).map { _ in randomLine(&random) }
    let block = try Block(bytes: blockFile(lines))
    for text in [
      "payment", "\"connection refused\"", "42", "function:hello", "call:c-2", "pod:p1", "namespace:team-a", "node:n2",
      "user.name:ann", "took:soon", "fields.level:own",
    ] {
      #expect(BloomProbes(try LogQuery.parse(text).filter).allow(block.filter), "\(text)")
    }
    let large = try Block(bytes: blockFile([line("m", fields: "\"size\":1e999")]))
    #expect(BloomProbes(try LogQuery.parse("size:1e999").filter).allow(large.filter))
    #expect(!BloomProbes(try LogQuery.parse("zebra").filter).allow(block.filter))
    #expect(!BloomProbes(try LogQuery.parse("call:c-99").filter).allow(block.filter))
    #expect(!BloomProbes(try LogQuery.parse("call:c-99 payment OR zebra").filter).allow(block.filter))
  }
}

@Suite struct LineScannerTests {
  /// The scanner of the columns and the reader of records accept the same lines.
  @Test func `the scanner takes exactly the lines that are records`() throws {
    let seed: UInt64 = 55
    var random = SeededGenerator(seed: seed)
    var taken = 0
    var scanner = LineScanner()
    for _ in 0..<20_000 {
      var bytes = random.chance(50) ? oddLine(&random) : randomLine(&random)
      if random.chance(70) {
        for _ in 0..<Int.random(in: 1...2, using: &random) {
          let place = Int.random(in: 0..<bytes.count, using: &random)
          switch Int.random(in: 0..<3, using: &random) {
          case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
          case 1: bytes.remove(at: place)
          default: bytes.insert(random.pick(Array("{}[]\",:\\0123456789.eE-+tfnu \t".utf8)), at: place)
          }
        }
      }
      let record = try? IndexedRecord(bytes)
      guard bytes.last != 0x0A, bytes.last != 0x0D else { continue }
      let isTaken = bytes.withUnsafeBufferPointer { text in
        text.baseAddress.map { scanner.scan($0, text.count) } ?? false
      }
      #expect(isTaken == (record != nil), "seed \(seed): \(String(decoding: bytes, as: UTF8.self))")
      if let record, isTaken {
        taken += 1
        #expect(scanner.time == record.time && scanner.level == record.level)
      }
    }
    #expect(taken > 5_000)
  }
}
