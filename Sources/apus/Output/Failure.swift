import ArgumentParser
import ClusterAPI
import ClusterModel

/// Why a command failed: a sentence, what to do next, and the exit status (1 failed, 2 wrong usage).
struct Failure: Error, Hashable, CustomStringConvertible {
  /// What is wrong, as one sentence without `error:`.
  let message: String
  /// What to do next, as one sentence; nil when the message says it.
  let next: String?
  /// 1 when the command failed, 2 when it was used wrongly.
  let status: Int32

  /// A failed command.
  init(_ message: String, next: String? = nil, status: Int32 = Failure.failed) {
    self.message = message
    self.next = next
    self.status = status
  }

  /// The exit status of a command that was understood and failed.
  static let failed: Int32 = 1
  /// The exit status of a command that was used wrongly.
  static let usage: Int32 = 2

  /// A command that was used wrongly.
  static func usage(_ message: String, next: String? = nil) -> Failure {
    Failure(message, next: next, status: Failure.usage)
  }

  /// What is written to standard error, without a last newline.
  var description: String { next.map { "error: \(message)\n\($0)" } ?? "error: \(message)" }
}

extension Failure {
  /// The failure that any error stands for; the server's faults come one a line.
  init(_ error: any Error) {
    switch error {
    case let failure as Failure: self = failure
    case let status as APIStatus: self.init(status)
    case let faults as Faults: self.init(faults.all.map(\.description).joined(separator: "\n"))
    case is CancellationError: self.init("interrupted")
    default: self.init(String(describing: error))
    }
  }

  private init(_ status: APIStatus) {
    let causes = status.details?.causes ?? []
    var message = status.message
    if causes.count > 1 {
      let head = message.prefix { $0 != ":" }
      message = ([head + ":"] + causes.map { "  \($0.field ?? ""): \($0.message)" }).joined(separator: "\n")
    }
    let next: String? =
      switch status.code {
      case 401:
        "The credential was refused; use the kubeconfig that `apus up` wrote, or `apus login URL --token-file FILE`."
      case 403: "This credential may not do that."
      case 410: "Ask again; the place to go on from is no longer kept."
      case 503: "`apus status` shows what is running."
      case 507: "Free disk space on the server; `apus doctor` shows how much is left."
      default: nil
      }
    self.init(message, next: next)
  }
}

/// How a command line that could not be read, or a command that failed, ends.
struct Ending: Hashable {
  /// The text for the stream.
  let text: String
  /// The exit status.
  let status: Int32
  /// Whether the text goes to standard output (help was asked for).
  let toOutput: Bool
}

extension Ending {
  /// What an error thrown by parsing or running a command prints, and the exit status it gives.
  static func of(_ error: any Error, root: any ParsableCommand.Type, arguments: [String]) -> Ending {
    let code = root.exitCode(for: error)
    if code == .success { return Ending(text: root.fullMessage(for: error), status: 0, toOutput: true) }
    if let exit = error as? ExitCode { return Ending(text: "", status: exit.rawValue, toOutput: false) }
    guard code == .validationFailure else {
      let failure = Failure(error)
      return Ending(text: failure.description, status: failure.status, toOutput: false)
    }
    if let unknown = unknownCommand(in: arguments, root: root) {
      return Ending(text: unknown.description, status: unknown.status, toOutput: false)
    }
    let full = root.fullMessage(for: error)
    let lower = full.hasPrefix("Error: ") ? "error: " + full.dropFirst(7) : full
    return Ending(text: lower, status: Failure.usage, toOutput: false)
  }

  /// The failure for a first word that is no command, with the nearest one.
  static func unknownCommand(in arguments: [String], root: any ParsableCommand.Type) -> Failure? {
    guard let word = arguments.first, !word.hasPrefix("-") else { return nil }
    let all =
      root.configuration.subcommands.map(name(of:))
      + root.configuration.groupedSubcommands.flatMap {
        $0.subcommands.map(name(of:))
      }
    guard !all.contains(word), word != "help" else { return nil }
    let near = Suggestion.nearest(to: word, in: all).map { " Did you mean `apus \($0)`?" } ?? ""
    return .usage("no such command: \(word).\(near)", next: "`apus --help` lists the commands.")
  }

  private static func name(of command: any ParsableCommand.Type) -> String {
    command.configuration.commandName ?? String(describing: command).lowercased()
  }
}
