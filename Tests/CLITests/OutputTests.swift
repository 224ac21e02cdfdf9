import ClusterModel
import Foundation
import Testing

@testable import apus

@Suite struct OutputTests {
  @Test func `a table aligns its columns, hides wide ones and leaves no blank at a line's end`() throws {
    let table = TextTable(
      columns: [.init("NAME"), .init("NODE", wide: true), .init("AGE")],
      rows: [["greet-00001-x7k2p", "worker-1", "1m"], ["größe", "w", ""]])
    #expect(
      table.lines(wide: false) == ["NAME               AGE", "greet-00001-x7k2p  1m", "größe"])
    #expect(table.lines(wide: true)[2] == "größe              w")
    for line in table.lines(wide: true) { #expect(line.last != " ") }
  }

  @Test func `control characters, newlines and direction marks cannot reach the terminal`() {
    #expect(Text.visible("a\u{1B}[31mb\n\t\r\u{7F}\u{9B}") == "a\\x1b[31mb\\n\\t\\r\\x7f\\x9b")
    #expect(Text.visible("x\u{202E}y\u{2028}") == "x\\u{202e}y\\u{2028}")
    #expect(Text.visible("größe 日本 👩‍👩‍👧") == "größe 日本 👩‍👩‍👧")
  }

  @Test(
    arguments: [
      (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1234, "1.2 kB"), (9_949, "9.9 kB"), (9_960, "10 kB"),
      (999_499, "999 kB"), (999_500, "1.0 MB"), (5_000_000_000, "5.0 GB"),
    ] as [(Int64, String)])
  func `bytes are written with the unit that leaves one to three digits`(count: Int64, text: String) {
    #expect(Figures.bytes(count) == text)
  }

  @Test(
    arguments: [
      (0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (3600, "60m"), (4 * 3600, "4h"), (8 * 86_400, "8d"),
      (-5, "0s"),
    ] as [(Int64, String)])
  func `ages are written as Kubernetes does`(seconds: Int64, text: String) {
    let start = Timestamp(milliseconds: 1_000_000_000_000)
    #expect(Figures.age(from: start, to: start.advanced(milliseconds: seconds * 1000)) == text)
  }

  @Test func `milliseconds and fixed numbers round half away from zero`() {
    #expect(Figures.milliseconds(0.42) == "0.4ms")
    #expect(Figures.milliseconds(9.96) == "10ms")
    #expect(Figures.milliseconds(1234) == "1.2s")
    #expect(Figures.fixed(-0.04, 1) == "0.0")
    #expect(Figures.fixed(2.25, 1) == "2.3")
    #expect(Figures.fixed(3, 2) == "3.00")
  }

  @Test func `a function as YAML`() throws {
    let function = try JSONValue(encoding: Samples.function())
    try Golden.expect(YAMLText.document(function), "function.yaml.txt")
  }

  @Test func `yaml quotes what a reader could take for something else`() {
    let value = JSONValue.object([
      "a": .string("true"), "b": .string("12"), "c": .string("no"), "d": .string("x: y"), "e": .string(""),
      "f": .string("line\nnext"), "g": .string("#x"), "h": .array([.string("- a"), .array([.int(1)]), .object([:])]),
      "i": .string("tab\tq\"\\"), "1": .null, "k": .string("plain words"), "l": .string("2026-11-21T02:10:00Z"),
    ])
    #expect(
      YAMLText.document(value) == """
        "1": null
        a: "true"
        b: "12"
        c: "no"
        d: "x: y"
        e: ""
        f: |-
          line
          next
        g: "#x"
        h:
        - "- a"
        - - 1
        - {}
        i: "tab\\tq\\"\\\\"
        k: plain words
        l: "2026-11-21T02:10:00Z"

        """)
  }

  @Test func `status in each phase`() throws {
    let entry = ProcessBoard.Entry(
      name: "server", role: "server", pid: 41, restarts: 1, since: Samples.time("2026-11-21T02:06:00Z"),
      lastEnding: "signal 9")
    let board = ProcessBoard(phase: "running", supervisor: 40, processes: [entry])
    var report = StatusReport(data: "/var/lib/apus", kubeconfig: "/var/lib/apus/kubeconfig", board: board)
    report.api = "https://127.0.0.1:6440"
    report.gateway = "http://127.0.0.1:8080"
    report.metrics = "http://127.0.0.1:8082/metrics"
    #expect(report.phase == "degraded")
    let node = JSONValue.object([
      "status": .object([
        "conditions": .array([.object(["type": .string("Ready"), "status": .string("True")])])
      ])
    ])
    report.answered(nodes: [node, .object([:])], functions: 3)
    #expect(report.phase == "running")
    try Golden.expect(report.text(now: Samples.now) + JSONText.pretty(report.document), "status.txt")
    var down = board
    down.processes[0].pid = 0
    let without = JSONText.pretty(StatusReport(data: "/d", kubeconfig: "/d/kubeconfig", board: down).document)
    #expect(without.contains("\"pid\" : null"), "0 would be a process group: \(without)")
    let stopped = StatusReport(data: "/d", kubeconfig: "/d/kubeconfig", board: nil)
    #expect(stopped.text(now: Samples.now) == "Apus is not running.\n  data        /d\nStart it:  apus up\n")
  }

  @Test func `doctor says what to do about each thing that is not well`() throws {
    let text = DoctorCheck.text([
      DoctorCheck("kernel", .ok, "Linux 6.1"),
      DoctorCheck("cgroups", .less, "no control groups", advice: "mount them"),
      DoctorCheck("seccomp", .missing, "no filters", advice: "run another kernel"),
    ])
    try Golden.expect(text, "doctor.txt")
  }
}
