import ClusterTestSupport
import Foundation
import Testing

/// Runs docs/tour.md from top to bottom.
@Suite("Tour")
struct TourTests {
  /// One command of the tour and what it should print.
  struct Step: Sendable {
    let line: Int
    let command: String
    var expected: [String]
  }

  /// The commands of a page's console blocks, in order.
  static func steps(_ text: String) -> [Step] {
    var steps: [Step] = []
    var inside = false
    for (index, line) in text.components(separatedBy: "\n").enumerated() {
      if line.hasPrefix("```") {
        inside = line == "```console"
      } else if inside, line.hasPrefix("$ ") {
        steps.append(Step(line: index + 1, command: String(line.dropFirst(2)), expected: []))
      } else if inside, !steps.isEmpty {
        steps[steps.count - 1].expected.append(line)
      }
    }
    return steps
  }

  /// Whether output is what the page shows: lines in order, `…` stands for anything, also for whole lines.
  static func matches(_ output: String, _ expected: [String]) -> Bool {
    let pattern = expected.map { line in
      line.components(separatedBy: "…")
        .map { NSRegularExpression.escapedPattern(for: $0).replacing(" ", with: "\\s*") }
        .joined(separator: "[\\s\\S]*?")
    }
    .joined(separator: "\\s*")
    let whole = "^\\s*" + pattern + "\\s*$"
    return output.range(of: whole, options: .regularExpression) != nil
  }

  @Test("the page's commands print what the page shows", .timeLimit(.minutes(5)))
  func tour() async throws {
    let page = try String(contentsOfFile: TestCluster.root + "/docs/tour.md", encoding: .utf8)
    let steps = Self.steps(page)
    #expect(steps.count > 25)
    try await TestCluster.with { cluster in
      for step in steps {
        let command = step.command.replacing("http://127.0.0.1:8080", with: cluster.gateway)
        // One stream, as on a terminal. The cluster is up already when the page begins.
        let result = try await Self.result(of: command, step, cluster)
        let shown = step.expected.filter { $0 != "^C" }.map {
          (command == "apus up" ? $0.replacing("Apus is up.", with: "Apus is already up.") : $0).replacing(
            "http://127.0.0.1:8080", with: cluster.gateway
          ).replacing("https://127.0.0.1:6440", with: cluster.api)
        }
        // What takes over half a second says so; how fast this machine is today is not the page's business.
        let printed = result.all.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasSuffix("…") }
          .joined(separator: "\n")
        #expect(
          Self.matches(printed, shown),
          "docs/tour.md:\(step.line): $ \(command)\nshould print:\n\(shown.joined(separator: "\n"))\nprinted:\n\(result.all)"
        )
      }
    }
  }

  /// What a command prints; one that goes on is given two seconds, and on a busy machine fifteen or forty-five.
  private static func result(
    of command: String, _ step: Step, _ cluster: TestCluster
  ) async throws -> Shell.Result {
    guard step.expected.contains("^C") else { return try await cluster.bash("exec 2>&1\n" + command) }
    var result = Shell.Result(status: 0, output: "", errors: "")
    for seconds in ["2", "15", "45"] {
      // However long the page took until here: a pod that nobody calls is gone after 30 s, and then there is none to see.
      if command.contains(" get ") {
        _ = try await cluster.bash("curl -s -o /dev/null \(cluster.gateway)/function/greet")
      }
      result = try await Shell.run(
        "/usr/bin/timeout", ["--signal=INT", seconds, "/bin/bash", "-c", "exec 2>&1\n" + command], in: cluster.work,
        environment: cluster.environment)
      if matches(result.all, step.expected.filter { $0 != "^C" }) { break }
    }
    return result
  }

  @Test("the reader of the page takes blocks, commands and wildcards as written")
  func reader() {
    let steps = Self.steps("text\n```console\n$ a\nx … z\n$ b\n```\n```sh\n$ c\n```\n")
    #expect(steps.map(\.command) == ["a", "b"])
    #expect(Self.matches("x y z\n", steps[0].expected))
    #expect(!Self.matches("x y\n", steps[0].expected))
    #expect(Self.matches("anything\nat all\nlast", ["…", "last"]))
  }
}
