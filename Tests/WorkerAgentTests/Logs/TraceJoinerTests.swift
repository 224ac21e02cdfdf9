import ClusterModel
import ClusterTestSupport
import Testing

@testable import WorkerAgent

/// What a program printed, with a name of one line: a test's output is read by its lines.
struct Printed: ExpressibleByStringLiteral, CustomTestStringConvertible, Sendable {
  let text: String

  init(_ text: String) {
    self.text = text
  }

  init(stringLiteral text: String) {
    self.text = text
  }

  var testDescription: String { text.debugDescription }
}

/// Stack traces become one record each; every other line passes at once.
@Suite("Stack traces")
struct TraceJoinerTests {
  private static func record(_ line: String, _ number: Int = 0, call: String = "", stream: LogStream = .stderr)
    -> LogRecord
  {
    LogRecord(
      time: Timestamp(nanoseconds: Int64(number)), namespace: "default", function: "f", stream: stream,
      level: stream == .stderr ? .error : .info, call: call, msg: line)
  }

  /// The messages of lines that came at one moment, after the end of the stream.
  private func joined(_ text: String) -> [String] {
    var joiner = TraceJoiner()
    var found: [String] = []
    for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      joiner.take(Self.record(String(line), number), isPlain: true, uptime: 0) { found.append($0.msg) }
    }
    joiner.finish(nil) { found.append($0.msg) }
    return found
  }

  static let python = """
    Traceback (most recent call last):
      File "/app/handler.py", line 3, in handle
        return orders[key]
               ~~~~~~^^^^^
    KeyError: 'x'

    During handling of the above exception, another exception occurred:

    Traceback (most recent call last):
      File "/app/handler.py", line 5, in handle
        raise ValueError("no such order")
    ValueError: no such order
    """
  static let group = """
      + Exception Group Traceback (most recent call last):
      |   File "/app/a.py", line 1, in <module>
      |     raise ExceptionGroup("many", [ValueError(1)])
      | ExceptionGroup: many (1 sub-exception)
      +-+---------------- 1 ----------------
        | ValueError: 1
        +------------------------------------
    """
  static let node = """
    TypeError: Cannot read properties of undefined (reading 'id')
        at handler (/app/handler.js:3:17)
        at process.processTicksAndRejections (node:internal/process/task_queues:95:5) {
      code: 'E_NONE',
      [cause]: Error: inner
          at other (/app/other.js:1:1)
    }
    """
  static let nodeCrash = """
    /app/handler.js:12
        throw new Error('boom');
        ^

    Error: boom
        at Object.<anonymous> (/app/handler.js:12:11)
        at node:internal/main/run_main_module:28:49

    Node.js v20.11.1
    """
  static let java = """
    Exception in thread "main" java.lang.IllegalStateException: boom
    \tat com.acme.Shop.pay(Shop.java:12)
    \tat com.acme.Main.main(Main.java:3)
    Caused by: java.io.IOException: disk
    \tat com.acme.Disk.write(Disk.java:9)
    \t... 2 more
    """
  static let thread = """
    Exception in thread Thread-1 (work):
    Traceback (most recent call last):
      File "/usr/lib/python3.11/threading.py", line 1038, in _bootstrap_inner
        self.run()
    RuntimeError: boom
    """
  static let swift = """
    shop/main.swift:7: Fatal error: Index out of range

    *** Program crashed: Illegal instruction at 0x00007f3c ***

    Thread 0 "shop" crashed:

    0      0x00007f3c pay(_:) + 12 in shop at /app/main.swift:7:9

    Backtrace took 0.12s
    """

  @Test(arguments: [python, group, node, nodeCrash, java, thread, swift].map(Printed.init(_:)))
  func `a trace is one record, and the lines around it are their own`(_ printed: Printed) {
    let trace = printed.text
    #expect(joined(trace) == [trace])
    #expect(joined("before\n\(trace)\nafter\nand more") == ["before", trace, "after", "and more"])
    #expect(joined("\(trace)\n\(trace)") == [trace, trace])
  }

  @Test(
    arguments: [
      "Error: boom\nnext line", "java.io.IOException: x\nnot a frame", "Error handling failed\n    at noon",
      "order 7\n  indented",
      "Traceback of the order\n  x", "/app/handler.js:12\nplain\nplain", "see /app/x.js:12\n  at y",
      "  indented\n    at x",
      "no Fatal error: here\nnext", "12:30 TypeError: x\n    at y", "{\n  \"a\": 1\n}", "", "\n\n",
      "Caused by: rain\n\tat x",
    ] as [Printed])
  func `lines that only look alike stay apart`(_ printed: Printed) {
    let text = printed.text
    #expect(joined(text) == text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init))
  }

  @Test func `an ordinary line never waits, and a trace waits for its next line only so long`() {
    var joiner = TraceJoiner()
    var found: [String] = []
    joiner.take(Self.record("plain"), isPlain: true, uptime: 0) { found.append($0.msg) }
    #expect(found == ["plain"] && joiner.due == nil)
    joiner.take(Self.record("ValueError: x"), isPlain: true, uptime: 0) { found.append($0.msg) }
    #expect(found == ["plain"] && joiner.due == 20_000_000)
    // Another stream's and another call's lines pass it.
    joiner.take(Self.record("out", stream: .stdout), isPlain: true, uptime: 1) { found.append($0.msg) }
    joiner.take(Self.record("else", call: "c2"), isPlain: true, uptime: 1) { found.append($0.msg) }
    #expect(found == ["plain", "out", "else"])
    joiner.flush(uptime: 19_999_999) { found.append($0.msg) }
    #expect(found.count == 3)
    joiner.flush(uptime: 20_000_000) { found.append($0.msg) }
    #expect(found.last == "ValueError: x" && joiner.isEmpty)
    // A JSON line's message is no head, whatever it says.
    joiner.take(Self.record("TypeError: y"), isPlain: false, uptime: 0) { found.append($0.msg) }
    #expect(joiner.isEmpty)
  }

  @Test func `a trace is an error with its number of lines, at the time of its first`() {
    var joiner = TraceJoiner()
    var found: [LogRecord] = []
    for (number, line) in Self.java.split(separator: "\n").enumerated() {
      joiner.take(Self.record(String(line), number + 5, stream: .stdout), isPlain: true, uptime: 0) { found.append($0) }
    }
    joiner.finish(.stderr) { found.append($0) }
    #expect(found.isEmpty)
    joiner.finish(.stdout) { found.append($0) }
    #expect(found.map(\.level) == [.error] && found.first?.fields == ["lines": .int(6)])
    #expect(found.first?.time.nanoseconds == 5)
  }

  @Test func `lines, bytes and traces at once are bounded, and nothing is lost`() {
    var joiner = TraceJoiner()
    var lines = 0
    var largest = 0
    let note: (LogRecord) -> Void = { record in
      lines += record.msg.split(separator: "\n").count
      largest = max(largest, record.msg.utf8.count)
    }
    joiner.take(Self.record("Traceback (most recent call last):"), isPlain: true, uptime: 0, note)
    for number in 0..<5000 {
      joiner.take(Self.record("  \(number) " + String(repeating: "x", count: 90)), isPlain: true, uptime: 0, note)
    }
    joiner.finish(nil, note)
    #expect(lines == 5001 && largest <= TraceJoiner.bytesMaximum)
    lines = 0
    for call in 0..<500 {
      joiner.take(Self.record("Error: x", call: "c\(call)"), isPlain: true, uptime: Int64(call), note)
    }
    #expect(lines == 500 - TraceJoiner.tracesMaximum)
    joiner.finish(nil, note)
    #expect(lines == 500)
  }

  @Test func `whatever is written, every line comes out once and in order`() {
    var random = SeededGenerator(seed: 3)
    let pieces =
      [Self.python, Self.node, Self.nodeCrash, Self.java, Self.swift].flatMap {
        $0.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      } + ["plain", "", "}", "  x"]
    for _ in 0..<2000 {
      let lines = (0..<Int.random(in: 1...30, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
      var joiner = TraceJoiner()
      var found: [String] = []
      for line in lines { joiner.take(Self.record(line), isPlain: true, uptime: 0) { found.append($0.msg) } }
      joiner.finish(nil) { found.append($0.msg) }
      let flat = { (texts: [String]) in texts.flatMap { $0.split(separator: "\n") }.map(String.init) }
      #expect(flat(found) == flat(lines))
    }
  }
}
