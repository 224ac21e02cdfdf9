import ArgumentParser
import Logging

/// What every role takes.
struct RoleOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The data folder ($APUS_DATA; default /var/lib/apus for root).", valueName: "folder"))
  var data: String?

  @Option(
    help: ArgumentHelp("trace, debug, info, notice, warning or error.", valueName: "level"),
    transform: { text in
      guard let level = Logger.Level(rawValue: text) else {
        throw ValidationError("--log-level: \"\(text)\" is none; use trace, debug, info, notice, warning or error")
      }
      return level
    })
  var logLevel: Logger.Level = .notice

  @Flag(help: .hidden) var supervised = false
  /// How this process ended before its supervisor started it again: `was killed by signal 9`.
  @Option(help: .hidden) var after: String?

  /// A logger of a label at the wanted level, on standard error.
  func logger(_ label: String) -> Logger {
    var logger = Logger(label: label, factory: { StreamLogHandler.standardError(label: $0) })
    logger.logLevel = logLevel
    return logger
  }
}

/// Where the server and the gateway listen.
struct ListenOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The address to listen on.", valueName: "host")) var listen = "127.0.0.1"
  @Option(help: "The gateway's port; 0 takes a free one.") var gatewayPort = 8080
  @Option(help: "The port of the gateway's /metrics and /readyz; 0 takes a free one.") var adminPort = 8082
  @Flag(help: "Listen beyond loopback without TLS; then only functions with spec.auth or spec.public answer.")
  var insecureHTTP = false

  @Flag(help: "Serve functions over HTTPS, with a certificate of the cluster's own authority.") var tls = false
  @Option(help: ArgumentHelp("Serve functions over HTTPS with this certificate chain (PEM).", valueName: "file"))
  var tlsCertificate: String?
  @Option(help: ArgumentHelp("The key of --tls-certificate (PEM).", valueName: "file")) var tlsKey: String?

  /// Refuses to listen beyond this machine in plain text unless that was asked for.
  func check() throws {
    try Self.check(port: gatewayPort, "--gateway-port")
    try Self.check(port: adminPort, "--admin-port")
    if (tlsCertificate == nil) != (tlsKey == nil) {
      throw ValidationError("--tls-certificate and --tls-key go together")
    }
    if !insecureHTTP, !servesTLS, !Self.isLoopback(listen) {
      throw ValidationError(
        "--listen \(listen): the gateway would take requests from other machines in plain text. Add --tls, or "
          + "--insecure-http if that is what you want; either way only functions with `auth: token` or `public: true` answer"
      )
    }
  }

  /// Refuses what is no port.
  static func check(port: Int, _ flag: String) throws {
    guard (0...65_535).contains(port) else {
      throw ValidationError("\(flag): \(port) is no port; use 1 to 65535, or 0 for a free one")
    }
  }

  /// Whether callers use HTTPS.
  var servesTLS: Bool { tls || tlsCertificate != nil }

  /// The files of the certificate, when there are.
  var tlsFiles: GatewayTLS? {
    guard let tlsCertificate, let tlsKey else { return nil }
    return GatewayTLS(certificate: tlsCertificate, key: tlsKey)
  }

  /// Whether only functions marked public answer everybody: TLS hides a call from others, it does not say whose it is.
  var publicOnly: Bool { !Self.isLoopback(listen) }

  /// Where figures are served: on this machine only.
  var adminHost: String { Self.isLoopback(listen) ? listen : "127.0.0.1" }

  /// Whether an address is this machine's own.
  static func isLoopback(_ host: String) -> Bool {
    host == "localhost" || host == "::1" || host.hasPrefix("127.")
  }

  /// The flags that hand these options on.
  var flags: [String] {
    ["--listen", listen, "--gateway-port", "\(gatewayPort)", "--admin-port", "\(adminPort)"]
      + (insecureHTTP ? ["--insecure-http"] : []) + (tls ? ["--tls"] : [])
      + (tlsCertificate.map { ["--tls-certificate", $0] } ?? []) + (tlsKey.map { ["--tls-key", $0] } ?? [])
  }
}
