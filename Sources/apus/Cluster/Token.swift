import ArgumentParser
import ClusterModel

/// `apus token create`.
struct Token: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make tokens with which workers on other machines join.",
    discussion: """
      Example:
        apus token create --ttl 1h > token
        apus worker --name worker-3 --join https://10.0.0.1:6440 --token-file token     # on the other machine
      """,
    subcommands: [TokenCreate.self])
}

/// `apus token create`.
struct TokenCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a join token and print it; it is shown this once.",
    discussion: "Example:\n  apus token create --ttl 1h > token")

  @Option(help: ArgumentHelp("How long it may be used (1s to 30d).", valueName: "span"))
  var ttl: String = "1h"

  @OptionGroup var server: ServerOptions

  func validate() throws {
    guard TimeSpan(ttl) != nil else { throw ValidationError("--ttl: \"\(ttl)\" is not a duration; use 30m or 1h") }
  }

  func run() async throws {
    let cluster = try server.connect()
    let token = try await cluster.tokens.createJoinToken(life: TimeSpan(ttl) ?? .seconds(3600))
    Terminal.print(token)
    if Terminal.outputIsTerminal {
      Terminal.note(
        "Good for \(ttl). Put it into a file on the other machine: apus worker --join \(cluster.api) --token-file FILE")
    }
  }
}
