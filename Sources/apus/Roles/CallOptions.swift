import ArgumentParser
import ClusterClient
import ClusterModel
import ControlPlane
import Gateway
import Synchronization

/// How a server treats asynchronous calls.
struct CallOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Let callbacks of asynchronous calls go to this range of addresses too, such as 10.0.0.0/8; may be repeated.",
      valueName: "cidr"))
  var callbackAllow: [String] = []
  @Option(help: ArgumentHelp("How long results of asynchronous calls are kept.", valueName: "span"))
  var callResults = Limits.asyncResultTime.description

  /// Longest time results may be kept, milliseconds: 30 days.
  private static let longest: Int64 = 30 * 86_400_000

  func validate() throws {
    for text in callbackAllow where AddressRange(text) == nil {
      throw ValidationError("--callback-allow: \"\(text)\" is no range of addresses; use 10.0.0.0/8 or fd00::/8")
    }
    guard let span = TimeSpan(callResults), (1000...Self.longest).contains(span.milliseconds) else {
      throw ValidationError("--call-results: \"\(callResults)\" is no duration from 1s to 30d; use 1h")
    }
  }

  /// The options of the service.
  var options: CallService.Options {
    CallService.Options(
      resultTime: TimeSpan(callResults)?.milliseconds ?? Limits.asyncResultTime.milliseconds,
      callbacks: CallbackRules(allowed: callbackAllow.compactMap { AddressRange($0) }))
  }

  /// The flags that hand these options on.
  var flags: [String] { callbackAllow.flatMap { ["--callback-allow", $0] } + ["--call-results", callResults] }
}

/// Where the server's asynchronous calls are run: its own gateway, once that takes requests, or one that was named.
final class CallGateway: Sendable {
  private let front = Mutex<GatewayServer?>(nil)
  private let named: String?
  /// The socket on which the server's own gateway takes them.
  private let socket: String?

  init(named: String?, socket: String?) {
    self.named = named
    self.socket = socket
  }

  /// Names the server's own gateway.
  func use(_ gateway: GatewayServer?) { front.withLock { $0 = gateway } }

  /// The URL; nil while no gateway takes requests.
  var url: String? {
    if let named { return named }
    guard let socket, let front = front.withLock({ $0 }), front.ready else { return nil }
    return "http+unix://" + Self.escaped(socket)
  }

  /// A path as the host of a URL.
  static func escaped(_ path: String) -> String {
    path.utf8.map { byte in
      let isPlain = (48...57).contains(byte) || (97...122).contains(byte) || (65...90).contains(byte) || byte == 46
      return isPlain ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16).uppercased()
    }.joined()
  }
}
