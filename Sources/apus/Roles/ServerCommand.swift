import ArgumentParser

/// `apus server`.
struct ServerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "server",
    abstract: "Run the server of a cluster: API, control plane, gateway, log index.",
    discussion: """
      Example:
        apus server --data /var/lib/apus --listen 10.0.0.1 --insecure-http
        apus token create --ttl 1h > token
      """)

  @OptionGroup var role: RoleOptions
  @OptionGroup var listening: ListenOptions
  @OptionGroup var calls: CallOptions
  @OptionGroup var logs: LogKeepOptions
  @Option(help: "The API's port; 0 takes a free one.") var apiPort = 6440
  @Flag(help: "Run no gateway in this process.") var noGateway = false

  @Option(
    help: ArgumentHelp("With --no-gateway: the gateway through which asynchronous calls are run.", valueName: "url"))
  var callsThrough: String?

  @Option(
    help: ArgumentHelp(
      "Mask in log records that others push what these regular expressions match, as apus worker does; off masks "
        + "nothing ($APUS_LOG_MASKS).",
      valueName: "file"))
  var logMasks: String?

  func validate() throws {
    try listening.check()
    try ListenOptions.check(port: apiPort, "--api-port")
    if let callsThrough, !callsThrough.hasPrefix("http://"), !callsThrough.hasPrefix("https://") {
      throw ValidationError("--calls-through: \"\(callsThrough)\" is no URL; use http://HOST:PORT")
    }
  }

  func run() async throws {
    if role.supervised {
      _ = Lifeline.line()
      Lifeline.follow()
    }
    let folder = DataFolder.choose(role.data)
    try await ServerRole(
      folder: folder, listening: listening, calls: calls, logOptions: logs.options, callsThrough: callsThrough,
      apiPort: apiPort, gateway: !noGateway, logMasks: try LogMaskFile.masks(logMasks), ending: role.after,
      logger: role.logger("apus.server")
    ).run()
  }
}
