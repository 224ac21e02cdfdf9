import ArgumentParser
import ClusterModel

/// `apus gateway`: a gateway alone, following the routes of a server.
struct GatewayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gateway",
    abstract: "Run a gateway alone, on the routes of a server.",
    discussion: """
      Example:
        apus token create --for gateway > token          # on the server
        apus gateway --server https://10.0.0.1:6440 --token-file token --name edge-1

      To upgrade, replace the program and run the same command with --take-over: the new process gets the listening
      sockets, the old one finishes its calls and ends. `kill -USR2` of the old one does the same.
      """)

  /// Longest time calls may have to end, milliseconds: one day.
  private static let longestDrain: Int64 = 86_400_000

  @OptionGroup var role: RoleOptions
  @OptionGroup var listening: ListenOptions
  @Option(help: ArgumentHelp("The server's API.", valueName: "url")) var server: String
  @Option(help: ArgumentHelp("A file with a join token for a gateway; not needed once joined.", valueName: "file"))
  var tokenFile: String?
  @Option(help: "The gateway's name, unique in the cluster.") var name = "gateway-1"
  @Flag(
    help: "Replace the gateway that runs under this --data and --name without losing a call; if none runs, just start.")
  var takeOver = false
  @Option(
    help: ArgumentHelp(
      "How long calls and connections may take to end when this gateway stops or is replaced.", valueName: "span"))
  var drain = "30s"

  func validate() throws {
    if let problem = Schema.Rule.dnsLabel.check(name) { throw ValidationError("--name: \(problem)") }
    if listening.tls {
      throw ValidationError("--tls: only the server's own gateway gets its certificate there; use --tls-certificate")
    }
    try listening.check()
    guard let span = TimeSpan(drain), (1000...Self.longestDrain).contains(span.milliseconds) else {
      throw ValidationError("--drain: \"\(drain)\" is no duration from 1s to 24h; use 30s")
    }
  }

  func run() async throws {
    try await GatewayRole(
      folder: DataFolder.choose(role.data), listening: listening, server: server,
      token: try tokenFile.map(FileReader.secretLine), name: name, takesOver: takeOver,
      drainSeconds: (TimeSpan(drain)?.milliseconds ?? 30_000) / 1000, logger: role.logger("apus.gateway")
    ).run()
  }
}
