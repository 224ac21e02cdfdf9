import ArgumentParser
import Glibc

/// The command `apus`: every verb, and every role of a cluster.
@main
struct Apus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apus",
    abstract: "Serverless functions on your own machines: from a folder to an HTTP answer.",
    discussion: """
      Example:
        apus up
        apus new greet --runtime python
        apus deploy greet
        apus invoke greet -d Ada
        apus logs greet
      """,
    version: Version.current,
    groupedSubcommands: [
      CommandGroup(
        name: "A cluster",
        subcommands: [
          UpCommand.self, DownCommand.self, Status.self, Doctor.self, ServerCommand.self, WorkerCommand.self,
          GatewayCommand.self, SuperviseCommand.self,
        ]),
      CommandGroup(
        name: "Functions",
        subcommands: [
          New.self, Deploy.self, Invoke.self, Scale.self, Rollback.self, Delete.self,
        ]),
      CommandGroup(name: "Looking", subcommands: [Get.self, Describe.self, Logs.self, CallsCommand.self]),
      CommandGroup(
        name: "Nodes and access",
        subcommands: [
          Cordon.self, Uncordon.self, Drain.self, SecretCommand.self, Token.self, Login.self,
        ]),
      CommandGroup(name: "This tool", subcommands: [VersionCommand.self, Completion.self]),
    ])

  static func main() async {
    // A reader that goes away (`apus logs | head`) is a failed write, not a signal.
    signal(SIGPIPE, SIG_IGN)
    let arguments = Array(CommandLine.arguments.dropFirst())
    do {
      var command = try await asyncParseAsRoot(arguments)
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch {
      let ending = Ending.of(error, root: Self.self, arguments: arguments)
      if !ending.text.isEmpty { ending.toOutput ? Terminal.print(ending.text) : Terminal.note(ending.text) }
      Glibc.exit(ending.status)
    }
  }
}
