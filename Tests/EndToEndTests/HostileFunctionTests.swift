import Foundation
import Testing

/// Hostile code in functions of a real cluster, deployed and called as anybody's, with a neighbour that is open to all.
@Suite("Hostile functions")
struct HostileFunctionTests {
  /// A runtime's way to run the probes: the words of a request are their arguments.
  private static let hosts: [(runtime: String, file: String, code: String, spec: String)] = [
    (
      "exec", "run.sh",
      "#!/bin/sh\nread -r words\nexec ./hostile $words </dev/null\n",
      "  command: [/bin/sh, run.sh]\n"
    ),
    (
      "lambda", "bootstrap",
      """
      #!/usr/bin/env python3
      import os, subprocess, urllib.request
      api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/"
      while True:
          with urllib.request.urlopen(api + "invocation/next") as event:
              id, words = event.headers["Lambda-Runtime-Aws-Request-Id"], event.read().decode().split()
          told = subprocess.run(["./hostile", *words], stdin=subprocess.DEVNULL, capture_output=True)
          urllib.request.urlopen(api + f"invocation/{id}/response", told.stdout)

      """, ""
    ),
    (
      "python", "handler.py",
      """
      import subprocess
      def handle(event, context):
          words = event.text.split()
          return subprocess.run(["/function/hostile", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout

      """, "  handler: handler.py\n"
    ),
    (
      "node", "handler.mjs",
      """
      import { spawnSync } from 'node:child_process';
      export function handle(event) {
        const words = event.text.trim().split(/\\s+/);
        return spawnSync('/function/hostile', words, { stdio: ['ignore', 'pipe', 'inherit'] }).stdout.toString();
      }

      """, "  handler: handler.mjs\n"
    ),
  ]

  /// A pod that offers all it can to everybody, and answers with the port it offers.
  private static let neighbour = """
    import subprocess
    target = subprocess.Popen(["/function/hostile", "target", "apus-neighbour"], stdout=subprocess.PIPE, text=True)
    port = target.stdout.readline().strip()
    def handle(event, context):
        return port

    """

  /// Makes a function of some code and the probes.
  private func deploy(
    _ cluster: TestCluster, _ name: String, runtime: String, file: String, code: String, spec: String
  ) async throws {
    try cluster.write("\(name)/\(file)", code)
    try cluster.write(
      "\(name)/function.yaml",
      TestCluster.manifest(
        name, "runtime: \(runtime)\n\(spec)  timeout: 60s\n  resources: {memory: 128Mi, pids: 48}"))
    let copied = try await cluster.bash("install hostile \(name)/hostile && chmod +x \(name)/\(file)")
    try #require(copied.status == 0, "\(copied.all)")
    let made = try await cluster.apus("deploy", name)
    try #require(made.status == 0, "\(made.all)")
  }

  @Test("hostile code in a pod of a real cluster gets nowhere", .timeLimit(.minutes(5)))
  func hostile() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      try cluster.write("secret.txt", "host only")
      let built = try await cluster.bash(
        "cc -O1 -static -o hostile \(TestCluster.root)/Tests/Probes/hostile.c && chmod 755 . && chmod 644 secret.txt")
      try #require(built.status == 0, "\(built.all)")
      try await deploy(
        cluster, "open-to-all", runtime: "python", file: "handler.py", code: Self.neighbour,
        spec: "  handler: handler.py\n  scale: {min: 1, max: 1}\n")
      for host in Self.hosts {
        try await deploy(
          cluster, "hostile-\(host.runtime)", runtime: host.runtime, file: host.file, code: host.code, spec: host.spec)
      }
      let api = cluster.api.split(separator: ":").last ?? "6440"
      for host in Self.hosts {
        // A process of the host offers as much under another name, while the probes look for it.
        let answer = try await cluster.bash(
          """
          ./hostile target apus-host >/dev/null & other=$!
          trap 'kill $other; wait $other' EXIT
          port=$(curl -sf \(cluster.url("open-to-all"))) || exit 1
          pid=$(pgrep -f '^/function/hostile target apus-neighbour' | head -1); [ -n "$pid" ] || exit 1
          curl -s --data "\(getpid()) \(api) \(cluster.work)/secret.txt apus-host $pid $port apus-neighbour" \
            \(cluster.url("hostile-\(host.runtime)"))
          """)
        let lines = answer.output.split(separator: "\n")
        let open = lines.filter { $0.contains(" open") }
        #expect(lines.count { $0.contains(" blocked") } >= 100, "\(host.runtime): \(answer.all)")
        #expect(open.isEmpty, "\(host.runtime): \(open.joined(separator: "\n"))")
      }
      #expect(try await cluster.bash("cat secret.txt").output == "host only")
    }
  }
}
