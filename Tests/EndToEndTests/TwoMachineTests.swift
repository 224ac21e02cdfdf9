import ClusterTestSupport
import Foundation
import Testing

/// Server and worker as two machines: network namespaces joined by a veth pair, no unix socket in common.
@Suite("Two machines")
struct TwoMachineTests {
  /// Two namespaces with one link, and the processes started in them; all gone with `tearDown`.
  struct Link {
    let id = String(format: "%04x", UInt16.random(in: 0...UInt16.max))
    let net = "10.\(Int.random(in: 64...127)).\(Int.random(in: 0...255))"
    var server: String { "apus-s-\(id)" }
    var worker: String { "apus-w-\(id)" }

    func setUp() async throws {
      let made = try await Shell.bash(
        """
        set -e
        ip netns add \(server); ip netns add \(worker)
        ip link add vs\(id) netns \(server) type veth peer name vw\(id) netns \(worker)
        ip -n \(server) addr add \(net).1/24 dev vs\(id); ip -n \(server) link set vs\(id) up; ip -n \(server) link set lo up
        ip -n \(worker) addr add \(net).2/24 dev vw\(id); ip -n \(worker) link set vw\(id) up; ip -n \(worker) link set lo up
        """)
      guard made.status == 0 else { throw ClusterFailure("no network namespaces: \(made.all)") }
    }

    func tearDown() async {
      _ = try? await Shell.bash(
        """
        for n in \(server) \(worker); do for p in $(ip netns pids $n); do kill -TERM $p; done; done
        for i in $(seq 100); do [ -z "$(ip netns pids \(server))$(ip netns pids \(worker))" ] && break; sleep 0.1; done
        for n in \(server) \(worker); do for p in $(ip netns pids $n); do kill -9 $p; done; ip netns del $n; done
        """)
    }
  }

  @Test(
    "join by token, deploy, call and logs; a link down for 10 s replaces pods and nothing runs twice",
    .timeLimit(.minutes(4)))
  func twoMachines() async throws {
    let folder = try TemporaryFolder("apus-two")
    let link = Link()
    do {
      try await link.setUp()
      try await scenario(folder, link)
    } catch {
      await link.tearDown()
      throw error
    }
    await link.tearDown()
  }

  private func scenario(_ folder: TemporaryFolder, _ link: Link) async throws {
    let (home, net) = (folder.path, link.net)
    let environment = ["APUS_KUBECONFIG": home + "/s/kubeconfig", "APUS_DATA": home + "/s"]
    @Sendable func inServer(_ line: String) async throws -> Shell.Result {
      try await Shell.bash("ip netns exec \(link.server) \(line)", in: home, environment: environment)
    }
    _ = try await Shell.bash(
      "\(Shell.detached("ip netns exec \(link.server) setsid \(TestCluster.apus) server --data \(home)/s --listen \(net).1 --insecure-http", output: "s.log"))",
      in: home)
    let up = await eventually(within: .seconds(30)) { FileManager.default.fileExists(atPath: home + "/s/kubeconfig") }
    try #require(up, "the server came up; see \(home)/s.log")
    let token = try await inServer("\(TestCluster.apus) token create --ttl 1h")
    try token.output.write(toFile: home + "/token", atomically: true, encoding: .utf8)
    for name in ["w1", "w2"] {
      // The first as the tour types it; it listens on its address towards the server.
      _ = try await Shell.bash(
        Shell.detached(
          "ip netns exec \(link.worker) setsid \(TestCluster.apus) worker --name \(name) --data \(home)/\(name) "
            + "--join https://\(net).1:6440 --token-file token"
            + (name == "w1" ? "" : " --listen \(net).2 --port 6442"),
          output: "\(name).log"),
        in: home)
    }
    let joined = try await eventually(within: .seconds(30)) {
      try await inServer("\(TestCluster.apus) get nodes").output.split(separator: "\n").count { $0.contains(" Ready") }
        == 2
    }
    let logs = try await Shell.bash("tail -n 20 s.log w1.log w2.log", in: home).output
    try #require(joined, "\(logs)")
    try FileManager.default.createDirectory(atPath: home + "/far", withIntermediateDirectories: true)
    try "def handle(event, context):\n    print('far line')\n    return 'far ' + event.text\n".write(
      toFile: home + "/far/handler.py", atomically: true, encoding: .utf8)
    try TestCluster.manifest("far", "runtime: python\n  handler: handler.py\n  public: true\n  scale: {min: 2}").write(
      toFile: home + "/far/function.yaml", atomically: true, encoding: .utf8)
    let deployed = try await inServer("\(TestCluster.apus) deploy far")
    try #require(deployed.status == 0, "\(deployed.all)")
    #expect(try await inServer("curl -s -d x http://\(net).1:8080/function/far").output == "far x")
    let logged = try await eventually(within: .seconds(30)) {
      try await inServer("\(TestCluster.apus) logs far").output.contains("far line")
    }
    #expect(logged)
    try await gateway(folder, link, inServer)
    let before = try await pods(inServer)
    _ = try await Shell.bash("ip -n \(link.worker) link set vw\(link.id) down")
    let lost = try await eventually(within: .seconds(30)) {
      try await inServer("\(TestCluster.apus) get events").output.contains("NodeLost")
    }
    #expect(lost)
    _ = try await Shell.bash("sleep 7; ip -n \(link.worker) link set vw\(link.id) up")
    let healed = try await eventually(within: .seconds(30)) {
      try await inServer("curl -s -m 5 -d y http://\(net).1:8080/function/far").output == "far y"
    }
    let healing = try await Shell.bash("tail -n 20 s.log w1.log", in: home).output
    #expect(healed, "\(healing)")
    let after = try await pods(inServer)
    #expect(after.isDisjoint(with: before), "pods that were declared lost run again: \(before) \(after)")
  }

  /// A gateway of its own process on the worker's machine: joins by token, reaches pods on both, hides what is private.
  private func gateway(
    _ folder: TemporaryFolder, _ link: Link, _ inServer: @Sendable (String) async throws -> Shell.Result
  ) async throws {
    let (home, net) = (folder.path, link.net)
    let token = try await inServer("\(TestCluster.apus) token create --for gateway")
    try token.output.write(toFile: home + "/gateway-token", atomically: true, encoding: .utf8)
    _ = try await Shell.bash(
      Shell.detached(
        "ip netns exec \(link.server) setsid \(TestCluster.apus) gateway --name edge --data \(home)/g --gateway-port 8090 "
          + "--admin-port 8092 --server https://\(net).1:6440 --token-file gateway-token", output: "g.log"), in: home)
    let answers = try await eventually(within: .seconds(20)) {
      try await inServer("curl -s -m 5 -d z http://127.0.0.1:8090/function/far").output == "far z"
    }
    let said = try await Shell.bash("tail -n 20 g.log", in: home).output
    #expect(answers, "\(said)")
    let logged = try await eventually(within: .seconds(30)) {
      try await inServer("\(TestCluster.apus) logs 'function:far AND stream:access' --platform").output.split(
        separator: "\n"
      )
      .count >= 2
    }
    #expect(logged, "calls through both gateways are in the log")
    let hidden = try await inServer("curl -s -o /dev/null -w '%{http_code}' http://\(net).1:8080/function/near")
    #expect(hidden.output == "404")
  }

  private func pods(_ inServer: @Sendable (String) async throws -> Shell.Result) async throws -> Set<String> {
    let running = try await inServer("\(TestCluster.apus) get pods -o json")
    let names = try await Shell.run(
      "/usr/bin/jq", ["-r", ".items[] | select(.status.phase == \"Running\") | .metadata.name"], input: running.output)
    return Set(names.output.split(separator: "\n").map(String.init))
  }
}
