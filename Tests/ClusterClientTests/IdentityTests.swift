import ClusterAPI
import ClusterModel
import ClusterTestSupport
import ControlPlane
import Foundation
import HTTPService
import NIOHTTP1
import Synchronization
import Testing

@testable import ClusterClient

/// Who may do what, joining, renewal.
@Suite("Identity through HTTP") struct IdentityTests {
  @Test(arguments: [
    APICredential.none, .token("apus-admin.0011.nope"), .token("rubbish"), .token("apus1.x.0011.nope"),
  ])
  func `no token and a wrong token are 401`(_ credential: APICredential) async throws {
    try await World.run { world in
      let resources = HTTPResourceService(client: try world.client(credential))
      let error = await #expect(throws: APIStatus.self) {
        _ = try await resources.list(.pod, namespace: nil, options: ListOptions())
      }
      #expect(error?.code == 401)
    }
  }

  @Test func `a certificate of another authority ends the handshake`() async throws {
    try await World.run { world in
      let other = try CertificateAuthority(folder: world.folder.path + "/other", now: .now())
      let issued = try other.client(.admin, hours: 1, now: .now())
      let client = try world.client(.certificate(chain: issued.certificate, key: issued.key ?? ""))
      let error = await #expect(throws: APIStatus.self) {
        _ = try await HTTPResourceService(client: client).list(.pod, namespace: nil, options: ListOptions())
      }
      #expect(error.map { [502, 503].contains($0.code) } == true)
    }
  }

  @Test func `a server of another authority is not trusted`() async throws {
    try await World.run { world in
      let other = try CertificateAuthority(folder: world.folder.path + "/other", now: .now())
      let client = try APIClient(
        endpoint: APIEndpoint(url: world.url, authority: other.pem), credential: .token(world.adminToken), retry: .never
      )
      let error = await #expect(throws: APIStatus.self) {
        _ = try await HTTPResourceService(client: client).list(.pod, namespace: nil, options: ListOptions())
      }
      #expect(error?.reason == "Untrusted")
      await client.shutdown()
    }
  }

  @Test func `a node may not read resources, logs or foreign packages`() async throws {
    try await World.run { world in
      let client = try world.node("worker-1")
      let attempts: [@Sendable () async throws -> Void] = [
        { _ = try await HTTPResourceService(client: client).list(.secret, namespace: nil, options: ListOptions()) },
        { _ = try await HTTPResourceService(client: client).get(.pod, namespace: "default", name: "p") },
        { for try await _ in try await HTTPLogQueries(client: client).query(LogRequest(namespaces: nil)) {} },
        { _ = try await HTTPArtifacts(client: client).get(namespace: "default", digest: FakeArtifacts.digest([1])) },
        { _ = try await HTTPLogSink(client: client).append(source: "worker-2/a", firstSequence: 1, lines: []) },
        { _ = try await HTTPRouteFeed(client: client).subscribe(gateway: "g1") },
        { _ = try await HTTPPodSecrets(client: client).secrets(ofPod: "pod-2", node: "worker-1") },
      ]
      for (index, attempt) in attempts.enumerated() {
        let error = await #expect(throws: APIStatus.self) { try await attempt() }
        #expect(error?.code == 403, "attempt \(index)")
      }
    }
  }

  @Test func `a node may read the package of a pod that is placed on it`() async throws {
    try await World.run { world in
      let bytes: [UInt8] = [1, 2, 3]
      let digest = FakeArtifacts.digest(bytes)
      try await world.artifacts.put(
        namespace: "default", digest: digest, size: nil, chunks: ServiceContractTests.chunks(bytes))
      world.placements.place(digest, namespace: "default", on: "worker-1")
      var read: [UInt8] = []
      let here = HTTPArtifacts(client: try world.node("worker-1"))
      for try await chunk in try await here.get(namespace: "default", digest: digest) { read += chunk }
      #expect(read == bytes)
      let there = HTTPArtifacts(client: try world.node("worker-2"))
      let error = await #expect(throws: APIStatus.self) {
        _ = try await there.get(namespace: "default", digest: digest)
      }
      #expect(error?.code == 403)
    }
  }

  @Test func `a gateway may act as itself only`() async throws {
    try await World.run { world in
      let client = try await world.gateway("g1")
      let want = PodsWanted(gateway: "g2", namespace: "d", function: "f", revision: nil, pods: 1, reason: "")
      let error = await #expect(throws: APIStatus.self) { try await HTTPActivation(client: client).want(want) }
      #expect(error?.code == 403)
      #expect(try await HTTPLogSink(client: client).append(source: "gateway/g1", firstSequence: 1, lines: []) == 0)
    }
  }

  // MARK: Joining

  @Test func `a worker joins with a token and then opens its session with the certificate`() async throws {
    try await World.run { world in
      let token = try await world.tokens.join(life: .seconds(60))
      let credentials = try await JoinClient().join(server: world.url, token: token + "\n", as: .node, name: "worker-7")
      #expect(credentials.name == "worker-7")
      #expect(credentials.validUntil.milliseconds(since: .now()) > 23 * 3_600_000)
      let path = world.folder.path + "/node.json"
      try credentials.write(to: path)
      #expect(try MemberCredentials.read(from: path) == credentials)
      let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
      #expect(mode == 0o600)
      let client = try world.client(credentials.credential)
      let handle = try await HTTPNodeSessions(client: client).open(SessionContractTests.hello("worker-7"))
      #expect(handle.epoch == 7)
      await handle.closed(false)
    }
  }

  @Test func `a token of another cluster is not sent`() async throws {
    try await World.run { world in
      let token = try await world.tokens.join(life: .seconds(60))
      var parts = token.split(separator: ".").map(String.init)
      parts[1] = String(repeating: "A", count: 43)
      let error = await #expect(throws: APIStatus.self) {
        _ = try await JoinClient().join(
          server: world.url, token: parts.joined(separator: "."), as: .node, name: "worker-7")
      }
      #expect(error?.reason == "Untrusted")
    }
  }

  @Test func `an expired token is 401, a text that is none 400`() async throws {
    try await World.run { world in
      let token = try await world.tokens.join(life: .seconds(60))
      world.clock.advance(by: .seconds(61))
      let expired = await #expect(throws: APIStatus.self) {
        _ = try await JoinClient().join(server: world.url, token: token, as: .node, name: "worker-7")
      }
      #expect(expired?.code == 401)
      #expect(expired?.message.contains("expired") == true)
      let none = await #expect(throws: APIStatus.self) {
        _ = try await JoinClient().join(server: world.url, token: "hello", as: .node, name: "worker-7")
      }
      #expect(none?.code == 400)
    }
  }

  @Test func `a join token opens nothing else, and a node certifies itself only`() async throws {
    try await World.run { world in
      let joiner = try world.client(.token(try await world.tokens.join(life: .seconds(60))))
      let read = await #expect(throws: APIStatus.self) {
        _ = try await HTTPResourceService(client: joiner).list(.node, namespace: nil, options: ListOptions())
      }
      #expect(read?.code == 403)
      let node = try world.node("worker-1")
      let other = await #expect(throws: APIStatus.self) {
        _ = try await JoinClient.certificate(for: .node, "worker-2", through: node, authority: world.authority.pem)
      }
      #expect(other?.code == 403)
    }
  }

  @Test func `tokens are made over HTTP by the admin only`() async throws {
    try await World.run { world in
      let made = try await world.admin().json(
        .json(.POST, "/apis/apus.dev/v1/tokens", .object(["ttl": .string("5m")]), idempotent: false))
      let token = try #require(made["token"]?.stringValue)
      #expect(try await JoinClient().join(server: world.url, token: token, as: .node, name: "w").name == "w")
      let error = await #expect(throws: APIStatus.self) {
        _ = try await world.node("worker-1").json(
          .json(.POST, "/apis/apus.dev/v1/tokens", .object([:]), idempotent: false))
      }
      #expect(error?.code == 403)
    }
  }

  // MARK: Renewal

  @Test func `a certificate is renewed at two thirds, and the next renewal waits`() async throws {
    try await World.run { world in
      let token = try await world.tokens.join(life: .seconds(60))
      let first = try await JoinClient().join(server: world.url, token: token, as: .node, name: "worker-1")
      let client = try world.client(first.credential)
      let renewed = Mutex<[MemberCredentials]>([])
      let clock = world.clock
      let renewal = CertificateRenewal(
        client: client, credentials: first, clock: clock, now: { clock.timestamp },
        renewed: { new in renewed.withLock { $0.append(new) } })
      let running = Task { try await renewal.run() }
      #expect(await eventually { clock.sleepers == 1 })
      clock.advance(by: .seconds(15 * 3600))
      #expect(clock.sleepers == 1)
      #expect(renewed.withLock { $0 }.isEmpty)
      clock.advance(by: .seconds(3600 + 60))
      #expect(await eventually { renewed.withLock { $0.count } == 1 })
      let second = try #require(renewed.withLock { $0.first })
      #expect(second.validUntil > first.validUntil)
      #expect(second.key != first.key)
      #expect(await eventually { clock.sleepers == 1 }, "it waits for the next two thirds")
      running.cancel()
      _ = await running.result
    }
  }
}
