import ArgumentParser
import ClusterAPI
import ClusterModel
import ControlPlane
import Crypto
import Foundation
import NIOHTTP1
import NIOHTTP1
import NIOSSL

/// `apus login URL --token-file FILE`.
struct Login: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Use another machine's cluster: write a kubeconfig for it.",
    discussion: """
      The token is the one in the server's own kubeconfig (users[0].user.token); it is read from a file or from standard
      input (-), never from the command line. The server proves itself by its authority's fingerprint: without
      --fingerprint it is shown and nothing is written.

      Example:
        ssh server apus login --show-fingerprint
        apus login https://10.0.0.1:6440 --token-file token --fingerprint sha256:5c1e…
      """)

  @Argument(help: ArgumentHelp("The server's API: https://HOST:PORT.", valueName: "url"))
  var url: String?

  @Option(help: ArgumentHelp("A file with the token; - for standard input.", valueName: "file"))
  var tokenFile: String?

  @Option(help: ArgumentHelp("The fingerprint of the server's authority.", valueName: "sha256:hex"))
  var fingerprint: String?

  @Option(help: ArgumentHelp("The gateway's URL (default http://HOST:8080).", valueName: "url"))
  var gateway: String?

  @Flag(help: "Show the fingerprint of this machine's own cluster.")
  var showFingerprint = false

  @Flag(help: "Replace a kubeconfig that is there already.")
  var force = false

  @OptionGroup var server: ServerOptions

  func validate() throws {
    if showFingerprint { return }
    guard let url, url.hasPrefix("https://") else { throw ValidationError("give the server's URL: https://HOST:PORT") }
    if tokenFile == nil { throw ValidationError("--token-file FILE is missing; - reads standard input") }
  }

  func run() async throws {
    let path = server.kubeconfigPath
    if showFingerprint {
      guard let own = try Kubeconfig.read(from: path) else { throw Failure("there is no kubeconfig at \(path)") }
      return Terminal.print(try Login.fingerprint(ofPEM: own.authority))
    }
    var url = url ?? ""
    while url.hasSuffix("/") { url.removeLast() }
    if !force, FileManager.default.fileExists(atPath: path) {
      throw Failure("\(path) is there already", next: "--force replaces it; --kubeconfig FILE writes another.")
    }
    let token = try Login.token(from: tokenFile ?? "-")
    let pem = String(
      decoding: try await DirectRequest(server: url, trust: .anyone, token: nil).send(.GET, "/internal/v1/ca"),
      as: UTF8.self)
    let found = try Login.fingerprint(ofPEM: pem)
    guard let fingerprint else {
      throw Failure(
        "the authority of \(url) has the fingerprint \(found); nothing was written",
        next: "Compare it with `apus login --show-fingerprint` on the server, then add --fingerprint \(found).")
    }
    guard fingerprint.lowercased() == found else {
      throw Failure(
        "the authority of \(url) has the fingerprint \(found), not \(fingerprint)", next: "It may be another server.")
    }
    let host = URL(string: url)?.host() ?? "127.0.0.1"
    let kubeconfig = Kubeconfig(
      server: url, authority: pem, token: token, gateway: gateway ?? "http://\(host):8080")
    // The credential is tried before it replaces anything.
    _ = try await ClusterConnection(kubeconfig).resources.list(.namespace, namespace: nil, options: ListOptions())
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
      attributes: [.posixPermissions: 0o700])
    try kubeconfig.write(to: path)
    Terminal.print("logged in  \(url)   kubeconfig: \(path)")
  }

  /// The token in a file or on standard input.
  private static func token(from file: String) throws(Failure) -> String {
    let token = try FileReader.secretLine(file)
    if token.hasPrefix("apus1.") {
      throw Failure(
        "\(file) holds a join token, with which only workers join",
        next: "Use the token of the server's kubeconfig (users[0].user.token).")
    }
    return token
  }

  /// `sha256:` and the hex digest of the certificate's DER bytes, as `openssl x509 -fingerprint -sha256` has it.
  static func fingerprint(ofPEM pem: String) throws(Failure) -> String {
    guard let certificate = try? NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)).first,
      let bytes = try? certificate.toDERBytes()
    else { throw Failure("the server's authority is no certificate") }
    return "sha256:"
      + SHA256.hash(data: bytes).map { byte in
        let hex = String(byte, radix: 16)
        return hex.count == 1 ? "0" + hex : hex
      }.joined()
  }
}
