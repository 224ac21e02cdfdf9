import ClusterModel
import ClusterTestSupport
import Foundation
import Synchronization
import Testing

@testable import WorkerAgent

@Suite("Pod output")
struct PodOutputTests {
  /// A journal whose clock stands, with one pod's pipes.
  struct Bench {
    let folder: TemporaryFolder
    let spool: Spool
    let journal: LogJournal
    let loop: PipeLoop
    let output: PodOutput
    let stdout: CInt
    let stderr: CInt
    let frames: CInt

    init(
      wall: @escaping @Sendable () -> Int64 = { 1_700_000_000_000_000_000 },
      uptime: @escaping @Sendable () -> Int64 = { 5_000_000_000 }, limits: SpoolLimits = SpoolLimits()
    ) throws {
      folder = try TemporaryFolder()
      spool = try Spool(directory: "\(folder.path)/spool", limits: limits)
      let journal = LogJournal(spool: spool) {
        Moment(wall: Timestamp(nanoseconds: wall()), uptime: uptime())
      }
      self.journal = journal
      loop = try PipeLoop(name: "test.output") { journal.tellDrops() }
      output = PodOutput(maker: RecordMakerTests.maker(), journal: journal, loop: loop)
      let (out, err, frame) = (try Descriptors.pipe(), try Descriptors.pipe(), try Descriptors.pipe())
      output.attach(stdout: out.read, stderr: err.read, frames: frame.read)
      (stdout, stderr, frames) = (out.write, err.write, frame.write)
    }

    func write(_ text: String, _ fd: CInt) {
      let bytes = Array(text.utf8)
      #expect(Foundation.write(fd, bytes, bytes.count) == bytes.count)
    }

    func closeAll() { for fd in [stdout, stderr, frames] { close(fd) } }

    func records(after sequence: UInt64 = 0) throws -> [LogRecord] {
      var reader = SpoolReader()
      var lines: [[UInt8]] = []
      var last = sequence
      while let batch = try? reader.batch(
        after: last, in: spool, bytes: 1 << 30, damaged: { Issue.record("damaged \($0)") })
      {
        lines += batch.lines
        last = batch.last
      }
      return try lines.map { try JSONDecoder().decode(LogRecord.self, from: Data($0)) }
    }
  }

  @Test func `lines keep their order, and times follow a clock that is put back`() async throws {
    let hour: Int64 = 3_600_000_000_000
    let start: Int64 = 1_700_000_000_000_000_000
    let wall = Mutex(start)
    let bench = try Bench(wall: { wall.withLock { $0 } })
    bench.write("a\nb\n", bench.stdout)
    #expect(await eventually { bench.spool.last == 2 })
    wall.withLock { $0 -= 1_000_000 }
    bench.write("c\n", bench.stdout)
    #expect(await eventually { bench.spool.last == 3 })
    wall.withLock { $0 -= hour }
    bench.write("d\ne\n", bench.stdout)
    bench.closeAll()
    await bench.output.drained(within: 5000)
    let back = start - 1_000_000 - hour
    #expect(try bench.records().map(\.time.nanoseconds) == [start, start + 1, start + 2, back, back + 1])
  }

  @Test func `everything written before the end is in the spool, in order, when the output is drained`() async throws {
    let bench = try Bench()
    for index in 0..<500 { bench.write("line \(index)\n", bench.stdout) }
    bench.write(#"{"call":"c1","stream":"stdout","line":"framed"}"# + "\n", bench.frames)
    bench.write("last words", bench.stderr)
    bench.closeAll()
    await bench.output.drained(within: 5000)
    let records = try bench.records()
    #expect(records.filter { $0.stream == .stdout && $0.call.isEmpty }.map(\.msg) == (0..<500).map { "line \($0)" })
    #expect(records.first { $0.call == "c1" }?.msg == "framed")
    #expect(records.first { $0.stream == .stderr }?.msg == "last words")
    let times = records.map(\.time)
    #expect(Set(times).count == times.count)
    bench.output.finish()
    bench.loop.stop()
  }

  @Test func `a stack trace written line by line is one record, secrets are masked, other lines come at once`()
    async throws
  {
    let bench = try Bench()
    for line in TraceJoinerTests.python.split(separator: "\n", omittingEmptySubsequences: false) {
      bench.write(line + "\n", bench.stderr)
    }
    bench.write("password=hunter2\n", bench.stdout)
    bench.write(#"{"call":"c1","stream":"stderr","line":"TypeError: x"}"# + "\n", bench.frames)
    bench.write(#"{"call":"c1","stream":"stderr","line":"    at y (z.js:1:1)"}"# + "\n", bench.frames)
    #expect(try await eventually { try bench.records().contains { $0.msg == "password=***" } })
    bench.closeAll()
    await bench.output.drained(within: 5000)
    let records = try bench.records()
    #expect(records.count == 3)
    #expect(records.first { $0.stream == .stderr && $0.call.isEmpty }?.msg == TraceJoinerTests.python)
    #expect(records.first { $0.call == "c1" }?.msg == "TypeError: x\n    at y (z.js:1:1)")
    #expect(bench.output.lastLines.contains("password=***") && !bench.output.lastLines.contains("hunter2"))
    bench.output.finish()
    bench.loop.stop()
  }

  @Test func `a line that looks like a trace's first is sent on when nothing follows`() async throws {
    let uptime = Mutex<Int64>(5_000_000_000)
    let bench = try Bench(uptime: { uptime.withLock { $0 } })
    bench.write("ValueError: alone\n", bench.stderr)
    bench.write("marker\n", bench.stdout)
    #expect(try await eventually { try bench.records().contains { $0.msg == "marker" } })
    #expect(try bench.records().count == 1)
    uptime.withLock { $0 += 20_000_000 }
    #expect(try await eventually { try bench.records().contains { $0.msg == "ValueError: alone" } })
    bench.closeAll()
    await bench.output.drained(within: 5000)
    bench.output.finish()
    bench.loop.stop()
  }

  @Test func `fields of a JSON line keep their order and the spelling of their numbers`() async throws {
    let bench = try Bench()
    let fields = #""z":1.50,"a":{"y":-0,"b":1e3},"big":12345678901234567890,"list":[ 1.0,{"q":1,"p":2}],"s":"é","n":7"#
    let line = "{\"msg\":\"x\",\(fields)}\n"
    bench.write("Traceback (most recent call last):\n  File\n", bench.stdout)
    bench.write(line, bench.stdout)
    bench.closeAll()
    await bench.output.drained(within: 5000)
    var reader = SpoolReader()
    let batch = try reader.batch(after: 0, in: bench.spool, bytes: 1 << 20, damaged: { _ in })
    let lines = (batch?.lines ?? []).map { String(decoding: $0, as: UTF8.self) }
    try #require(lines.count == 2, "\(lines)")
    #expect(lines[0].hasSuffix(#""fields":{"lines":2}}"#), "\(lines)")
    let kept = #""z":1.50,"a.y":-0,"a.b":1e3,"big":12345678901234567890,"list":[ 1.0,{"q":1,"p":2}],"s":"é","n":7"#
    #expect(lines[1].hasSuffix(#""fields":{"# + kept + "}}"), "\(lines[1])")
    bench.output.finish()
    bench.loop.stop()
  }

  @Test func `too many lines in a second are dropped and told in one record`() async throws {
    let uptime = Mutex<Int64>(5_000_000_000)
    let clock: @Sendable () -> Int64 = { uptime.withLock { $0 } }
    let bench = try Bench(uptime: clock)
    let total = Limits.logLinesPerSecond + 700
    for start in stride(from: 0, to: total, by: 100) {
      bench.write((start..<start + 100).map { "l\($0)\n" }.joined(), bench.stdout)
    }
    bench.closeAll()
    await bench.output.drained(within: 5000)
    bench.output.finish()
    let records = try bench.records()
    #expect(records.count == Limits.logLinesPerSecond + 1)
    let notice = try #require(records.last)
    #expect(notice.stream == .platform)
    #expect(notice.fields["dropped"] == .int(700))
    #expect(bench.output.lastLines.hasSuffix("l\(total - 1)"))
    bench.loop.stop()
  }

  @Test func `a full spool drops lines, and each that is missing is counted in a record`() async throws {
    let bench = try Bench(limits: SpoolLimits(bytes: 1 << 16, segmentBytes: 1 << 13))
    let text = String(repeating: "x", count: 1000)
    for index in 0..<200 { bench.write("\(index) \(text)\n", bench.stdout) }
    #expect(await eventually { bench.output.lastLines.contains("199 xxx") })
    var records = try bench.records()
    #expect(records.count < 200)
    // The log service takes everything: what was dropped and new lines find room.
    bench.spool.acknowledge(bench.spool.last)
    let before = bench.spool.last
    bench.write("after\n", bench.stdout)
    bench.closeAll()
    await bench.output.drained(within: 5000)
    bench.output.finish()
    records += try bench.records(after: before)
    #expect(records.contains { $0.msg == "after" })
    let dropped = records.compactMap { $0.fields["cause"] == .string("spool") ? $0.fields["dropped"]?.intValue : nil }
    let lines = records.filter { $0.stream == .stdout }.count
    #expect(dropped.reduce(0, +) + Int64(lines) == 201)
    bench.loop.stop()
  }

  @Test func `a pipe that somebody else holds open is closed after the bound`() async throws {
    let bench = try Bench()
    bench.write("before\n", bench.stdout)
    #expect(await eventually { bench.spool.last == 1 })
    await bench.output.drained(within: 20)
    #expect(await eventually { fcntl(bench.stdout, F_GETFD) >= 0 && bench.output.lastLines == "before" })
    bench.closeAll()
    bench.loop.stop()
  }
}
