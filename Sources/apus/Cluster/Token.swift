import ArgumentParser
import ClusterAPI
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

  @Option(name: .customLong("for"), help: "What joins with it: worker or gateway.")
  var member: Member = .worker

  @OptionGroup var server: ServerOptions

  /// Who may join.
  enum Member: String, ExpressibleByArgument, CaseIterable {
    case worker, gateway

    var role: MemberRole { self == .worker ? .node : .gateway }
  }

  func validate() throws {
    guard TimeSpan(ttl) != nil else { throw ValidationError("--ttl: \"\(ttl)\" is not a duration; use 30m or 1h") }
  }

  func run() async throws {
    let cluster = try server.connect()
    let token = try await cluster.tokens.createJoinToken(member.role, life: TimeSpan(ttl) ?? .seconds(3600))
    Terminal.print(token)
    if Terminal.outputIsTerminal {
      let flag = member == .worker ? "join" : "server"
      Terminal.note(
        "Good for \(ttl). Put it into a file on the other machine: apus \(member.rawValue) --\(flag) \(cluster.api) "
          + "--token-file FILE")
    }
  }
}
