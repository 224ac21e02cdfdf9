import FoundationEssentials
import Gateway
import Glibc
import HTTPService
import Logging
import NIOSSL
import ServiceLifecycle

/// TLS of the gateway towards callers: from files that may change while it runs, or from the cluster's own authority.
struct GatewayTLS {
  /// How often changed files are looked for.
  static let reloadEvery = Duration.seconds(5)

  /// The certificate chain, PEM.
  let certificate: String
  /// Its private key, PEM.
  let key: String

  /// What the files hold now; throws when they cannot be used.
  func context() throws -> NIOSSLContext {
    do {
      let chain = try NIOSSLCertificate.fromPEMFile(certificate).map { NIOSSLCertificateSource.certificate($0) }
      return try Self.context(chain, .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
    } catch {
      throw Failure(
        "\(certificate) and \(key) cannot be used for TLS: \(error)", next: "Both are PEM files, the chain leaf first.")
    }
  }

  /// A context of a certificate that the cluster's authority issued.
  static func context(_ issued: IssuedCertificate) throws -> NIOSSLContext {
    try context(try PEM.chain(issued.certificate), try PEM.key(issued.key ?? ""))
  }

  private static func context(_ chain: [NIOSSLCertificateSource], _ key: NIOSSLPrivateKeySource) throws
    -> NIOSSLContext
  {
    var tls = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: key)
    tls.minimumTLSVersion = .tlsv12
    tls.applicationProtocols = ["h2", "http/1.1"]
    return try NIOSSLContext(configuration: tls)
  }

  /// Gives a gateway the files' new content whenever they changed; files that cannot be used are told and passed over.
  func reloading(_ front: GatewayServer, logger: Logger) -> any Service {
    RunningService("tls-reload") {
      await cancelWhenGracefulShutdown {
        var seen = stamp()
        while !Task.isCancelled {
          do { try await Task.sleep(for: Self.reloadEvery) } catch { return }
          let now = stamp()
          guard now != seen else { continue }
          seen = now
          do {
            front.use(serverTLS: try context())
            logger.notice("gateway certificate reloaded", metadata: ["file": "\(certificate)"])
          } catch {
            logger.error("changed certificate not used, the one before stays", metadata: ["error": "\(error)"])
          }
        }
      }
    }
  }

  /// Tells one state of the files from another.
  private func stamp() -> [Int] {
    [certificate, key].flatMap { path -> [Int] in
      var information = stat()
      guard stat(path, &information) == 0 else { return [] }
      return [
        information.st_mtim.tv_sec, information.st_mtim.tv_nsec, Int(information.st_size), Int(information.st_ino),
      ]
    }
  }
}
