import ClusterTestSupport
import Foundation
import Testing

/// Who may call: tokens on a real cluster, and a second gateway that listens beyond its own machine.
@Suite("Access")
struct AccessTests {
  /// Says what it was shown.
  private static let code = """
    def handle(event, context):
        return 'saw ' + event.headers.get('authorization', 'nothing')

    """

  @Test("a token opens what asks for one, here and beyond, until it is revoked", .timeLimit(.minutes(4)))
  func tokens() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      for (name, spec) in [("open", ""), ("shown", "  public: true\n"), ("closed", "  auth: token\n")] {
        let made = try await cluster.deployPython(name, Self.code, spec: spec)
        try #require(made.status == 0, "\(made.all)")
      }
      let made = try await cluster.bash("apus token create --function closed --expires 1h > token && cat token")
      try #require(made.status == 0, "\(made.all)")
      let id = String(made.output.split(separator: ".")[1])
      let edge = try await Edge.start(cluster)
      let outcome: Result<Void, any Error>
      do {
        try await here(cluster)
        try await beyond(cluster, edge)
        try await revoked(cluster, edge, id)
        outcome = .success(())
      } catch { outcome = .failure(error) }
      try await edge.stop(cluster)
      try outcome.get()
    }
  }

  /// The status and body of a call, one behind the other.
  private func call(_ cluster: TestCluster, _ url: String, token: Bool = false) async throws -> String {
    let field = token ? "-H \"Authorization: Bearer $(cat token)\"" : ""
    return try await cluster.bash("curl -s -m 20 \(field) -w ' %{http_code}' \(url)").output
  }

  private func here(_ cluster: TestCluster) async throws {
    #expect(try await call(cluster, cluster.url("open")) == "saw nothing 200")
    #expect(try await call(cluster, cluster.url("open"), token: true).hasPrefix("saw Bearer apus-invoke."))
    #expect(try await call(cluster, cluster.url("closed")).hasSuffix(" 401"))
    #expect(try await call(cluster, cluster.url("closed"), token: true) == "saw nothing 200")
    #expect(try await cluster.apus("invoke", "closed").output == "saw nothing", "the CLI gets a token for it")
    #expect(
      try await cluster.apus("invoke", "closed", "-d", "-", input: "x").output == "saw nothing", "before it reads")
    let later = cluster.url("closed").replacing("/function/", with: "/async-function/")
    #expect(try await cluster.bash("curl -s -o /dev/null -w '%{http_code}' -d x \(later)").output == "401")
    let kept = try await cluster.bash(
      "curl -s -o /dev/null -w '%{http_code}' -H 'X-Call-Id: later-1' -H \"Authorization: Bearer $(cat token)\" -d x \(later)"
    )
    #expect(kept.output == "202")
    let done = try await eventually(within: .seconds(20)) {
      try await cluster.bash("apus calls show later-1").output.contains("saw nothing")
    }
    #expect(done, "an asynchronous call of such a function is run")
  }

  private func beyond(_ cluster: TestCluster, _ edge: Edge) async throws {
    for address in edge.addresses {
      func url(_ name: String) -> String { "http://\(address):\(edge.port)/function/\(name)" }
      #expect(try await call(cluster, url("shown")) == "saw nothing 200", "\(address)")
      let hidden = try await call(cluster, url("open"))
      #expect(hidden.hasSuffix(" 403") && hidden.contains("public: true"), "\(address): \(hidden)")
      #expect(try await call(cluster, url("closed")).hasSuffix(" 401"), "\(address)")
      #expect(try await call(cluster, url("closed"), token: true) == "saw nothing 200", "\(address)")
    }
  }

  private func revoked(_ cluster: TestCluster, _ edge: Edge, _ id: String) async throws {
    #expect(try await cluster.apus("token", "list").output.contains(id))
    let gone = try await cluster.apus("token", "revoke", id)
    #expect(gone.status == 0, "\(gone.all)")
    for url in [cluster.url("closed"), "http://127.0.0.1:\(edge.port)/function/closed"] {
      let refused = try await eventually(within: .seconds(30)) {
        try await call(cluster, url, token: true).hasSuffix(" 401")
      }
      #expect(refused, "\(url)")
    }
    #expect(try await !cluster.apus("token", "list").output.contains(id))
    #expect(try await cluster.metric("apus_gateway_errors_total", "reason=\"unauthorized\"") >= 3)
    let told = try await eventually(within: .seconds(20)) {
      try await cluster.bash("apus logs 'stream:access AND code:unauthorized' --platform -o json").output.contains(
        "closed")
    }
    #expect(told, "refused attempts are in the log")
  }
}

/// A gateway of its own process on every address of this machine.
private struct Edge {
  let port: String
  /// Loopback, and this machine's own addresses where it has some.
  let addresses: [String]

  static func start(_ cluster: TestCluster) async throws -> Edge {
    let free = "python3 -c 'import socket; s = socket.socket(); s.bind((\"\", 0)); print(s.getsockname()[1])'"
    let port = try await cluster.bash(free).output.trimmingCharacters(in: .whitespacesAndNewlines)
    let line =
      "\(TestCluster.apus) gateway --name edge --data \(cluster.work)/edge --listen 0.0.0.0 --insecure-http "
      + "--gateway-port \(port) --admin-port 0 --server \(cluster.api) --token-file edge-token"
    let started = try await cluster.bash(
      "apus token create --for gateway > edge-token; \(Shell.detached(line, output: "edge.log")) echo $! > edge.pid")
    guard started.status == 0 else { throw ClusterFailure("no second gateway: \(started.all)") }
    let up = try await eventually(within: .seconds(30)) {
      try await cluster.bash("curl -sf -m 2 -o /dev/null http://127.0.0.1:\(port)/healthz").status == 0
    }
    let own = try await cluster.bash("hostname -I").output.split(whereSeparator: \.isWhitespace).map(String.init)
    let edge = Edge(port: port, addresses: ["127.0.0.1"] + own.filter { $0.contains(".") }.prefix(1))
    guard up else {
      let said = try await cluster.bash("tail -n 20 edge.log").output
      try await edge.stop(cluster)
      throw ClusterFailure("the second gateway does not listen: \(said)")
    }
    return edge
  }

  func stop(_ cluster: TestCluster) async throws {
    _ = try await cluster.bash(
      "p=$(cat edge.pid); kill $p; for i in $(seq 100); do kill -0 $p 2>/dev/null || break; sleep 0.1; done; kill -9 $p"
    )
  }
}
