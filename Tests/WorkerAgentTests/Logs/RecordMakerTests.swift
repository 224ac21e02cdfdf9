import ClusterModel
import ClusterTestSupport
import Foundation
import Testing

@testable import WorkerAgent

@Suite("Record maker")
struct RecordMakerTests {
  static let time = Timestamp(nanoseconds: 1_767_225_600_123_456_789)

  static func maker(callInLine: Bool = false) -> RecordMaker {
    RecordMaker(
      namespace: "default", function: "greet", revision: "greet-00001", pod: "greet-00001-abcde", node: "n1",
      callInLine: callInLine)
  }

  static func record(_ line: String, _ stream: LogStream = .stdout, part: Int = 0, callInLine: Bool = false)
    -> LogRecord
  {
    Array(line.utf8).withUnsafeBytes {
      maker(callInLine: callInLine).record(line: $0, part: part, stream: stream, at: time)
    }
  }

  static func frame(_ line: String) -> LogRecord {
    Array(line.utf8).withUnsafeBytes { maker().record(frame: $0, part: 0, at: time) }
  }

  @Test func `text is the message; the stream gives the level`() {
    let out = Self.record("hello")
    #expect((out.msg, out.level, out.stream, out.fields) == ("hello", .info, .stdout, [:]))
    #expect(Self.record("oh", .stderr).level == .error)
    #expect(Self.record("half", part: 2).fields == ["part": .int(2)])
  }

  @Test func `level, severity and lvl give the level, msg and message the message`() {
    for (line, level, message) in [
      (#"{"level":"warn","msg":"a"}"#, LogLevel.warn, "a"), (#"{"severity":"CRITICAL","message":"b"}"#, .fatal, "b"),
      (#"{"lvl":"Debug","msg":"c"}"#, .debug, "c"), (#"{"level":50,"msg":"d"}"#, .error, "d"),
      (#"{"level":"silly","msg":"e"}"#, .info, "e"), (#"{"msg":"f"}"#, .info, "f"),
    ] {
      let record = Self.record(line)
      #expect((record.level, record.msg) == (level, message), "\(line)")
    }
    #expect(Self.record(#"{"level":"silly","msg":"e"}"#).fields == ["level": .string("silly")])
    #expect(Self.record(#"{"msg":"a","message":"b"}"#).fields == ["message": .string("b")])
  }

  @Test func `a line cannot back-date itself or name another pod`() {
    let record = Self.record(
      #"{"time":"1999-01-01T00:00:00Z","ts":1,"function":"other","pod":"p","namespace":"kube","#
        + #""call":"c","stream":"access","msg":"m"}"#
    )
    #expect(record.time == Self.time)
    #expect(
      (record.function, record.pod, record.namespace, record.call) == ("greet", "greet-00001-abcde", "default", ""))
    #expect(record.stream == .stdout)
    #expect(record.fields["time"] == .string("1999-01-01T00:00:00Z"))
    #expect(record.fields["function"] == .string("other"))
    #expect(record.fields["call"] == .string("c"))
  }

  @Test func `nested objects flatten with dots, lists stay`() {
    let record = Self.record(#"{"msg":"m","a":{"b":{"c":1,"d":[1,{"e":2}]}},"f":1.5,"g":null,"h":true,"i":{}}"#)
    #expect(
      record.fields == [
        "a.b.c": .int(1), "a.b.d": .array([.int(1), .object(["e": .int(2)])]), "f": .double(1.5), "g": .null,
        "h": .bool(true), "i": .string("{}"),
      ])
  }

  @Test func `depth, number of fields and size are bounded`() {
    let deep = String(repeating: #"{"a":"#, count: 20) + "1" + String(repeating: "}", count: 20)
    let record = Self.record(deep)
    #expect(record.fields.keys.first == Array(repeating: "a", count: 8).joined(separator: "."))
    let tooDeep = String(repeating: #"{"a":"#, count: 200) + "1" + String(repeating: "}", count: 200)
    #expect(Self.record(tooDeep).msg == tooDeep)
    let wide = "{" + (0..<1000).map { "\"k\($0)\":\($0)" }.joined(separator: ",") + "}"
    let fields = Self.record(wide).fields
    #expect(fields.count == RecordMaker.fieldsMaximum)
    #expect(fields["apus.truncated"] == .bool(true))
    #expect(fields["k0"] == .int(0))
    // A long name is not written again for each of many members.
    let name = String(repeating: "n", count: 30 << 10)
    let members = (0..<5_000).map { _ in #""a":1"# }.joined(separator: ",")
    #expect(
      Self.record("{\"\(name)\":{\(members)}}").fields == ["\(name).a": .int(1), "apus.truncated": .bool(true)])
    let long = Self.record(String(repeating: "\u{1}", count: 64 << 10))
    let line = RecordWriter.line(long)
    #expect(line.count <= RecordMaker.recordBytes)
    #expect((try? JSONDecoder().decode(LogRecord.self, from: Data(line)))?.fields["apus.truncated"] == .bool(true))
  }

  @Test func `the call of a line comes from the frame, or from the line where there is no runner`() {
    #expect(Self.record(#"{"call":"0195-abc","msg":"m"}"#, callInLine: true).call == "0195-abc")
    #expect(Self.record(#"{"call_id":"x","msg":"m"}"#, callInLine: true).call == "x")
    #expect(Self.record(#"{"call_id":"no spaces","msg":"m"}"#, callInLine: true).call == "")
    let frame = Self.frame(
      #"{"call":"c1","stream":"stdout","line":"{\"level\":\"warn\",\"msg\":\"m\",\"call\":\"c2\"}"}"#)
    #expect((frame.call, frame.level, frame.msg, frame.stream) == ("c1", .warn, "m", .stdout))
    #expect(frame.fields == ["call": .string("c2")])
  }

  @Test func `frames carry lines, parts and structured records`() {
    let part = Self.frame(#"{"call":"c","stream":"stderr","line":"abc","part":3}"#)
    #expect((part.level, part.fields) == (.error, ["part": .int(3)]))
    let structured = Self.frame(
      #"{"call":"c","stream":"stderr","level":"info","msg":"paid","fields":{"amount":{"eur":12}}}"#)
    #expect((structured.level, structured.msg, structured.call) == (.info, "paid", "c"))
    #expect(structured.fields == ["amount.eur": .int(12)])
    for stray in ["", "hello", "[1]", #"{"call":"c"}"#, #"{"line":1}"#] {
      let record = Self.frame(stray)
      #expect((record.level, record.msg) == (.warn, stray), "\(stray)")
      #expect(record.fields["apus.frame"] == .string("malformed"))
    }
  }

  @Test func `a record is written as the one line of the contract`() throws {
    let record = Self.record(#"{"msg":"say \"hi\"\n\u0007 é","n":1,"big":123456789012345678901234567890}"#)
    let line = String(decoding: RecordWriter.line(record), as: UTF8.self)
    #expect(
      line
        == #"{"time":"2026-01-01T00:00:00.123456789Z","namespace":"default","function":"greet","revision":"greet-00001","#
        + #""pod":"greet-00001-abcde","node":"n1","stream":"stdout","level":"info","call":"","#
        + #""msg":"say \"hi\"\n\u0007 é","fields":{"big":1.2345678901234568e+29,"n":1}}"#)
    let decoded = try JSONDecoder().decode(LogRecord.self, from: Data(line.utf8))
    #expect(decoded == record)
  }

  @Test func `strings with every escape and lone surrogates are read`() {
    #expect(Self.record(#"{"msg":"\ud83d\ude00 \/ \t \ud800 \udc00x"}"#).msg == "😀 / \t \u{FFFD} \u{FFFD}x")
    for broken in [
      #"{"msg":"\u12"}"#, #"{"msg":"\x"}"#, #"{"msg":"a}"#, #"{"msg":01}"#, #"{"msg":"a",}"#, "{", #"{"a":1}x"#,
    ] {
      #expect(Self.record(broken).msg == broken, "\(broken)")
    }
  }

  @Test func `100,000 mutated lines and frames give records that decode`() throws {
    let seed = Soak.seed("record maker")
    var generator = SeededGenerator(seed: seed)
    let seeds = [
      #"{"level":"info","msg":"hello","a":{"b":[1,2,{"c":null}]},"x":-1.5e3}"#, "plain text\u{1}", "{}", "[]",
      #"{"call":"c1","stream":"stdout","line":"{\"msg\":\"x\"}","part":1}"#,
      #"{"call":"c","stream":"stderr","level":"error","msg":"m","fields":{"k":"v"}}"#,
      #"{"msg":"\ud83d\ude00\u0000\"\\"}"#, String(repeating: "[", count: 64),
    ].map { Array($0.utf8) }
    let maker = Self.maker(callInLine: true)
    for round in 0..<Soak.rounds(100_000) {
      var bytes = seeds.randomElement(using: &generator) ?? []
      for _ in 0..<Int.random(in: 1...6, using: &generator) { Self.mutate(&bytes, &generator) }
      let record = bytes.withUnsafeBytes { buffer in
        round % 2 == 0
          ? maker.record(line: buffer, part: 0, stream: .stdout, at: Self.time)
          : maker.record(frame: buffer, part: 0, at: Self.time)
      }
      let line = RecordWriter.line(record)
      if line.contains(10) { Issue.record("seed \(seed) round \(round): a newline inside a record") }
      // Decoding is slow; every hundredth proves the form.
      guard round % 100 == 0 else { continue }
      let decoded = try? JSONDecoder().decode(LogRecord.self, from: Data(line))
      #expect(decoded?.msg == record.msg, "seed \(seed) round \(round)")
    }
  }

  private static func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
    let place = bytes.isEmpty ? 0 : Int.random(in: 0..<bytes.count, using: &generator)
    switch Int.random(in: 0..<6, using: &generator) {
    case 0: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
    case 1: if !bytes.isEmpty { bytes.remove(at: place) }
    case 2: if !bytes.isEmpty { bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator) }
    case 3: bytes.append(contentsOf: bytes.prefix(place))
    case 4: bytes.removeLast(min(bytes.count, Int.random(in: 0...8, using: &generator)))
    default: bytes.insert(Array("{}[]\",:\\u0e-.9".utf8).randomElement(using: &generator) ?? 0, at: place)
    }
    if bytes.count > 4096 { bytes.removeLast(bytes.count - 4096) }
  }
}
