import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

/// The lines that Benchmarks/logs measures with, and what it makes of lines of others.
@Suite struct BenchmarkLinesTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../../Benchmarks/logs").standardizedFileURL.path

  @Test func `the generator's bytes are what they were`() async throws {
    let check = try await Command.run("python3", [Self.folder + "/generate.py", "--check"])
    #expect(check.isSuccess, "\(check.output)")
    #expect(check.output.split(separator: "\n").count == 3)
  }

  private func records(_ lines: [String]) async throws -> [IndexedRecord] {
    let text = lines.joined(separator: "\n") + "\n"
    let made = try await Command.run("python3", [Self.folder + "/records.py"], input: Array(text.utf8))
    #expect(made.isSuccess, "\(made.output)")
    return try made.output.split(separator: "\n").map { try IndexedRecord(Array($0.utf8)) }
  }

  @Test func `its lines become records that lack nothing`() async throws {
    let made = try await records([
      #"{"ts":1795132800370343773,"level":"info","function":"f","version":11,"pod":"f-1","request_id":"6cbc36de","#
        + #""message":"GET /a\t\"b\" 200","status":200,"duration_ms":169.030,"cold":false}"#
    ])
    let record = try #require(made.first)
    #expect(record.time == 1_795_132_800_370_343_773 && record.level == .info)
    #expect(record.text(.namespace) == "bench" && record.text(.function) == "f" && record.text(.pod) == "f-1")
    #expect(record.text(.call) == "6cbc36de" && record.text(.msg) == "GET /a\t\"b\" 200")
    #expect(
      String(decoding: record.bytes, as: UTF8.self)
        .hasSuffix(#""fields":{"version":11,"status":200,"duration_ms":169.030,"cold":false}}"#))
  }

  @Test func `lines of others are told by the names and spellings they use`() async throws {
    let made = try await records([
      #"{"@timestamp":"2026-11-21T03:00:00.318Z","log.level":"WARN","service":"api","trace_id":"t1","message":"m","#
        + #""http":{"method":"GET", "n":1.50},"tags":["a",1]}"#,
      #"{"time":1795132800,"severity":"critical","app":"x","msg":"seconds"}"#,
      #"{"t":1795132800123,"level":30,"logger":"l","text":"milliseconds"}"#, "no JSON {at all}",
      #"{"time":"2026-11-21 03:00:01,5","msg":{"not":"text"},"function":7}"#,
      #"{"time":"2026-11-21T03:00:02Z","namespace":"n","function":"f","stream":"stdout","level":"info","msg":"own","#
        + #""fields":{"a":1}}"#,
    ])
    #expect(
      made.map { RecordTime.text($0.time) } == [
        "2026-11-21T03:00:00.318000000Z", "2026-11-20T00:00:00.000000000Z", "2026-11-20T00:00:00.123000000Z",
        "2026-11-20T00:00:00.123000000Z", "2026-11-21T03:00:01.500000000Z", "2026-11-21T03:00:02.000000000Z",
      ])
    #expect(made.map(\.level) == [.warn, .fatal, .info, nil, nil, .info])
    #expect(made.map { $0.text(.msg) } == ["m", "seconds", "milliseconds", "no JSON {at all}", "", "own"])
    #expect(made.map { $0.text(.function) } == ["api", "x", "l", "", "", "f"])
    let ends = made.map { String(decoding: $0.bytes, as: UTF8.self) }
    #expect(ends[0].hasSuffix(#""fields":{"http":{"method":"GET", "n":1.50},"tags":["a",1]}}"#))
    #expect(ends[4].hasSuffix(#""fields":{"function":7,"msg":{"not":"text"}}}"#))
    #expect(ends[5].hasSuffix(#""msg":"own","fields":{"a":1}}"#) && ends[5].contains(#""namespace":"bench""#))
  }
}
