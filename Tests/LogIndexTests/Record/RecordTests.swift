import ClusterTestSupport
import Testing

@testable import LogIndex

@Suite struct RecordTests {
  @Test func `a record keeps its bytes and finds its values`() throws {
    let bytes = line(
      "say \\\"hi\\\" \\u00e9\\ud83d\\ude00", level: "WARNING", call: "c-1", fields: "\"n\":1.50, \"a.b\":\"x\"")
    let record = try IndexedRecord(bytes + [0x0A])
    #expect(record.bytes == bytes)
    #expect(record.time == day)
    #expect(record.level == .warn)
    #expect(record.text(.level) == "warn")
    #expect(record.text(.msg) == "say \"hi\" é😀")
    #expect(record.text(.call) == "c-1")
    let number = try #require(record.span(.user("n")))
    #expect(Array(record.text(number)) == Array("1.50".utf8))
    #expect(record.span(.user("a.b")) != nil)
  }

  @Test func `nested fields flatten with dots and the last of two equal keys counts`() throws {
    let record = try IndexedRecord(line("m", fields: #""a":{"b":{"c":1},"d":[1,2]},"a":{"b":{"c":2}},"e\n":3"#))
    let value = try #require(record.span(.user("a.b.c")))
    #expect(Array(record.text(value)) == Array("2".utf8))
    let list = try #require(record.span(.user("a.d")))
    #expect(list.kind == .composite)
    #expect(record.span(.user("e\n")) != nil)
  }

  @Test(arguments: [
    "", "null", "[]", "{", "{}x", #"{"time":"2026-11-20T00:00:00Z""#, #"{"time":"2026-11-20T00:00:00Z",}"#,
    #"{"time":"2026-11-20T00:00:00Z","msg":01}"#, #"{"time":"2026-11-20T00:00:00Z","msg":"\x"}"#,
    #"{"time":"2026-11-20T00:00:00Z","msg":tru}"#, "{\"time\":\"2026-11-20T00:00:00Z\",\n\"msg\":1}",
    "{\"time\":\"2026-11-20T00:00:00Z\",\"msg\":\"a\tb\"}", #"{"time":"2026-11-20T00:00:00Z","msg":1.}"#,
    #"{'time':1}"#, #"{"time":"2026-11-20T00:00:00Z"} {}"#,
  ])
  func `what is not one JSON object on a line is refused`(_ text: String) {
    #expect {
      _ = try IndexedRecord(Array(text.utf8))
    } throws: { fault in
      if case .notJSON = fault as? RecordFault { true } else { false }
    }
  }

  @Test(
    arguments: [
      [0xFF], [0xC0, 0xAF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xC3],
      [0xF0, 0x9F, 0x98],
      [0x80],
    ] as [[UInt8]])
  func `text that is not UTF-8 is refused`(_ bad: [UInt8]) {
    let bytes = Array(#"{"time":"2026-11-20T00:00:00Z","msg":""#.utf8) + bad + Array(#""}"#.utf8)
    #expect(throws: RecordFault.self) { try IndexedRecord(bytes) }
  }

  @Test func `a record without a time, or too long, is refused`() {
    #expect(throws: RecordFault.noTime) { try IndexedRecord(Array(#"{"msg":"x"}"#.utf8)) }
    #expect(throws: RecordFault.noTime) { try IndexedRecord(Array(#"{"time":"yesterday"}"#.utf8)) }
    #expect(throws: RecordFault.noTime) { try IndexedRecord(Array(#"{"time":1}"#.utf8)) }
    let long = line(String(repeating: "x", count: IndexedRecord.maximumBytes))
    #expect(throws: RecordFault.tooLarge(bytes: long.count)) { try IndexedRecord(long) }
    let deep = #"{"time":"2026-11-20T00:00:00Z","x":"# + String(repeating: "[", count: 100_000)
    #expect(throws: RecordFault.self) { try IndexedRecord(Array(deep.utf8)) }
  }

  @Test(arguments: [
    ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.000000001Z", 1), ("1969-12-31T23:59:59.5Z", -500_000_000),
    ("2026-11-20T01:00:00+01:00", day), ("2026-11-19t18:30:00.000-05:30", day),
    ("2024-02-29T00:00:00Z", 1_709_164_800_000_000_000),
    ("2026-11-20T00:00:00.1234567899Z", day + 123_456_789),
  ])
  func `times are read to the nanosecond`(_ text: String, _ expected: Int64) {
    #expect(RecordTime.parse(Array(text.utf8)) == expected)
  }

  @Test(arguments: [
    "2026-11-20", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T00:00:00",
    "2026-11-20T00:00:00.Z", "2026-11-20 00:00:00Z", "9999-01-01T00:00:00Z", "", "2026-11-20T00:00:00Zx",
  ])
  func `what is no time is nil`(_ text: String) {
    #expect(RecordTime.parse(Array(text.utf8)) == nil)
  }

  @Test func `a time written and read is the same`() {
    var random = SeededGenerator(seed: 7)
    for _ in 0..<2_000 {
      let time = Int64.random(in: -9_000_000_000_000_000_000...9_000_000_000_000_000_000, using: &random)
      #expect(RecordTime.parse(Array(RecordTime.text(time).utf8)) == time)
    }
  }

  @Test(arguments: [
    "0", "-0.5", "123456789.25", "1e3", "2.5E-3", "9007199254740993", "0.1", "123456789012345678901", "1e400",
  ])
  func `numbers are read as Double reads them`(_ text: String) {
    let expected = Double(text).flatMap { $0.isFinite ? $0 : nil }
    #expect(Decimal.parse(Array(text.utf8)) == expected)
  }
}
