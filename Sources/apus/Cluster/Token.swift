import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus token create|list|revoke`.
struct Token: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tokens with which functions are called, and with which other machines join.",
    discussion: """
      Example:
        apus token create --function greet --expires 30d > token
        curl -H "Authorization: Bearer $(cat token)" http://127.0.0.1:8080/function/greet
        apus token list
        apus token revoke 5c1e0a7b9d3f2468
        apus token create --ttl 1h > token
        apus worker --name worker-3 --join https://10.0.0.1:6440 --token-file token     # on the other machine
      """,
    subcommands: [TokenCreate.self, TokenList.self, TokenRevoke.self])
}

/// `apus token create`.
struct TokenCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a token and print it; it is shown this once.",
    discussion: """
      With --function or --namespace it is one for calling functions whose spec says `auth: token`, and without
      --expires it is good until it is revoked. Else it is one with which a worker or a gateway joins.

      Example:
        apus token create --function greet --expires 30d > token
        apus token create --namespace staging > token       # every function there
        apus token create --ttl 1h > token                  # a worker joins with it
      """)

  @Option(help: ArgumentHelp("Calls of this function.", valueName: "name"))
  var function: String?

  @OptionGroup var namespace: NamespaceOption

  @Option(
    name: [.customLong("expires"), .customLong("ttl")],
    help: ArgumentHelp("How long it may be used (1s to 30d, for calls to 3650d); to join, 1h.", valueName: "span"))
  var life: String?

  @Option(name: .customLong("for"), help: "What joins with it: worker (the default) or gateway.")
  var member: Member?

  @OptionGroup var server: ServerOptions

  /// Who may join.
  enum Member: String, ExpressibleByArgument, CaseIterable {
    case worker, gateway

    var role: MemberRole { self == .worker ? .node : .gateway }
  }

  /// Whether it is for calls.
  private var isForCalls: Bool { function != nil || namespace.namespace != nil }

  func validate() throws {
    if let life, TimeSpan(life) == nil {
      throw ValidationError("--expires: \"\(life)\" is not a duration; use 30m, 1h or 30d")
    }
    if isForCalls, member != nil {
      throw ValidationError("--for is for tokens to join with; leave it out with --function or --namespace")
    }
  }

  func run() async throws {
    let cluster = try server.connect()
    guard isForCalls else { return try await join(cluster) }
    let scope = namespace.namespace ?? cluster.namespace
    if let function { _ = try await cluster.function(function, in: scope) }
    let token = try await cluster.tokens.createInvokeToken(
      namespace: scope, function: function, life: life.flatMap(TimeSpan.init(_:)))
    Terminal.print(token)
    guard Terminal.outputIsTerminal else { return }
    let good = life.map { "for \($0)" } ?? "until `apus token revoke` ends it"
    Terminal.note("Good \(good), as Authorization: Bearer TOKEN. It is asked for where a spec says `auth: token`.")
  }

  private func join(_ cluster: ClusterConnection) async throws {
    let life = life ?? "1h"
    let member = member ?? .worker
    let token = try await cluster.tokens.createJoinToken(member.role, life: TimeSpan(life) ?? .seconds(3600))
    Terminal.print(token)
    if Terminal.outputIsTerminal {
      let flag = member == .worker ? "join" : "server"
      Terminal.note(
        "Good for \(life). Put it into a file on the other machine: apus \(member.rawValue) --\(flag) \(cluster.api) "
          + "--token-file FILE")
    }
  }
}

/// `apus token list`.
struct TokenList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List tokens: what each is for and when it ends, never the token itself.",
    discussion: "Example:\n  apus token list")

  @Option(name: .shortAndLong, help: "table, json or yaml.") var output: OutputFormat = .table
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let tokens = try await server.connect().tokens.tokens()
    guard !output.structured else {
      return Terminal.emit(output.text(of: JSONText.list(try tokens.map { try JSONValue(encoding: $0) })))
    }
    Terminal.emit(TokenList.table(tokens, now: .now()).text(wide: output == .wide))
  }

  /// Tokens as a table.
  static func table(_ tokens: [TokenSummary], now: Timestamp) -> TextTable {
    TextTable(
      columns: ["ID", "ROLE", "FOR", "AGE", "EXPIRES"].map { TextTable.Column($0) },
      rows: tokens.map { token in
        let ends = token.expires.map { $0 <= now ? "expired" : "in \(Figures.age(from: now, to: $0))" } ?? "never"
        return [token.id, token.role, token.scope, Figures.age(from: token.created, to: now), ends]
      })
  }
}

/// `apus token revoke ID`.
struct TokenRevoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "revoke", abstract: "End a token; gateways refuse it at once.",
    discussion: "Example:\n  apus token revoke 5c1e0a7b9d3f2468")

  @Argument(help: ArgumentHelp("The token's id: the part between its two dots.", valueName: "id")) var id: String
  @OptionGroup var server: ServerOptions

  func validate() throws {
    // A token on a command line stands in the shell's history.
    guard !id.contains(".") else {
      throw ValidationError("give the id alone, not the token; `apus token list` shows it")
    }
    guard !id.isEmpty, id.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
      throw ValidationError("\"\(id)\" is no token's id; `apus token list` shows them")
    }
  }

  func run() async throws {
    try await server.connect().tokens.revokeToken(id)
    Terminal.print("revoked \(id)")
  }
}
