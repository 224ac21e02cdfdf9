import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import HTTPService
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization
import Testing

@testable import ClusterClient

/// Asynchronous calls in process and over HTTP, and the invoker against real sockets.
@Suite("Asynchronous calls over HTTP") struct CallContractTests {
  private func call(_ id: String, _ function: String = "greet", body: [UInt8] = [0, 10, 255]) -> AsyncCall {
    AsyncCall(
      .init(
        id: id, namespace: "default", function: function, path: "/a%2Fb?c=%20", headers: [CallHeader("X-One", "1")],
        callback: "http://example.com/", enqueued: Timestamp(milliseconds: 1_800_000_000_123)), body: body)
  }

  @Test(arguments: Wiring.allCases)
  func `a call arrives whole, and what the queue says comes back`(wiring: Wiring) async throws {
    try await World.run { world in
      let queue: any CallQueue =
        wiring == .inProcess ? world.calls : HTTPCallQueue(client: try await world.gateway("g1"), gateway: "g1")
      let catalog: any CallCatalog = wiring == .inProcess ? world.calls : HTTPCallCatalog(client: try world.admin())
      var whole = call("id:1._-", body: [UInt8](repeating: 10, count: Limits.asyncBody))
      whole.head.owner = "sha256:ab"
      try await queue.enqueue(whole)
      try await queue.enqueue(call("two", "other"))
      #expect(world.calls.calls.withLock { $0.first } == whole)
      let known = await #expect(throws: APIStatus.self) { try await queue.enqueue(whole) }
      #expect(known?.code == 409)
      let full = await #expect(throws: APIStatus.self) { try await queue.enqueue(call("three", "full")) }
      #expect(full?.code == 429)

      let listed = try await catalog.list(CallFilter(namespace: "default", function: "greet", state: .dead))
      #expect(listed.map(\.id) == ["id:1._-"] && listed[0].status == 500 && listed[0].attempts == 5)
      #expect(try await catalog.list(CallFilter(namespace: "default", state: .done)).isEmpty)
      #expect(try await catalog.list(CallFilter(namespace: "default", limit: 1)).count == 1)
      let shown = try await catalog.show(namespace: "default", id: "two")
      #expect(shown.result?.body == Data([0, 10, 255]) && shown.callbackOutcome == "sent")
      let missing = await #expect(throws: APIStatus.self) { _ = try await catalog.show(namespace: "other", id: "two") }
      #expect(missing?.code == 404)
      let own = try await queue.result("id:1._-", owner: "sha256:ab")
      #expect(own.result?.body == Data(whole.body) && own.owner == "sha256:ab")
      for (id, owner) in [("id:1._-", "sha256:cd"), ("two", "sha256:ab"), ("none", "sha256:ab")] {
        let refused = await #expect(throws: APIStatus.self) { _ = try await queue.result(id, owner: owner) }
        #expect(refused?.code == 404)
      }
      #expect(try await catalog.retry(namespace: "default", id: "id:1._-").state == .queued)
      #expect(try await catalog.purge(namespace: "default", function: "greet") == 3)
      #expect(world.calls.purged.withLock { $0 } == ["default/greet"])
    }
  }

  @Test func `only that gateway hands calls in, and only people look at them`() async throws {
    try await World.run { world in
      func code(_ client: APIClient, _ gateway: String) async -> Int? {
        do throws(APIStatus) {
          try await HTTPCallQueue(client: client, gateway: gateway).enqueue(call(UUID().uuidString))
          return nil
        } catch { return error.code }
      }
      #expect(await code(try await world.gateway("g1"), "g1") == nil)
      #expect(await code(try await world.gateway("g1"), "g2") == 403)
      #expect(await code(try world.node("n1"), "g1") == 403)
      for (client, gateway) in [(try await world.gateway("g1"), "g2"), (try world.node("n1"), "g1")] {
        let queue = HTTPCallQueue(client: client, gateway: gateway)
        let refused = await #expect(throws: APIStatus.self) { _ = try await queue.result("c", owner: "o") }
        #expect(refused?.code == 403)
      }
      for client in [try world.node("n1"), try await world.gateway("g1")] {
        let catalog = HTTPCallCatalog(client: client)
        let refused = await #expect(throws: APIStatus.self) {
          _ = try await catalog.list(CallFilter(namespace: "default"))
        }
        #expect(refused?.code == 403)
        let purge = await #expect(throws: APIStatus.self) {
          _ = try await catalog.purge(namespace: "default", function: "greet")
        }
        #expect(purge?.code == 403)
      }
    }
  }

  @Test func `a call reaches the gateway as it was sent, and its answer is kept up to its bound`() async throws {
    let server = try await EchoServer.start { head, body in
      var headers = HTTPHeaders([("x-call-id", "not kept"), ("x-one", head.headers.first(name: "x-one") ?? "?")])
      headers.add(name: "x-host", value: head.headers.first(name: "host") ?? "?")
      headers.add(name: "x-id", value: head.headers.first(name: "x-call-id") ?? "?")
      headers.add(name: "x-duration-seconds", value: "1.500000")
      headers.add(name: "location", value: "/elsewhere")
      let large = head.uri.contains("large") ? [UInt8](repeating: 1, count: Limits.asyncResultBody + 5) : body
      return (HTTPResponseStatus.found, headers, large + Array(head.uri.utf8))
    }
    let invoker = try GatewayInvoker { "http://127.0.0.1:\(server.port)" }
    var sent = call("c1", body: [1, 2])
    sent.head.headers.append(CallHeader("host", "original.test"))
    guard case .answered(let answer) = await invoker.invoke(sent, patience: 5000) else {
      Issue.record("no answer")
      return await server.stop()
    }
    // A redirect is the function's word: it is not followed.
    #expect(answer.status == 302 && !answer.truncated && answer.seconds == 1.5 && answer.platformCode == nil)
    #expect(answer.body == [1, 2] + Array("/function/greet.default/a%2Fb?c=%20".utf8))
    #expect(answer.header("x-one") == "1" && answer.header("x-host") == "original.test")
    #expect(answer.header("x-id") == "c1" && answer.header("x-call-id") == nil)
    var large = call("c2")
    large.head.path = "/large"
    guard case .answered(let cut) = await invoker.invoke(large, patience: 5000) else {
      Issue.record("no answer")
      return await server.stop()
    }
    #expect(cut.truncated && cut.body.count == Limits.asyncResultBody)
    await server.stop()
    guard case .unreached = await invoker.invoke(sent, patience: 5000) else {
      Issue.record("nobody listens there any more")
      return
    }
  }

  @Test func `a gateway is called over TLS only when its certificate is one for its name, of an authority that counts`()
    async throws
  {
    let folder = try TemporaryFolder()
    let own = try CertificateAuthority(folder: folder.path + "/own", now: .now())
    let other = try CertificateAuthority(folder: folder.path + "/other", now: .now())
    func context(_ issued: IssuedCertificate) throws -> NIOSSLContext {
      try NIOSSLContext(
        configuration: .makeServerConfiguration(
          certificateChain: try PEM.chain(issued.certificate), privateKey: try PEM.key(issued.key ?? "")))
    }
    let cases: [(context: NIOSSLContext, isTaken: Bool)] = [
      (try context(try own.server(names: [], now: .now())), true),
      (try context(try other.server(names: [], now: .now())), false),
      // Ours, but for no name.
      (try context(try own.client(.gateway("g"), hours: 1, now: .now())), false),
    ]
    for (context, isTaken) in cases {
      let server = try await EchoServer.start(tls: context) { _, body in (.ok, HTTPHeaders(), body) }
      let invoker = try GatewayInvoker(authority: own.pem) { "https://127.0.0.1:\(server.port)" }
      let outcome = await invoker.invoke(call("c1", body: [7]), patience: 5000)
      if isTaken {
        guard case .answered(let answer) = outcome else {
          Issue.record("it was refused: \(outcome)")
          continue
        }
        #expect(answer.status == 200 && answer.body == [7])
      } else {
        guard case .unreached = outcome else {
          Issue.record("a stranger got the call: \(outcome)")
          continue
        }
        #expect(server.seen.isEmpty)
      }
      await server.stop()
    }
    #expect(throws: (any Error).self) { _ = try GatewayInvoker(authority: "no certificate") { nil } }
  }

  @Test func `a callback goes to no address that is not allowed, follows nothing, and is taken by 2xx only`()
    async throws
  {
    let server = try await EchoServer.start { head, body in
      let status: HTTPResponseStatus = head.uri == "/no" ? .movedPermanently : .ok
      return (status, HTTPHeaders([("location", "/yes")]), [])
    }
    let invoker = try GatewayInvoker { nil }
    let allowed = CallbackRules(allowed: [AddressRange("127.0.0.0/8"), AddressRange("::1")].compactMap { $0 })
    func post(_ url: String, _ rules: CallbackRules) async -> String? {
      await invoker.deliver(CallbackPost(url: url, headers: [CallHeader("X-Call-Id", "c")], body: [1]), rules: rules)
    }
    #expect(await post("http://127.0.0.1:\(server.port)/yes", CallbackRules())?.contains("--callback-allow") == true)
    #expect(await post("http://localhost:\(server.port)/yes", CallbackRules())?.contains("--callback-allow") == true)
    #expect(server.seen.isEmpty)
    #expect(await post("http://127.0.0.1:\(server.port)/yes", allowed) == nil)
    #expect(server.seen == ["POST /yes"])
    #expect(await post("http://127.0.0.1:\(server.port)/no", allowed)?.contains("301") == true)
    #expect(server.seen == ["POST /yes", "POST /no"])
    #expect(await post("http://name.invalid/", allowed)?.contains("cannot be resolved") == true)
    guard case .unreached = await invoker.invoke(call("x"), patience: 100) else {
      Issue.record("there is no gateway")
      return await server.stop()
    }
    await server.stop()
  }
}
