import ClusterTestSupport
import Foundation
import Testing

/// Functions with a way out, on a real cluster beside another machine.
@Suite("Egress")
struct EgressTests {
  /// Does what the body says: a URL is fetched, `tcp HOST PORT` connected to; answers what came or why not.
  private static let caller = """
    import os, socket, urllib.request, urllib.error

    def handle(event, context):
        words = event.body.decode().split()
        try:
            if words[0] == 'tcp':
                with socket.create_connection((words[1], int(words[2])), timeout=5) as s:
                    return s.recv(200)
            if words[0] == 'name':
                return socket.gethostbyname(words[1])
            url = words[0].replace('GATEWAY', os.environ.get('APUS_GATEWAY', 'no-gateway'))
            request = urllib.request.Request(url, data=b' '.join(w.encode() for w in words[1:]) or None)
            request.add_header('X-Call-Id', event.headers.get('x-call-id', ''))
            request.add_header('X-Apus-Caller', 'default/liar')
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            return 'HTTP %d %s' % (error.code, error.read().decode())
        except Exception as error:
            return 'failed ' + repr(error)

    """

  /// Says who called it, by which call.
  private static let callee = """
    def handle(event, context):
        return 'called by %s in %s' % (event.headers.get('x-apus-caller'), event.headers.get('x-call-id'))

    """

  /// Calls itself without end.
  private static let circle = """
    import os, urllib.request, urllib.error

    def handle(event, context):
        try:
            with urllib.request.urlopen(os.environ['APUS_GATEWAY'] + '/function/circle', timeout=25) as answer:
                return 'deeper ' + answer.read().decode()
        except urllib.error.HTTPError as error:
            return 'ended by %d %s' % (error.code, error.read().decode())

    """

  private static let farServer = TestCluster.root + "/Tests/Probes/far_server.py"

  @Test(
    "cluster: functions of the namespace by name, with the caller's name, and a circle ends", .timeLimit(.minutes(4)))
  func cluster() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      for (name, code, spec) in [
        ("asker", Self.caller, "  egress: cluster\n"), ("lonely", Self.caller, ""),
        ("closed", Self.callee, "  auth: token\n"),
        ("circle", Self.circle, "  egress: cluster\n  scale: {max: 30}\n"),
      ] {
        let made = try await cluster.deployPython(name, code, spec: spec)
        try #require(made.status == 0, "\(made.all)")
      }
      func ask(_ name: String, _ text: String) async throws -> String {
        try await cluster.bash("curl -s -m 60 -H 'X-Call-Id: chain-7' -d '\(text)' \(cluster.url(name))").output
      }
      #expect(try await ask("asker", "GATEWAY/function/closed") == "called by default/asker in chain-7")
      #expect(try await ask("asker", "GATEWAY/function/closed.default/path") == "called by default/asker in chain-7")
      let foreign = try await ask("asker", "GATEWAY/function/closed.other")
      #expect(foreign.hasPrefix("HTTP 403") && foreign.contains("namespace"), "\(foreign)")
      #expect(try await ask("asker", "GATEWAY/function/missing").hasPrefix("HTTP 404"))
      #expect(try await ask("asker", "tcp 1.1.1.1 80").contains("Network is unreachable"))
      #expect(try await ask("lonely", "http://127.0.0.1:6442/function/closed").contains("refused"))
      let ended = try await ask("circle", "x")
      #expect(ended.contains("ended by 508") && ended.contains("call_loop"), "\(ended)")
      #expect(ended.components(separatedBy: "deeper").count == 17, "\(ended)")
      let described = try await cluster.apus("describe", "function", "asker").output
      #expect(described.contains("cluster: its pods call functions of the namespace"), "\(described)")
      let wrong = try await cluster.deployPython("wrong", Self.callee, spec: "  egress: everything\n")
      #expect(wrong.status != 0 && wrong.all.contains("egress") && wrong.all.contains("internet"), "\(wrong.all)")
    }
  }

  @Test(
    "internet: another machine is reached from every runtime, this one is not, and nothing is left",
    .timeLimit(.minutes(4)))
  func internet() async throws {
    try await FarNetwork.with(server: Self.farServer) { far in
      var data = ""
      try await TestCluster.with(workers: 1, flags: ["--egress-allow", far.range]) { cluster in
        data = cluster.data
        let spec = "  egress: internet\n  scale: {max: 3}\n"
        let made = try await cluster.deployPython("asker", Self.caller, spec: spec)
        try #require(made.status == 0, "\(made.all)")
        let callee = try await cluster.deployPython("closed", Self.callee, spec: "  auth: token\n")
        try #require(callee.status == 0, "\(callee.all)")
        try await shell(cluster, far)
        @Sendable func ask(_ text: String) async throws -> String {
          try await cluster.bash("curl -s -m 60 -d '\(text)' \(cluster.url("asker"))").output
        }
        let own = cluster.gateway.split(separator: ":").last.map(String.init) ?? ""
        for round in ["from a pod made ahead", "from nothing"] {
          #expect(try await ask("tcp \(far.address) \(far.port)") == "far \(far.near)", "\(round)")
          #expect(try await ask("GATEWAY/function/closed").hasPrefix("called by default/asker"), "\(round)")
          for hidden in [far.near, "127.0.0.1", "192.0.0.1", "192.0.0.3"] {
            #expect(try await ask("tcp \(hidden) \(own)").hasPrefix("failed"), "\(round): \(hidden)")
          }
          #expect(try await ask("tcp 169.254.169.254 80").contains("No route to host"), "\(round)")
          if round == "from nothing" { break }
          // A variable that the interpreter reads at its start keeps it from a pod made ahead.
          let again = try await cluster.deployPython(
            "asker", Self.caller, spec: spec + "  env: {PYTHONHASHSEED: '1'}\n")
          try #require(again.status == 0, "\(again.all)")
        }
        let node = try await cluster.apus("describe", "node", "worker-1").output
        #expect(node.contains("none, cluster, internet") && node.contains("pods may reach the internet"), "\(node)")
        try await killed(cluster, ask: { try await ask("tcp \(far.address) \(far.port)") }, far)
      }
      let left = try await Shell.bash("pgrep -fa 'apus-egress .*\(far.range)|\(data)' | grep -v 'bash -c'; exit 0")
        .output
      #expect(left.isEmpty, "\(left)")
    }
  }

  /// A program of the shell, by the exec runtime.
  private func shell(_ cluster: TestCluster, _ far: FarNetwork) async throws {
    try cluster.write(
      "sheller/function.yaml",
      TestCluster.manifest("sheller", "runtime: exec\n  command: [/bin/bash, /function/ask.sh]\n  egress: internet\n"))
    try cluster.write("sheller/ask.sh", "read -r a p; exec 9<>/dev/tcp/$a/$p && head -c 100 <&9\n")
    let made = try await cluster.apus("deploy", "sheller")
    try #require(made.status == 0, "\(made.all)")
    let answer = try await cluster.bash(
      "curl -s -m 30 -d '\(far.address) \(far.port)' \(cluster.url("sheller"))"
    ).output
    #expect(answer == "far \(far.near)")
  }

  /// What carries a pod's packets dies with the worker, and its own death is the pod's.
  private func killed(_ cluster: TestCluster, ask: @escaping @Sendable () async throws -> String, _ far: FarNetwork)
    async throws
  {
    let processes = "pgrep -f '^/runtime/apus-egress \(far.range)'"
    let before = try await cluster.bash(processes).output.split(separator: "\n")
    #expect(!before.isEmpty)
    _ = try await cluster.bash("kill -9 \(before.joined(separator: " "))")
    let back = try await eventually(within: .seconds(20)) { try await ask() == "far \(far.near)" }
    #expect(back, "the pod was started again with a way out")
    _ = try await cluster.bash("pkill -9 -f 'apus worker --name worker-1 --data \(cluster.data)'")
    let again = try await eventually(within: .seconds(30)) { try await ask() == "far \(far.near)" }
    #expect(again, "the next worker's pods have one too")
    let now = try await cluster.bash(processes).output.split(separator: "\n")
    #expect(Set(now).isDisjoint(with: before) && now.count <= 2, "\(now)")
  }
}
