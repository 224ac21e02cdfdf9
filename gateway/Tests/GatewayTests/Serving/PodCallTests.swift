import ClusterModel
import ClusterTestSupport
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing

@testable import Gateway

/// Calls that pods make through their worker: whose they are, what they reach, and where a circle ends.
@Suite("Calls of pods") struct PodCallTests {
  private static let line = "APUS-POD 1 default asker asker-00001-abcde p-asker\n"

  /// Sends bytes to the gateway's socket for pods; answers what came until it closed.
  private func ask(_ clients: TestClients, _ socket: String, _ text: String) async throws -> String {
    let inbox = RawInbox()
    let channel = try await clients.bootstrap(inbox).connect(unixDomainSocketPath: socket).get()
    try? await channel.writeAndFlush(ByteBuffer(string: text))
    #expect(await eventually { inbox.state.withLock { $0.closed } })
    try? await channel.close()
    return String(decoding: inbox.state.withLock { $0.bytes }, as: UTF8.self)
  }

  private func get(_ path: String, _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nhost: h\r\n\(fields)connection: close\r\n\r\n"
  }

  private func withPods(
    _ body: (FakePlatform, TestClients, _ socket: String, GatewayServer) async throws -> Void
  ) async throws {
    let folder = try TemporaryFolder()
    let socket = folder.path + "/pods.sock"
    let routes = [makeRoute("echo", max: 40), makeRoute("closed", uid: "f2", needsToken: true)]
    try await withGateway(
      routes,
      configure: {
        $0.podSocket = socket; $0.publicOnly = true
      }
    ) { (platform, gateway, clients) async throws in try await body(platform, clients, socket, gateway) }
    #expect(!FileManager.default.fileExists(atPath: socket), "the socket goes with the gateway")
  }

  @Test func `a pod calls the functions of its namespace by name, with its own name attached and no other`()
    async throws
  {
    try await withPods { (platform, clients, socket, _) async throws in
      let lies = "x-apus-caller: default/admin\r\nx-apus-schedule: tick\r\nauthorization: Bearer mine\r\n"
      for path in ["/function/echo/x", "/function/echo.default/x", "/function/closed/x"] {
        let answer = try await ask(clients, socket, Self.line + get(path, lies + "x-call-id: chain-1\r\n"))
        #expect(answer.hasPrefix("HTTP/1.1 200 "), "\(path): \(answer)")
        #expect(answer.contains("chain-1"), "the call id is the caller's")
      }
      for uid in ["u1", "u2"] {
        let head = try #require(platform.pod(uid)?.counts.withLock { $0.heads }.last)
        #expect(head.headers["x-apus-caller"] == ["default/asker"])
        #expect(head.headers["x-apus-schedule"].isEmpty && head.uri == "/x")
        #expect(head.headers["x-call-id"] == ["chain-1"])
      }
      #expect(platform.pod("u2")?.counts.withLock { $0.heads }.last?.headers["authorization"] == [])
      // From outside nobody is a pod.
      let outside = try await clients.request(.GET, "/function/closed/x", [("x-apus-caller", "default/asker")])
      #expect(outside.status == 401)
    }
  }

  @Test func `what is not of its namespace, not a function, or comes without a name, reaches nothing`() async throws {
    try await withPods { (platform, clients, socket, _) async throws in
      let foreign = Self.line.replacing(" default ", with: " staging ")
      let cases: [(String, String, Int)] = [
        (Self.line, "/function/echo.staging", 403), (foreign, "/function/echo", 404),
        (foreign, "/function/echo.default", 403), (Self.line, "/async-function/echo", 403),
        (Self.line, "/async-result/abc", 403), (Self.line, "/metrics", 404), (Self.line, "/function/none", 404),
      ]
      for (who, path, status) in cases {
        let answer = try await ask(clients, socket, who + get(path))
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(path): \(answer)")
      }
      let event = "x-amz-invocation-type: Event\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
      for who in [Self.line, foreign] {
        let invoke = "POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nhost: h\r\n"
        #expect(try await ask(clients, socket, who + invoke + event).hasPrefix("HTTP/1.1 403 "), "an asynchronous call")
      }
      for line in [
        "", "GET / HTTP/1.1\r\n", "APUS-POD 2 default asker p u\n", "APUS-POD 1 default asker p\n",
        "APUS-POD 1 default asker p u more\n", "APUS-POD 1 Default asker p u\n", "APUS-POD 1 default/x asker p u\n",
        "APUS-POD 1 \(String(repeating: "a", count: 600)) asker p u\n",
      ] {
        #expect(try await ask(clients, socket, line + get("/function/echo") + "\n") == "", "\(line)")
      }
      #expect(platform.pod("u1")?.counts.withLock { $0.served } ?? 0 == 0)
    }
  }

  @Test func `a circle of calls ends, and a chain that ended is forgotten`() async throws {
    try await withPods { (platform, clients, socket, gateway) async throws in
      // A pod that is called by pods calls on: the gateway alone counts, whatever the pod says.
      var open: [any Channel] = []
      var uid = "p-asker"
      for depth in 1...GatewayLimits.callDepth {
        let inbox = RawInbox()
        let channel = try await clients.bootstrap(inbox).connect(unixDomainSocketPath: socket).get()
        let line = Self.line.replacing("p-asker", with: uid)
        try await channel.writeAndFlush(
          ByteBuffer(string: line + "GET /function/echo/hang HTTP/1.1\r\nhost: h\r\nx-apus-depth: 0\r\n\r\n"))
        let busy = await eventually { Self.hanging(platform).count == depth }
        try #require(busy, "depth \(depth): \(Self.hanging(platform))")
        // The next call comes from the pod that this one went into.
        uid = try #require(Self.hanging(platform).last)
        open.append(channel)
      }
      let refused = try await ask(
        clients, socket, Self.line.replacing("p-asker", with: uid) + get("/function/echo"))
      #expect(refused.hasPrefix("HTTP/1.1 508 ") && refused.contains("call_loop"), "\(refused)")
      for channel in open { try? await channel.close() }
      let last = Self.line.replacing("p-asker", with: uid)
      let forgotten = await eventually(within: .seconds(10)) {
        let answer = try? await ask(clients, socket, last + get("/function/echo"))
        return answer?.hasPrefix("HTTP/1.1 200 ") == true
      }
      #expect(forgotten)
    }
  }

  /// Pods with a call inside, in the order in which they got it.
  private static func hanging(_ platform: FakePlatform) -> [String] {
    (1...40).map { "u\($0)" }.filter { uid in
      platform.pod(uid)?.counts.withLock { $0.heads.contains { $0.uri == "/hang" } } ?? false
    }
  }

  @Test func `depths are counted by pod, and the longest chain inside is the one that goes on`() {
    let depths = CallDepths()
    #expect(depths.next(after: "a") == 1)
    depths.enter("a", depth: 1)
    #expect(depths.next(after: "a") == 2)
    depths.enter("a", depth: 5)
    depths.enter("b", depth: 2)
    #expect(depths.next(after: "a") == 6 && depths.next(after: "b") == 3)
    depths.leave("a")
    #expect(depths.next(after: "a") == 6, "one of the two is still inside")
    depths.leave("a")
    depths.leave("a")
    depths.leave("b")
    #expect(depths.next(after: "a") == 1 && depths.count == 0)
  }
}
