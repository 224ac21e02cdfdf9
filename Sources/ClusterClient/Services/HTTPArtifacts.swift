internal import AsyncHTTPClient
package import ClusterAPI
internal import Foundation
internal import ClusterModel
internal import NIOCore
internal import NIOHTTP1

/// The server's store of function packages, over HTTP; both ways streamed.
package struct HTTPArtifacts: Artifacts {
  /// How long the server may take to check and store a package after its last byte.
  static let patience = Duration.seconds(300)

  private let client: APIClient

  /// The packages of the server behind a client.
  package init(client: APIClient) { self.client = client }

  /// Whether the package is there.
  package func has(namespace: String, digest: String) async throws(APIStatus) -> Bool {
    do throws(APIStatus) {
      _ = try await client.send(
        APIRequest(method: .HEAD, path: Self.path(namespace, digest), idempotent: true))
      return true
    } catch {
      if error.code == 404 { return false }
      throw error
    }
  }

  /// Stores a package.
  package func put(
    namespace: String, digest: String, size: Int64?, chunks: AsyncThrowingStream<[UInt8], any Error>
  ) async throws(APIStatus) {
    let body = HTTPClientRequest.Body.stream(
      chunks.map { ByteBuffer(bytes: $0) }, length: size.map { .known($0) } ?? .unknown)
    _ = try await client.bytes(
      APIRequest(
        method: .PUT, path: Self.path(namespace, digest), headers: [("content-type", "application/gzip")],
        body: .stream(body), idempotent: false, patience: Self.patience))
  }

  /// The package's bytes.
  package func get(
    namespace: String, digest: String
  ) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    let response = try await client.send(.get(Self.path(namespace, digest)))
    let chunks = ResponseChunks(response.body, server: client.endpoint.url)
    return AsyncThrowingStream { try await chunks.next() }
  }

  private static func path(_ namespace: String, _ digest: String) -> String {
    "/apis/apus.dev/v1/namespaces/\(APIRequest.escape(namespace))/artifacts/\(APIRequest.escape(digest))"
  }
}

/// What a pod's secrets hold, over HTTP; the client must carry the certificate of the pod's node.
package struct HTTPPodSecrets: PodSecrets {
  private let client: APIClient

  /// The secrets of the server behind a client.
  package init(client: APIClient) { self.client = client }

  /// The secrets of a pod; `node` is known to the server from the certificate.
  package func secrets(ofPod uid: String, node: String) async throws(APIStatus) -> [String: [String: [UInt8]]] {
    let answer = try await client.json(.get("/internal/v1/pods/\(APIRequest.escape(uid))/secrets"))
    do {
      let encoded = try answer.decoded(as: [String: [String: String]].self)
      return encoded.mapValues { $0.mapValues { Array(Data(base64Encoded: $0) ?? Data()) } }
    } catch {
      throw .internalError("the server's answer with a pod's secrets has an unknown form")
    }
  }
}
