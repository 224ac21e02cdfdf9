import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Crypto
import Foundation
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// A token for calls, as somebody holds it and as gateways know it.
struct TestToken {
  let text: String
  let credential: InvokeCredential

  init(
    _ number: UInt64, _ scope: InvokeScope = InvokeScope(namespace: "default", function: "closed"),
    expires: Timestamp? = nil, kind: String = "invoke"
  ) {
    let plain = String(number, radix: 16)
    let id = String(repeating: "0", count: 16 - plain.count) + plain
    let secret = "secret-\(number)"
    text = "apus-\(kind).\(id).\(secret)"
    credential = InvokeCredential(
      id: id, hash: Array(SHA256.hash(data: Data(secret.utf8))), scope: scope, expires: expires)
  }

  /// The header field that shows it.
  var field: [(String, String)] { [("authorization", "Bearer \(text)")] }
}

/// Who may call: tokens, and what answers beyond the gateway's own machine.
@Suite struct AccessTests {
  private static let own = TestToken(1)
  private static let everything = TestToken(2, .everything, kind: "admin")
  private static let elsewhere = TestToken(3, InvokeScope(namespace: "default", function: "other"))
  private static let space = TestToken(4, InvokeScope(namespace: "default"))
  private static let foreign = TestToken(5, InvokeScope(namespace: "staging"))
  private static let old = TestToken(6, expires: Timestamp.now().advanced(milliseconds: -1000))
  private static let all = [own, everything, elsewhere, space, foreign, old]

  private static let routes = [makeRoute("open"), makeRoute("closed", uid: "f2", needsToken: true)]

  private func withTokens(
    publicOnly: Bool = false, _ routes: [FunctionRoute] = Self.routes, calls: (any CallQueue)? = nil,
    _ body: (FakePlatform, GatewayServer, TestClients) async throws -> Void
  ) async throws {
    let platform = try FakePlatform()
    platform.set(Self.all)
    try await withGateway(routes, platform: platform, calls: calls, configure: { $0.publicOnly = publicOnly }) {
      (platform, gateway, clients) async throws in
      // The tokens come behind the snapshot with which a gateway begins to listen.
      let known = await eventually {
        (try? await clients.request(.GET, "/function/closed", Self.own.field).status) != 503
      }
      #expect(known || publicOnly)
      try await body(platform, gateway, clients)
    }
  }

  @Test func `without a token, with a wrong one and with one for others nothing reaches a pod`() async throws {
    try await withTokens { (platform, gateway, clients) async throws in
      let served = platform.pod("u1")?.counts.withLock { $0.served } ?? 0
      let cases: [(String, [(String, String)], Int, String, String)] = [
        ("none", [], 401, "Bearer realm=\"apus\"", "Authorization: Bearer TOKEN"),
        (
          "wrong", [("authorization", "Bearer nonsense")], 401, "Bearer realm=\"apus\", error=\"invalid_token\"",
          "revoked"
        ),
        ("scheme", [("authorization", "Basic YTpi")], 401, "Bearer realm=\"apus\", error=\"invalid_token\"", "revoked"),
        (
          "secret", [("authorization", "Bearer \(Self.own.text)x")], 401,
          "Bearer realm=\"apus\", error=\"invalid_token\"", "revoked"
        ),
        ("old", Self.old.field, 401, "Bearer realm=\"apus\", error=\"invalid_token\"", "expired at"),
        ("other", Self.elsewhere.field, 403, "Bearer realm=\"apus\", error=\"insufficient_scope\"", "default/other"),
        ("foreign", Self.foreign.field, 403, "Bearer realm=\"apus\", error=\"insufficient_scope\"", "staging/*"),
      ]
      for (name, fields, status, challenge, words) in cases {
        let answer = try await clients.request(.POST, "/function/closed", fields, body: [1])
        #expect(answer.status == status, "\(name)")
        #expect(answer.header("x-apus-error") == (status == 401 ? "unauthorized" : "forbidden"), "\(name)")
        #expect(answer.header("www-authenticate") == challenge, "\(name)")
        #expect(answer.text.contains(words), "\(name): \(answer.text)")
        for token in Self.all { #expect(!answer.text.contains(token.text)) }
      }
      let twice = try await clients.request(.GET, "/function/closed", Self.own.field + Self.own.field)
      #expect(twice.status == 400)
      #expect(platform.pod("u1")?.counts.withLock { $0.served } ?? 0 == served)
      #expect(
        gateway.metricsText().contains(
          #"apus_gateway_errors_total{function="default/closed",reason="unauthorized"} 5"#))
      #expect(
        gateway.metricsText().contains(#"apus_gateway_errors_total{function="default/closed",reason="forbidden"} 2"#))
      let told = await eventually {
        platform.state.withLock { $0.lines }.count {
          String(decoding: $0, as: UTF8.self).contains(#""code":"unauthorized""#)
        }
          == 5
      }
      #expect(told, "each attempt is in the access log")
    }
  }

  @Test func `a token that covers the function opens it, and the function never sees it`() async throws {
    try await withTokens { (platform, _, clients) async throws in
      for token in [Self.own, Self.everything, Self.space] {
        let fields = token.field + [("cookie", "a=1"), ("X-Apus-Authorization", "Bearer \(token.text)")]
        #expect(try await clients.request(.POST, "/function/closed", fields, body: [1]).status == 200)
        let platformOnly = [("X-Apus-Authorization", "bearer   \(token.text)")]
        #expect(try await clients.request(.GET, "/function/closed", platformOnly).status == 200)
      }
      let heads = platform.pod("u1")?.counts.withLock { $0.heads } ?? []
      #expect(heads.count >= 6)
      for head in heads {
        #expect(!head.headers.contains(name: "authorization") && !head.headers.contains(name: "x-apus-authorization"))
      }
      #expect(heads.contains { $0.headers["cookie"] == ["a=1"] })
    }
  }

  @Test func `where no token is asked for Authorization is the function's own`() async throws {
    try await withTokens { (platform, _, clients) async throws in
      let fields = [("authorization", "Basic YTpi"), ("x-apus-authorization", "Bearer nonsense")]
      let answer = try await clients.request(.GET, "/function/open", fields)
      #expect(answer.status == 200)
      let pod = try #require(answer.header("x-pod").flatMap { platform.pod($0) })
      let head = try #require(pod.counts.withLock { $0.heads.last })
      #expect(head.headers["authorization"] == ["Basic YTpi"])
      #expect(!head.headers.contains(name: "x-apus-authorization"))
    }
  }

  @Test func `a revoked token is refused with the next delta, and a new one is known`() async throws {
    try await withTokens { (platform, _, clients) async throws in
      let connection = try await clients.connect()
      #expect(try await connection.request(.GET, "/function/closed", Self.own.field).status == 200)
      let new = TestToken(77)
      platform.set([new])
      let revoked = await eventually {
        (try? await connection.request(.GET, "/function/closed", Self.own.field).status) == 401
      }
      #expect(revoked)
      #expect(try await connection.request(.GET, "/function/closed", new.field).status == 200)
      await connection.close()
    }
  }

  @Test func `auth that is switched on or off holds from the next delta on`() async throws {
    try await withTokens { (platform, _, clients) async throws in
      #expect(try await clients.request(.GET, "/function/open").status == 200)
      platform.set(makeRoute("open", needsToken: true))
      #expect(await eventually { (try? await clients.request(.GET, "/function/open").status) == 401 })
      platform.set(makeRoute("open"))
      #expect(await eventually { (try? await clients.request(.GET, "/function/open").status) == 200 })
    }
  }

  @Test func `before the tokens are known nobody is let in, and nobody is called a stranger`() async throws {
    let platform = try FakePlatform()
    platform.state.withLock { $0.credentials = nil }
    try await withGateway(Self.routes, platform: platform) { (_, _, clients) async throws in
      let answer = try await clients.request(.GET, "/function/closed", Self.own.field)
      #expect(answer.status == 503 && answer.header("x-apus-error") == "no_control_plane")
      #expect(try await clients.request(.GET, "/function/closed").status == 401)
    }
  }

  @Test func `upgrades and calls for later ask for the token too`() async throws {
    let queue = FakeQueue()
    try await withTokens(calls: queue) { (platform, _, clients) async throws in
      let upgrade = "GET /function/closed/upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n"
      #expect(try await clients.raw(upgrade + "\r\n", until: "WWW-Authenticate").0.hasPrefix("HTTP/1.1 401 "))
      let shown = upgrade + "Authorization: Bearer \(Self.own.text)\r\n\r\n"
      #expect(try await clients.raw(shown, until: "\r\n\r\n").0.hasPrefix("HTTP/1.1 101 "))
      #expect(try await clients.request(.POST, "/async-function/closed", body: [1]).status == 401)
      let kept = try await clients.request(
        .POST, "/async-function/closed", Self.own.field + [("x-a", "b"), ("x-timeout", "3s")], body: [1])
      #expect(kept.status == 202)
      #expect(try await clients.request(.POST, "/async-function/open", [("authorization", "Basic YTpi")]).status == 202)
      let heads = queue.calls.map(\.head.headers)
      #expect(heads.first?.contains { $0.name.lowercased() == "authorization" } == false, "no token is stored")
      #expect(heads.first?.contains(CallHeader("x-a", "b")) == true)
      #expect(heads.first?.contains(CallHeader("x-timeout", "3s")) == true, "it bounds each attempt")
      #expect(heads.last?.contains { $0.name.lowercased() == "authorization" } == true)
    }
  }

  @Test func `beyond its machine a gateway answers for what is public or asks for a token`() async throws {
    let routes =
      Self.routes + [
        makeRoute("shown", uid: "f3", isPublic: true), makeRoute("both", uid: "f4", isPublic: true, needsToken: true),
      ]
    let queue = FakeQueue()
    try await withTokens(publicOnly: true, routes, calls: queue) { (_, gateway, clients) async throws in
      #expect(try await clients.request(.GET, "/function/shown").status == 200)
      #expect(try await clients.request(.GET, "/function/both").status == 401)
      #expect(try await clients.request(.GET, "/function/both", Self.space.field).status == 200)
      #expect(try await clients.request(.GET, "/function/closed").status == 401)
      #expect(try await clients.request(.GET, "/function/closed", Self.own.field).status == 200)
      for lead in ["/function", "/async-function"] {
        let hidden = try await clients.request(.POST, "\(lead)/open", Self.everything.field)
        #expect(hidden.status == 403 && hidden.header("x-apus-error") == "forbidden", "\(lead)")
        #expect(hidden.text.contains("auth: token") && hidden.text.contains("public: true"))
        #expect(hidden.header("www-authenticate") == nil, "Authorization is the function's: it would not help")
      }
      #expect(try await clients.request(.GET, "/function/nobody").status == 404)
      // The platform's own callers come through.
      let own = [("x-apus-authorization", "Bearer \(Self.everything.text)")]
      #expect(try await clients.request(.GET, "/function/open", own).status == 200)
      #expect(queue.calls.isEmpty)
    }
  }

  @Test func `streams of HTTP/2 ask for it as well`() async throws {
    try await withHTTP2Client(makeRoute(needsToken: true)) { (platform, _, client) async throws in
      let token = TestToken(9, .everything)
      platform.set([token])
      let refused = try await client.request("GET", "/function/echo")
      #expect(refused.status == 401 && refused.header("www-authenticate") == "Bearer realm=\"apus\"")
      #expect(refused.header("x-apus-error") == "unauthorized")
      let open = await eventually { (try? await client.request("GET", "/function/echo", token.field).status) == 200 }
      #expect(open)
      #expect(platform.pod("u1")?.counts.withLock { $0.heads.last }?.headers.contains(name: "authorization") == false)
    }
  }

  // MARK: the decision alone

  @Test func `what is no token of ours is unknown, whatever it looks like`() {
    let keys = InvokeKeys([Self.own.credential, InvokeCredential(id: "zz", hash: [], scope: .everything)])
    let route = makeRoute("closed", needsToken: true)
    func verdict(_ text: String) -> InvokeKeys.Verdict {
      Array(text.utf8).withUnsafeBytes { keys.verdict($0, for: route, at: .now()) }
    }
    #expect(verdict(Self.own.text) == .granted(id: 1))
    let id = "0000000000000001"
    for text in [
      "", ".", "..", "apus-invoke", "apus-invoke.\(id)", "apus-invoke.\(id).", "apus-invoke.\(id).secret-2",
      "apus-invoke.1.secret-1", "apus-invoke.\(id.uppercased())x.secret-1", "apus-gateway.\(id).secret-1",
      "apus-invoke.zz.", "apus-invoke.\(id).secret-1" + String(repeating: " ", count: 300), "\u{0}.\u{0}.\u{0}",
    ] { #expect(verdict(text) == .unknown, "\(text.debugDescription)") }
  }

  @Test func `a token lives until its time, to the moment`() {
    let end = Timestamp(milliseconds: 1_000_000)
    let token = TestToken(5, .everything, expires: end)
    let keys = InvokeKeys([token.credential])
    func verdict(_ time: Int64) -> InvokeKeys.Verdict {
      Array(token.text.utf8).withUnsafeBytes { keys.verdict($0, for: makeRoute(), at: Timestamp(milliseconds: time)) }
    }
    #expect(verdict(999_999) == .granted(id: 5))
    #expect(verdict(1_000_000) == .expired(end))
  }
}
