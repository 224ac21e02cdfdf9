import Foundation
import Testing

/// What a wrong step gets: a clear error, no effect, and a cluster that goes on.
@Suite("Bad input")
struct BadInputTests {
  /// Ten broken manifests and what the error must say.
  static let manifests: [(String, String, String)] = [
    ("quantity", "runtime: python\n  handler: h.py\n  resources: {memory: 128MB}", "128Mi"),
    ("unknown-field", "runtime: python\n  handler: h.py\n  tiemout: 3s", "timeout"),
    ("runtime", "runtime: pyton\n  handler: h.py", "python"),
    ("no-handler", "runtime: python", "spec.handler"),
    ("no-command", "runtime: exec", "spec.command"),
    ("escape", "runtime: python\n  handler: ../h.py", "leaves the package"),
    ("range", "runtime: python\n  handler: h.py\n  concurrency: 0", "out of range"),
    ("duration", "runtime: python\n  handler: h.py\n  timeout: 30", "spec.timeout"),
    ("env", "runtime: python\n  handler: h.py\n  env: {APUS_X: y}", "set by the platform"),
    ("min-max", "runtime: python\n  handler: h.py\n  scale: {min: 5, max: 2}", "spec.scale.min"),
  ]

  @Test("manifests, packages, names and tokens", .timeLimit(.minutes(5)))
  func clearErrors() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      for (name, spec, hint) in Self.manifests {
        try cluster.write("\(name)/h.py", "def handle(event, context):\n    return 'x'\n")
        try cluster.write("\(name)/function.yaml", TestCluster.manifest(name, spec))
        let result = try await cluster.apus("deploy", name)
        #expect(result.status == 1, "\(name): \(result.all)")
        #expect(
          result.errors.contains(hint) && result.errors.contains("\(name)/function.yaml:"), "\(name): \(result.all)")
      }
      try cluster.write("text/function.yaml", "apiVersion: [\n")
      #expect(try await cluster.apus("deploy", "text").errors.contains("text/function.yaml:"))
      let left = try await cluster.bash("apus get functions -o json | jq '.items | length'")
      #expect(left.output == "0\n", "\(left.all)")
      try cluster.write("links/h.py", "def handle(event, context):\n    return 'x'\n")
      try cluster.write("links/function.yaml", TestCluster.manifest("links", "runtime: python\n  handler: h.py"))
      _ = try await cluster.bash("ln -s /etc/passwd links/outside")
      let links = try await cluster.apus("deploy", "links")
      #expect(links.status == 1 && links.errors.contains("outside"), "\(links.all)")
      let refused = try await cluster.bash("curl -s -k -H 'Authorization: Bearer nonsense' \(cluster.api)/api/v1/nodes")
      #expect(refused.output.contains("\"code\":401"), "\(refused.all)")
      let old = try await cluster.bash(
        "kubectl --kubeconfig \(cluster.data)/kubeconfig --cache-dir kube get functions -o name")
      #expect(old.status == 0, "\(old.all)")
      let usage = try await cluster.apus("scale")
      #expect(usage.status == 2, "\(usage.all)")
      let second = try await Shell.run(TestCluster.apus, ["up", "--data", cluster.data])
      #expect(second.status == 0 && second.output.contains("already up"), "\(second.all)")
    }
  }

  @Test("functions that misbehave fail alone and say why", .timeLimit(.minutes(4)))
  func misbehaviour() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let exits = try await cluster.deployPython(
        "exits", "import sys\nprint('about to leave', file=sys.stderr)\nsys.exit(3)\n")
      #expect(exits.status == 1 && exits.all.contains("about to leave"), "\(exits.all)")
      try cluster.write("deaf/run.sh", "#!/bin/sh\nsleep 60\n")
      try cluster.write(
        "deaf/function.yaml",
        TestCluster.manifest("deaf", "runtime: binary\n  command: [/bin/sh, run.sh]\n  probes: {startup: 300ms}"))
      let deaf = try await cluster.apus("deploy", "deaf")
      #expect(deaf.status == 1, "\(deaf.all)")
      let code = """
        import os, time
        def handle(event, context):
            what = event.text
            if what == "print":
                for i in range(100000):
                    print("x" * 1000)
            elif what == "fork":
                for i in range(10000):
                    if os.fork() == 0:
                        time.sleep(30)
            elif what == "eat":
                data = []
                while True:
                    data.append(bytearray(1 << 20))
            elif what == "sleep":
                time.sleep(60)
            elif what == "die":
                os._exit(7)
            return "fine"

        """
      // What must end by its own fault has time for it: on a busy machine even dying of hunger takes a while.
      for (name, timeout) in [("slow", "2s"), ("rogue", "60s")] {
        let deployed = try await cluster.deployPython(
          name, code, spec: "  timeout: \(timeout)\n  resources: {memory: 64Mi, pids: 32}\n")
        try #require(deployed.status == 0, "\(deployed.all)")
      }
      func expect(_ function: String, _ what: String, _ answers: String...) async throws {
        let text = try await cluster.bash("curl -s -w ' %{http_code}' -d \(what) \(cluster.url(function))").output
        #expect(answers.contains { text.contains($0) }, "\(function), \(what): \(text)")
      }
      try await expect("slow", "nothing", "fine 200")
      try await expect("slow", "sleep", "function_timeout")
      try await expect("rogue", "eat", "pod_crashed")
      try await expect("rogue", "die", "pod_crashed")
      try await expect("rogue", "fork", " 500", " 502")
      try await expect("slow", "print", "fine 200", "function_timeout")
      try await expect("rogue", "nothing", "fine 200")
      let events = try await cluster.apus("get", "events")
      #expect(events.output.contains("OOMKilled"), "\(events.all)")
    }
  }
}
