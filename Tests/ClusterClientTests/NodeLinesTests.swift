import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Testing

@Suite("Lines of a node's session")
struct NodeLinesTests {
  private let lines = NodeLines()

  /// A report with so many of its optional parts, and texts that JSON must escape.
  private static func report(_ random: inout SeededGenerator) -> PodReport {
    let texts = [
      "", "a b", "\"quoted\" \\ back", "line\nline\ttab\u{1}", "ünïcode 🪶", "/run/apus/x.s", "a,b}]{\"c\":1",
    ]
    func text(_ random: inout SeededGenerator) -> String { texts.randomElement(using: &random) ?? "" }
    func perhaps<Value>(_ random: inout SeededGenerator, _ value: Value) -> Value? {
      Bool.random(using: &random) ? value : nil
    }
    var detail = PodDetail(
      function: text(&random), revision: text(&random), life: PodLife.allCases.randomElement(using: &random) ?? .gone)
    detail.reason = perhaps(&random, text(&random))
    detail.message = perhaps(&random, text(&random))
    for _ in 0..<Int.random(in: 0...16, using: &random) {
      detail.history.append(
        PodStep(
          life: PodLife.allCases.randomElement(using: &random) ?? .gone,
          at: Timestamp(nanoseconds: Int64.random(in: -1_000_000_000_000...2_000_000_000_000_000_000, using: &random)),
          reason: perhaps(&random, text(&random))))
    }
    detail.restarts = Int.random(in: 0...3, using: &random)
    detail.failed = perhaps(&random, Bool.random(using: &random))
    detail.exitCode = perhaps(&random, Int.random(in: -1...255, using: &random))
    detail.everReady = perhaps(&random, Bool.random(using: &random))
    detail.endpoint = perhaps(
      &random, PodEndpoint(socket: text(&random), host: text(&random), worker: perhaps(&random, text(&random))))
    var startup = StartupBreakdown()
    startup.placed = perhaps(&random, Double.random(in: 0...1e4, using: &random))
    startup.prepared = perhaps(&random, 0)
    startup.sandboxed = perhaps(&random, 1e-7)
    startup.started = perhaps(&random, Double.random(in: 0...10, using: &random))
    startup.ready = perhaps(&random, Double.random(in: 0...1e30, using: &random))
    detail.startup = perhaps(&random, startup)
    detail.memory = perhaps(&random, Int64.random(in: 0 ... .max, using: &random))
    return PodReport(uid: text(&random), name: text(&random), namespace: text(&random), detail: detail)
  }

  private static func start(_ random: inout SeededGenerator, number: Int) throws -> NodeCommand {
    let object = JSONValue.object([
      "apiVersion": .string("apus.dev/v1"), "kind": .string("Function"),
      "metadata": .object(["name": .string("greet")]),
      "spec": .object([
        "runtime": .string("python"), "handler": .string("handler.py"),
        "source": .object(["digest": .string("sha256:" + String(repeating: "a", count: 64))]),
        "env": .object(["TEXT": .string("{\"a\": [1, \"]\"]}\n")]),
      ]),
    ])
    let template = try Admission.admit(function: object).get().spec
    let assignment = PodAssignment(
      uid: UUIDv7.make(), name: "greet-0000\(number)-x", namespace: "default", revision: "greet-0000\(number)",
      spec: RevisionSpec(function: "greet", number: number, template: template), wantedAt: .now())
    return NodeCommand(
      id: UInt64.random(in: 0 ... .max, using: &random), epoch: UInt64.random(in: 0...9, using: &random),
      action: .start(assignment))
  }

  @Test("a pod's report is what Codable makes of it, both ways")
  func reports() throws {
    var random = SeededGenerator(seed: 4)
    for _ in 0..<500 {
      let message = WorkerMessage.pod(Self.report(&random))
      let line = try lines.text(message)
      #expect(!line.contains(10))
      #expect(try JSONDecoder().decode(WorkerMessage.self, from: Data(line)) == message)
      #expect(try lines.message(line) == message)
      #expect(try lines.message(Array(try JSONCoding.encoder.encode(message))) == message)
    }
  }

  @Test("no member of a report was added without a place in its line")
  func members() {
    let detail = PodDetail(function: "f", revision: "r", life: .ready)
    let members: [(Any, Set<String>)] = [
      (PodReport(uid: "", name: "", namespace: "", detail: detail), ["uid", "name", "namespace", "detail"]),
      (
        detail,
        [
          "function", "revision", "life", "reason", "message", "history", "restarts", "failed", "exitCode", "everReady",
          "endpoint", "startup", "memory",
        ]
      ),
      (PodStep(life: .ready, at: .now(), reason: nil), ["life", "at", "reason"]),
      (PodEndpoint(socket: "", host: "", worker: nil), ["socket", "host", "worker"]),
      (StartupBreakdown(), ["placed", "prepared", "sandboxed", "started", "ready"]),
    ]
    for (value, known) in members {
      #expect(
        Set(Mirror(reflecting: value).children.compactMap(\.label)) == known,
        "\(type(of: value)): NodeLines writes and reads these by hand; add the new one there and here")
    }
  }

  @Test("a start command is what Codable makes of it, both ways; a spec met again is the same")
  func starts() throws {
    var random = SeededGenerator(seed: 5)
    for number in [1, 2, 1, 2, 3] {
      let command = try Self.start(&random, number: number)
      let line = try lines.text(command)
      #expect(try JSONDecoder().decode(NodeCommand.self, from: Data(line)) == command)
      #expect(try lines.command(line) == command)
      #expect(try lines.command(Array(try JSONCoding.encoder.encode(command))) == command)
      #expect(try lines.command(Array(try JSONCoding.prettyEncoder.encode(command))) == command)
    }
  }

  @Test("every other message and command goes the way it always went")
  func others() throws {
    let event = ReportedEvent(
      object: ObjectReference(.pod, namespace: "n", name: "p", uid: "u"), reason: "R", message: "m", warning: true)
    for message in [WorkerMessage.heartbeat, .goodbye, .event(event), .stems(["python": 3])] {
      #expect(try lines.message(try lines.text(message)) == message)
    }
    for action in [
      NodeCommand.Action.ping, .keep(uids: ["a", "b"]), .drain(uid: "u"), .stop(uid: "u", graceMilliseconds: 5),
    ] {
      let command = NodeCommand(id: 7, epoch: 2, action: action)
      #expect(try lines.command(try lines.text(command)) == command)
    }
  }

  @Test("a line that was cut or changed anywhere is refused or means what Codable says it means")
  func damaged() throws {
    var random = SeededGenerator(seed: 6)
    let message = try lines.text(.pod(Self.report(&random)))
    let command = try lines.text(try Self.start(&random, number: 1))
    for (line, count) in [(message, message.count), (command, command.count)] {
      for place in 0..<count {
        let cut = Array(line[..<place])
        #expect(throws: (any Error).self) { _ = try lines.message(cut) }
        #expect(throws: (any Error).self) { _ = try lines.command(cut) }
        var changed = line
        changed[place] = UInt8.random(in: 32...126, using: &random)
        #expect(
          (try? lines.message(changed)) == (try? JSONDecoder().decode(WorkerMessage.self, from: Data(changed))))
        #expect(
          (try? lines.command(changed)) == (try? JSONDecoder().decode(NodeCommand.self, from: Data(changed))))
      }
    }
  }
}
