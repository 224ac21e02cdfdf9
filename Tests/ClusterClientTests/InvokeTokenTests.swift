import ClusterAPI
import ClusterModel
import ClusterTestSupport
import ControlPlane
import Crypto
import Foundation
import NIOHTTP1
import StateStore
import Synchronization
import Testing

@testable import ClusterClient

/// Tokens with which functions are called: made, told to gateways, listed, revoked.
@Suite("Tokens for calls") struct InvokeTokenTests {
  /// What gateways were told, the newest last.
  private final class Told: Sendable {
    private let state = Mutex<[(credentials: [InvokeCredential], version: Int)]>([])

    func take(_ credentials: [InvokeCredential], _ version: Int) {
      state.withLock { $0.append((credentials, version)) }
    }

    var versions: [Int] { state.withLock { $0.map(\.version) } }
    var last: [InvokeCredential] { state.withLock { $0.last?.credentials } ?? [] }
    /// Without the platform's own and the admin's.
    var made: [InvokeCredential] { last.filter { $0.scope != .everything } }
  }

  private func registry(_ store: MemoryStore, _ clock: ManualClock = ManualClock()) -> TokenRegistry {
    TokenRegistry(store: store, authorityHash: String(repeating: "h", count: 43)) { clock.timestamp }
  }

  private func parts(_ token: String) -> [String] { token.split(separator: ".").map(String.init) }

  @Test func `gateways hear of a token by its hash when it is made, and of its end when it is revoked`() async throws {
    let told = Told()
    let tokens = registry(MemoryStore(boot: 1))
    try await tokens.tell { told.take($0, $1) }
    #expect(told.made.isEmpty && told.versions == [1])
    let scope = InvokeScope(namespace: "default", function: "greet")
    let token = try await tokens.invoke(scope, life: nil)
    #expect(parts(token).first == "apus-invoke" && parts(token).count == 3)
    let credential = try #require(told.made.first)
    #expect(credential.id == parts(token)[1] && credential.scope == scope && credential.expires == nil)
    #expect(credential.hash == Array(SHA256.hash(data: Data(parts(token)[2].utf8))))
    #expect(!"\(told.last)".contains(parts(token)[2]))
    // It is nobody at the API.
    let error = await #expect(throws: APIStatus.self) { try await tokens.principal(bearer: token) }
    #expect(error?.code == 401 && error?.message.contains("for calling functions") == true)
    try await tokens.revokeMade(id: credential.id)
    #expect(told.made.isEmpty && told.versions == [1, 2, 3])
  }

  @Test func `a join token tells gateways nothing, an admin's may call everything`() async throws {
    let told = Told()
    let tokens = registry(MemoryStore(boot: 1))
    try await tokens.tell { told.take($0, $1) }
    _ = try await tokens.join(life: .seconds(60))
    _ = try await tokens.gateway(id: "g1")
    #expect(told.versions == [1])
    let admin = try await tokens.admin(present: nil)
    #expect(told.last.contains { $0.id == parts(admin)[1] && $0.scope == .everything })
    let refusal = await #expect(throws: APIStatus.self) { try await tokens.revokeMade(id: parts(admin)[1]) }
    #expect(refusal?.code == 403)
    let unknown = await #expect(throws: APIStatus.self) { try await tokens.revokeMade(id: "0011") }
    #expect(unknown?.code == 404)
  }

  @Test func `the next start of the server tells the same tokens, without those that ended`() async throws {
    let store = MemoryStore(boot: 1)
    let clock = ManualClock()
    let first = registry(store, clock)
    let kept = try await first.invoke(InvokeScope(namespace: "default"), life: nil)
    _ = try await first.invoke(InvokeScope(namespace: "staging"), life: .seconds(1))
    clock.advance(by: .milliseconds(1500))
    let told = Told()
    let second = registry(store, clock)
    try await second.tell { told.take($0, $1) }
    #expect(told.made.map(\.id) == [parts(kept)[1]])
    #expect(first.platformToken != second.platformToken, "the platform's own lives as long as its process")
    let own = told.last.first { $0.id == parts(second.platformToken)[1] }
    #expect(own?.scope == .everything)
    #expect(try await store.listAll(prefix: TokenRegistry.prefix).items.count == 2, "it is stored nowhere")
  }

  @Test func `lives and numbers are bounded`() async throws {
    let tokens = registry(MemoryStore(boot: 1))
    for life in [TimeSpan(milliseconds: 10), .seconds(3651 * 86_400)] {
      await #expect(throws: APIStatus.self) { try await tokens.invoke(.everything, life: life) }
    }
    for _ in 0..<Limits.invokeTokens { _ = try await tokens.invoke(InvokeScope(namespace: "a"), life: nil) }
    let full = await #expect(throws: APIStatus.self) { try await tokens.invoke(InvokeScope(namespace: "a"), life: nil) }
    #expect(full?.message.contains("apus token revoke") == true)
  }

  @Test func `tokens whose time is over make room for others`() async throws {
    let clock = ManualClock()
    let tokens = registry(MemoryStore(boot: 1), clock)
    let scope = InvokeScope(namespace: "a")
    for _ in 0..<Limits.invokeTokens { _ = try await tokens.invoke(scope, life: .seconds(30)) }
    await #expect(throws: APIStatus.self) { try await tokens.invoke(scope, life: .seconds(30)) }
    clock.advance(by: .seconds(31))
    _ = try await tokens.invoke(scope, life: .seconds(30))
  }

  @Test(arguments: [
    ("default/greet", "default", "greet", true), ("default/greet", "default", "other", false),
    ("default/greet", "staging", "greet", false), ("staging/*", "staging", "any", true),
    ("staging/*", "default", "any", false), ("*", "any", "any", true),
  ])
  func `a scope covers what it names`(text: String, namespace: String, function: String, covers: Bool) throws {
    let scope = try #require(InvokeScope(text))
    #expect(scope.description == text && scope.covers(namespace: namespace, function: function) == covers)
  }

  @Test func `what is no scope grants nothing`() {
    for text in ["", "/", "a", "a/", "/b", "a/b/c", "**"] { #expect(InvokeScope(text) == nil, "\(text)") }
  }

  // MARK: over HTTP

  private static let path = "/apis/apus.dev/v1/tokens"

  @Test func `the admin makes, lists and revokes tokens over HTTP, and nobody else`() async throws {
    try await World.run { world in
      let admin = try world.admin()
      let made = try await admin.json(
        .json(
          .POST, Self.path,
          .object(["role": .string("invoke"), "function": .string("greet"), "ttl": .string("30d")]), idempotent: false))
      let token = try #require(made["token"]?.stringValue)
      let id = try #require(made["id"]?.stringValue)
      #expect(parts(token)[1] == id && made["expires"]?.stringValue != nil)
      let listed: [TokenSummary] = try #require(try await admin.json(.get(Self.path))["items"]).decoded()
      let line = try #require(listed.first { $0.id == id })
      #expect(line.role == "invoke" && line.scope == "default/greet" && line.expires != nil)
      #expect(!"\(listed)".contains(parts(token)[2]))
      for client in [try world.node("worker-1"), try await world.gateway("g1"), try world.client(.token(token))] {
        for request in [
          APIRequest.get(Self.path), .json(.POST, Self.path, .object([:]), idempotent: false),
          .json(.DELETE, "\(Self.path)/\(id)", .object([:]), idempotent: false),
        ] {
          let error = await #expect(throws: APIStatus.self) { _ = try await client.json(request) }
          #expect(error?.code == 403 || error?.code == 401)
        }
      }
      _ = try await admin.json(.json(.DELETE, "\(Self.path)/\(id)", .object([:]), idempotent: false))
      let left: [TokenSummary] = try #require(try await admin.json(.get(Self.path))["items"]).decoded()
      #expect(!left.contains { $0.id == id })
    }
  }

  @Test(arguments: [
    #"{"role": "invoke", "function": "../x"}"#, #"{"role": "invoke", "function": 3}"#,
    #"{"role": "invoke", "namespace": "A/*"}"#, #"{"role": "invoke", "ttl": "soon"}"#, #"{"role": "king"}"#, "[]",
  ])
  func `a token that cannot be made is 400`(body: String) async throws {
    try await World.run { world in
      let value = try JSONValue(bytes: body.utf8)
      let error = await #expect(throws: APIStatus.self) {
        _ = try await world.admin().json(.json(.POST, Self.path, value, idempotent: false))
      }
      #expect(error?.code == 400)
    }
  }
}
