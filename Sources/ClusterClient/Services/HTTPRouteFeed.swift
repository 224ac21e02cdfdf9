package import ClusterAPI
internal import ClusterModel
internal import Foundation
internal import NIOHTTP1

/// The control plane's routes, over HTTP.
package struct HTTPRouteFeed: RouteFeed {
  /// Bytes of one update at most; a snapshot holds every function and pod.
  static let updateBytesMax = 256 << 20

  private let client: APIClient

  /// The routes of the server behind a client.
  package init(client: APIClient) { self.client = client }

  /// Follows the routes; the stream ends when the connection does, and the caller subscribes again.
  package func subscribe(gateway: String) async throws(APIStatus) -> AsyncStream<RouteUpdate> {
    let request = APIRequest.get("/internal/v1/routes", query: [("gateway", gateway)])
    let (_, lines) = try await client.lines(request, bound: Self.updateBytesMax)
    return AsyncStream {
      // A line that cannot be read ends the stream like a broken connection: the next snapshot repairs both.
      guard let line = try? await lines.next() else { return nil }
      return try? JSONDecoder().decode(RouteUpdate.self, from: Data(line))
    }
  }
}

/// What a gateway asks of the control plane, over HTTP.
package struct HTTPActivation: Activation {
  /// How long an answer may take: a caller waits behind it.
  static let patience = Duration.seconds(5)

  private let client: APIClient

  /// Activation at the server behind a client.
  package init(client: APIClient) { self.client = client }

  /// Asks for pods of a function.
  package func want(_ want: PodsWanted) async throws(APIStatus) {
    try await post("/internal/v1/activation/want", want)
  }

  /// Gives a pod up.
  package func podIdle(uid: String, gateway: String, why: PodRelease) async throws(APIStatus) {
    try await post("/internal/v1/activation/idle", ["uid": uid, "gateway": gateway, "why": why.rawValue])
  }

  private func post(_ path: String, _ body: some Encodable) async throws(APIStatus) {
    var request = try APIRequest.encoding(body, path)
    request.patience = Self.patience
    _ = try await client.bytes(request)
  }
}

/// Takes gateways' reports, over HTTP. A report that does not arrive is lost: the next one is a second away.
package struct HTTPUsageSink: UsageSink {
  private let client: APIClient

  /// Reports to the server behind a client.
  package init(client: APIClient) { self.client = client }

  /// Adds what a gateway saw.
  package func report(_ usage: [FunctionUsage], gateway: String) async {
    guard var request = try? APIRequest.encoding(UsageReport(gateway: gateway, usage: usage), "/internal/v1/usage")
    else {
      return
    }
    request.idempotent = false
    _ = try? await client.bytes(request)
  }

  private struct UsageReport: Encodable {
    let gateway: String
    let usage: [FunctionUsage]
  }
}

extension APIRequest {
  /// An idempotent POST of an encodable value.
  static func encoding(_ value: some Encodable, _ path: String) throws(APIStatus) -> APIRequest {
    do {
      return .json(.POST, path, try JSONValue(encoding: value), idempotent: true)
    } catch {
      throw .internalError("a request to \(path) cannot be encoded: \(error)")
    }
  }
}
