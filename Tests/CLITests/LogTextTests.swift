import ClusterModel
import Foundation
import Testing

@testable import apus

@Suite struct LogTextTests {
  private func bytes(_ record: LogRecord) throws -> [UInt8] { Array(try JSONCoding.encoder.encode(record)) }

  @Test func `a record as a line`() throws {
    let line = LogText(form: .text).line(try bytes(Samples.record()))
    #expect(
      line == "2026-11-21T02:10:04.123Z INFO  greeting level=own name=Ada \"took ms\"=1.5  "
        + "call=0195c6d2-7a31-7c11-9a0f-0a4c5b6d7e8f")
    var short = Samples.record()
    short.fields = ["name": .string("Ada")]
    short.call = "c1"
    #expect(
      LogText(form: .text).line(try bytes(short))
        == "2026-11-21T02:10:04.123Z INFO  greeting name=Ada                       call=c1")
  }

  @Test func `across functions each line names its own, and guesses are marked`() throws {
    let form = LogText(form: .text, namesFunction: true, width: 0)
    var record = Samples.record("x", call: "")
    record.fields = [:]
    #expect(form.line(try bytes(record), approximate: true) == "2026-11-21T02:10:04.123Z INFO  ~ greet: x")
  }

  @Test func `no byte of a record can act on the terminal`() throws {
    var record = Samples.record("a\u{1B}]0;title\u{07}\nb")
    record.fields = ["k\u{1B}": .string("v\u{9B}31m x")]
    for form in [LogText.Form.text, .logfmt] {
      let line = LogText(form: form).line(try bytes(record))
      // Only the ends of a message's own lines stand, and what follows them is indented.
      let lines = line.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(lines.dropFirst().allSatisfy { $0.hasPrefix("    ") })
      #expect(!lines.joined().unicodeScalars.contains { $0.value < 32 || (127...159).contains($0.value) })
    }
  }

  @Test func `a stack trace goes on below its first line, and stays one line for programs`() throws {
    var record = Samples.record("ValueError: x\n  at y", call: "c1")
    record.fields = ["lines": .int(2)]
    let text = LogText(form: .text, width: 0).line(try bytes(record))
    #expect(text == "2026-11-21T02:10:04.123Z INFO  ValueError: x lines=2  call=c1\n      at y")
    for form in [LogText.Form.json, .logfmt] { #expect(!LogText(form: form).line(try bytes(record)).contains("\n")) }
  }

  @Test func `levels are coloured only when asked`() throws {
    let record = Samples.record("x", call: "")
    #expect(LogText(form: .text, colour: true).line(try bytes(record)).contains("\u{1B}[32mINFO \u{1B}[0m"))
    #expect(!LogText(form: .text).line(try bytes(record)).contains("\u{1B}"))
  }

  @Test func `logfmt keeps the reserved names apart from the record's own fields`() throws {
    let line = LogText(form: .logfmt).line(try bytes(Samples.record("two words")))
    #expect(
      line == "time=2026-11-21T02:10:04.123456789Z level=info namespace=default function=greet revision=greet-00001 "
        + "pod=greet-00001-x7k2p node=worker-2 stream=stdout call=0195c6d2-7a31-7c11-9a0f-0a4c5b6d7e8f "
        + "msg=\"two words\" fields.level=own name=Ada \"took ms\"=1.5")
  }

  @Test func `json passes the record byte for byte, and a dropped notice is told`() throws {
    let raw = try bytes(Samples.record())
    #expect(Array(LogText(form: .json).line(raw).utf8) == raw)
    #expect(LogText(form: .text).line(Array(#"{"dropped":3}"#.utf8)) == "… 3 lines skipped: this reader was too slow")
    #expect(
      LogText(form: .text).line(Array(#"{"truncated":"time"}"#.utf8))
        == "… older lines are not shown: the search read its most (time); narrow it with --since or a field")
    #expect(
      LogText(form: .text).line(Array(#"{"truncated":"unreadable"}"#.utf8))
        == "… some lines are missing: a part of the logs could not be read; the server's log names it")
    #expect(LogText(form: .text).line(Array("no json \u{1B}".utf8)) == "no json \\x1b")
  }

  @Test func `the first word is a function when it could be one`() {
    #expect(LogSearch(words: ["greet"]).text == "function:greet")
    #expect(LogSearch(words: ["greet", "a", "OR", "b"]).text == "function:greet AND (a OR b)")
    #expect(LogSearch(words: ["level:error"]).text == "level:error")
    #expect(LogSearch(words: []).text == "")
    #expect(LogSearch(words: ["Greet"]).text == "Greet")
  }

  @Test func `call, level and pipes find their place around the query`() {
    let search = LogSearch(words: ["greet", "\"a|b\" OR c | sort time"], call: "x\"y", level: .error)
    #expect(
      search.text
        == #"function:greet AND call:"x\"y" AND (level:error OR level:fatal) AND ("a|b" OR c) | sort time"#)
    var own = LogSearch(words: ["greet"])
    own.platform = false
    #expect(own.text == "function:greet AND (stream:stdout OR stream:stderr)")
    #expect(LogSearch(words: ["| fields msg"]).text == " | fields msg")
    #expect(LogSearch(words: ["a"], level: .trace).text == "function:a")
  }

  @Test func `moments are spans before now or times`() {
    let now = Samples.now
    #expect(Moment.parse("1h", now: now) == now.advanced(milliseconds: -3_600_000))
    #expect(Moment.parse("2026-11-20", now: now)?.description == "2026-11-20T00:00:00Z")
    #expect(Moment.parse("2026-11-20T01:02:03", now: now)?.description == "2026-11-20T01:02:03Z")
    #expect(Moment.parse("yesterday", now: now) == nil)
  }

  @Test func `statistics stand as a table: time, groups, numbers`() {
    let table = LogStatsTable.table(of: [
      ["time": .string("2026-11-21T02:00:00Z"), "count()": .int(3), "level": .string("error"), "function": .null],
      [
        "time": .string("2026-11-21T02:05:00Z"), "count()": .int(12), "level": .string("info"), "avg(x)": .double(1.50),
      ],
    ])
    #expect(
      table.lines(wide: true) == [
        "TIME                  FUNCTION  LEVEL  AVG(X)  COUNT()",
        "2026-11-21T02:00:00Z  -         error          3",
        "2026-11-21T02:05:00Z            info   1.5     12",
      ])
  }

  @Test func `lines shown are remembered, boundedly`() {
    var recent = RecentLines()
    let (first, second) = (recent.insert([1]), recent.insert([1]))
    #expect(first && !second)
    for number in 0..<RecentLines.capacity { _ = recent.insert(Array("\(number)".utf8)) }
    let afterMany = recent.insert([1])
    #expect(afterMany)
  }

  @Test func `an access record tells when its call ran, and where`() throws {
    var record = Samples.record("GET")
    record.stream = .access
    record.time = Samples.time("2026-11-21T02:10:04.500Z")
    record.fields = ["duration_ms": .double(100)]
    let run = CallNeighbours.run(try bytes(record))
    #expect(run?.from == Samples.time("2026-11-21T02:10:04.499Z"))
    #expect(run?.to == Samples.time("2026-11-21T02:10:04.602Z"))
    record.stream = .stdout
    #expect(CallNeighbours.run(try bytes(record)) == nil)
  }
}
