import ArgumentParser
import ClusterModel
import Glibc
import PodSandbox

/// `apus doctor`.
struct Doctor: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Look at this machine: what apus needs, what was found, and what to do about the rest.",
    discussion: """
      The exit status is 1 when something is missing without which no function runs.

      Example:
        apus doctor
        apus doctor -o json | jq '.[] | select(.level != "ok")'
      """)

  @Option(name: .shortAndLong, help: "table, json or yaml.") var output: OutputFormat = .table
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let checks = try await Progress.during("looking at this machine") { _ in
      await HostCapabilities.probe().findings.map(DoctorCheck.init) + DoctorChecks(folder: server.folder).all()
    }
    if output.structured {
      Terminal.emit(output.text(of: .array(checks.map(\.document))))
    } else {
      Terminal.emit(DoctorCheck.text(checks))
    }
    if checks.contains(where: { $0.level == .missing }) { throw ExitCode(Failure.failed) }
  }
}

/// One thing that was looked at.
struct DoctorCheck: Hashable {
  /// How it stands.
  enum Level: String, Hashable {
    case ok
    /// Functions run, with less.
    case less
    /// No function runs.
    case missing
  }

  /// What it is, in one or two words.
  let subject: String
  /// How it stands.
  let level: Level
  /// What was found.
  let found: String
  /// What to do; empty when nothing.
  let advice: String

  /// A check.
  init(_ subject: String, _ level: Level, _ found: String, advice: String = "") {
    self.subject = subject
    self.level = level
    self.found = found
    self.advice = advice
  }

  /// A finding of the sandbox.
  init(_ finding: HostCapabilities.Finding) {
    let level: Level =
      switch finding.level {
      case .good: .ok
      case .degraded: .less
      case .missing: .missing
      }
    self.init(finding.subject, level, finding.line, advice: finding.advice)
  }

  /// The check for programs.
  var document: JSONValue {
    .object([
      "subject": .string(subject), "level": .string(level.rawValue), "found": .string(found), "advice": .string(advice),
    ])
  }

  /// All checks for people: a table, what to do about each that is not well, and a last word.
  static func text(_ checks: [DoctorCheck]) -> String {
    let marks: [Level: String] = [.ok: "✓", .less: "!", .missing: "✗"]
    let width = (checks.map { Text.columns(of: $0.subject) }.max() ?? 0) + 2
    var lines: [String] = []
    for check in checks {
      lines.append("\(marks[check.level] ?? "?") \(Text.pad(check.subject, width))\(Text.visible(check.found))")
      if !check.advice.isEmpty { lines.append(String(repeating: " ", count: width + 2) + "→ \(check.advice)") }
    }
    let missing = checks.filter { $0.level == .missing }.map(\.subject)
    let less = checks.filter { $0.level == .less }.map(\.subject)
    lines.append("")
    if missing.isEmpty {
      lines.append(
        less.isEmpty
          ? "Everything is there." : "Functions run here; less than it could be: \(less.joined(separator: ", ")).")
    } else {
      lines.append("Functions cannot run here yet: \(missing.joined(separator: ", ")).")
    }
    return lines.map { $0 + "\n" }.joined()
  }
}
