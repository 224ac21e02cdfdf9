import ClusterTestSupport
import Foundation
import Logging
import PodSandbox
import Testing

/// Containers as anybody builds them, from a real registry, through the whole cluster.
@Suite("Images", .timeLimit(.minutes(5)))
struct ImageTests {
  /// Debian's docker-registry on a free port, and images made in a folder.
  private struct Registry {
    let folder: String
    let host: String
    let pid: String

    static func start(_ cluster: TestCluster) async throws -> Registry {
      let folder = cluster.work
      for _ in 0..<5 {
        let port = Int.random(in: 20_000..<32_000)
        try cluster.write(
          "registry.yml",
          """
          version: 0.1
          log: {level: warn}
          storage: {filesystem: {rootdirectory: \(folder)/registry}}
          http: {addr: "127.0.0.1:\(port)"}
          """)
        let pid = try await cluster.bash("docker-registry serve registry.yml > registry.log 2>&1 & echo $!").output
          .trimmingCharacters(in: .whitespacesAndNewlines)
        let up = try await eventually(within: .seconds(10)) {
          try await cluster.bash("curl -sf http://127.0.0.1:\(port)/v2/ > /dev/null").status == 0
        }
        if up { return Registry(folder: folder, host: "127.0.0.1:\(port)", pid: pid) }
        _ = try await cluster.bash("kill \(pid)")
      }
      throw ClusterFailure("docker-registry does not start: \(try await cluster.bash("cat registry.log").output)")
    }

    /// Makes an image of folders and pushes it with skopeo; `flags` are skopeo's.
    func push(_ cluster: TestCluster, _ name: String, config: String, layers: [String], flags: String = "") async throws
    {
      let script = TestCluster.root + "/Tests/Probes/oci_image.py"
      let made = try await cluster.bash(
        """
        set -e
        python3 \(script) layout \(name) '\(config)' \(layers.joined(separator: " "))
        skopeo copy --quiet --insecure-policy --dest-tls-verify=false \(flags) oci:layout:\(name) docker://\(host)/team/\(name)
        """)
      guard made.status == 0 else { throw ClusterFailure("\(name) cannot be pushed: \(made.all)") }
    }
  }

  private func with(_ flags: [String] = [], _ body: (TestCluster, Registry) async throws -> Void) async throws {
    try await TestCluster.with(workers: 1, flags: flags) { cluster in
      let registry = try await Registry.start(cluster)
      var failure: (any Error)?
      do { try await body(cluster, registry) } catch { failure = error }
      _ = try await cluster.bash("kill \(registry.pid); while kill -0 \(registry.pid) 2>/dev/null; do sleep 0.05; done")
      if let failure { throw failure }
    }
  }

  /// The root of an interpreter as this host has it, which an image takes as its lowest layer.
  private func base(_ kind: RootKind, _ cluster: TestCluster) async throws -> String {
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    return try await RootBuilder(folder: cluster.work + "/roots", logger: logger).root(for: RootRequest(kind: kind))
      .path
  }

  private func pushStatic(_ cluster: TestCluster, _ registry: Registry, tag: String = "1", page: String = "hello")
    async throws
  {
    try cluster.write("page-\(tag)/srv/index.html", page)
    let compiled = try await cluster.bash(
      "mkdir -p server/bin && [ -x server/bin/server ] || cc -static -O1 -o server/bin/server \(TestCluster.root)/Tests/Probes/static_server.c"
    )
    guard compiled.status == 0 else { throw ClusterFailure(compiled.all) }
    let config =
      #"{"Entrypoint":["/bin/server"],"WorkingDir":"/srv","User":"1000:50","StopSignal":"SIGQUIT","Env":["FROM=image"]}"#
    try await registry.push(cluster, "static:\(tag)", config: config, layers: ["server", "1000:page-\(tag)"])
  }

  @Test("a static server, a Python app and a Node app deploy from a local registry and answer")
  func three() async throws {
    try await with { cluster, registry in
      try await pushStatic(cluster, registry)
      try cluster.write(
        "python/app/app.py",
        """
        import http.server, json, os, sys
        import helper

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                said = json.dumps({"greeting": helper.greet(body.decode()), "service": os.environ["K_SERVICE"],
                                   "argv": sys.argv[1:], "cwd": os.getcwd()}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
            do_GET = do_POST

        http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
        """)
      try cluster.write("python/app/helper.py", "def greet(name):\n    return f'Hello, {name}!'\n")
      try await registry.push(
        cluster, "python-app:1",
        config: #"{"Entrypoint":["python3","app.py"],"Cmd":["--quiet"],"WorkingDir":"/app","User":"nobody"}"#,
        layers: [try await base(.python, cluster), try passwd(cluster), "python"], flags: "--format v2s2")
      try cluster.write(
        "node/srv/server.js",
        """
        const http = require('http')
        http.createServer((request, response) => {
          let body = ''
          request.on('data', (chunk) => { body += chunk })
          request.on('end', () => response.end(`node says ${body} as ${process.env.WHO}\\n`))
        }).listen(process.env.PORT)
        """)
      try await registry.push(
        cluster, "node-app:2", config: #"{"Cmd":["node","/srv/server.js"],"Env":["WHO=image","PATH=/usr/bin"]}"#,
        layers: [try await base(.node, cluster), "node"])

      for (image, name) in [("static:1", ""), ("python-app:1", ""), ("node-app:2", "web")] {
        let done = try await cluster.bash("apus deploy --image \(registry.host)/team/\(image) \(name) --env WHO=spec")
        #expect(done.status == 0 && done.output.contains("@sha256:"), "\(done.all)")
      }
      #expect(try await cluster.apus("invoke", "-q", "static").output == "hello")
      #expect(try await cluster.apus("invoke", "-q", "static/-/write/srv/x").output == "Read-only file system\n")
      let who = try await cluster.apus("invoke", "-q", "static/-/who").output.split(separator: " ").map(String.init)
      #expect(who.count == 3 && (Int(who[0]) ?? 0) % 65536 == (362_800_000 + 1000) % 65536 && who[2] == "/srv\n")
      let variables = try await cluster.apus("invoke", "-q", "static/-/env").output
      for line in [
        "PORT=8080", "K_SERVICE=static", "K_REVISION=static-00001", "K_CONFIGURATION=static", "FROM=image", "WHO=spec",
      ] {
        #expect(variables.split(separator: "\n").contains { $0 == line }, "\(line)")
      }
      let python = try await cluster.apus("invoke", "-q", "python-app", "-d", "Ada").output
      #expect(python == #"{"greeting": "Hello, Ada!", "service": "python-app", "argv": ["--quiet"], "cwd": "/app"}"#)
      #expect(try await cluster.apus("invoke", "-q", "web", "-d", "hi").output == "node says hi as spec\n")
      let described = try await cluster.apus("describe", "function", "static").output
      #expect(
        described.contains("Image:") && described.contains("\(registry.host)/team/static:1")
          && described.contains("sha256:"))
    }
  }

  private func passwd(_ cluster: TestCluster) throws -> String {
    try cluster.write("users/etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    return "users"
  }

  @Test("an image scales to zero and back, takes a new tag, survives its worker and the loss of its registry")
  func life() async throws {
    try await with { cluster, registry in
      try await pushStatic(cluster, registry, page: "one")
      try await pushStatic(cluster, registry, tag: "2", page: "two")
      try cluster.write(
        "shop/function.yaml",
        TestCluster.manifest(
          "shop",
          "runtime: image\n  image: \(registry.host)/team/static:1\n  rootWritable: true\n  scale: {idleAfter: 3s}"))
      let deployed = try await cluster.apus("deploy", "shop")
      try #require(deployed.status == 0, "\(deployed.all)")
      #expect(try await cluster.apus("invoke", "-q", "shop").output == "one")
      // Both within the pod's life, also on a busy machine.
      let kept = try await cluster.bash("curl -s \(cluster.url("shop"))/-/write/srv/note \(cluster.url("shop"))/note")
      #expect(kept.output == "written\nx", "\(kept.all)")
      let gone = try await eventually {
        try await cluster.bash("apus get pods -o json | jq '.items | length'").output == "0\n"
      }
      #expect(gone, "it scales to zero")
      let logs = try await cluster.apus("logs", "shop", "--since", "10m").output
      #expect(logs.contains("asked to end by signal 03"), "the image's stop signal: \(logs)")
      #expect(try await cluster.bash("apus invoke -q shop/note").output == "not found\n", "a new pod has a new root")

      let next = try await cluster.apus("deploy", "--image", "\(registry.host)/team/static:2", "shop")
      try #require(next.status == 0, "\(next.all)")
      #expect(try await cluster.apus("invoke", "-q", "shop").output == "two")
      let spec = try await cluster.bash("apus get functions -o json | jq -r '.items[0].spec | .image, .rootWritable'")
      #expect(spec.output.contains("static:2@sha256:") && spec.output.contains("true"))

      // The registry is away, and the worker is killed: what it has is enough.
      _ = try await cluster.bash("kill \(registry.pid)")
      _ = try await cluster.bash(
        "pkill -9 -f -- 'apus worker.*\(cluster.data)' || pkill -9 -f -- '\(cluster.data).*worker'")
      let back = try await eventually { try await cluster.apus("invoke", "-q", "shop").output == "two" }
      #expect(back, "it answers after its worker was killed")
      let layers = try await cluster.bash("ls -A \(cluster.data)/workers/worker-1/images/layers | wc -l")
      #expect(layers.output == "3\n", "the server, and a page for each tag; nothing half")
    }
  }

  /// Connects to where it is told, or calls another function, and answers what came.
  private static let caller = """
    import http.server, os, socket, urllib.request

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            place = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            try:
                if place.startswith("/"):
                    with urllib.request.urlopen(os.environ["APUS_GATEWAY"] + place, timeout=10) as answer:
                        said = answer.read()
                else:
                    host, port = place.split()
                    with socket.create_connection((host, int(port)), timeout=5) as connection:
                        said = connection.recv(200)
            except Exception as error:
                said = f"failed {error!r}".encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said)

    http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
    """

  @Test("an image reaches what its spec asks for, and nothing else")
  func egress() async throws {
    try await FarNetwork.with(server: TestCluster.root + "/Tests/Probes/far_server.py") { far in
      try await with(["--egress-allow", far.range]) { cluster, registry in
        try cluster.write("caller/app/app.py", Self.caller)
        try await registry.push(
          cluster, "caller:1", config: #"{"Entrypoint":["python3","/app/app.py"],"User":"1000"}"#,
          layers: [try await base(.python, cluster), "caller"])
        try await pushStatic(cluster, registry)
        let page = try await cluster.apus("deploy", "--image", "\(registry.host)/team/static:1", "page")
        try #require(page.status == 0, "\(page.all)")
        func ask(_ name: String, _ place: String) async throws -> String {
          try await cluster.apus("invoke", "-q", name, "-d", place).output
        }
        for egress in ["none", "cluster", "internet"] {
          let spec = "runtime: image\n  image: \(registry.host)/team/caller:1\n  egress: \(egress)"
          try cluster.write("\(egress)/function.yaml", TestCluster.manifest(egress, spec))
          let deployed = try await cluster.apus("deploy", egress)
          try #require(deployed.status == 0, "\(deployed.all)")
          let far = try await ask(egress, "\(far.address) \(far.port)")
          #expect(egress == "internet" ? far.hasPrefix("far ") : far.hasPrefix("failed"), "\(egress): \(far)")
          let near = try await ask(egress, "/function/page")
          #expect(egress == "none" ? near.hasPrefix("failed") : near == "hello", "\(egress): \(near)")
          #expect(try await ask(egress, "169.254.169.254 80").hasPrefix("failed"), "\(egress)")
        }
      }
    }
  }

  @Test("what cannot be deployed or started says why")
  func reasons() async throws {
    try await with { cluster, registry in
      try await pushStatic(cluster, registry)
      let other = ["amd64": "arm64"]["amd64"] ?? ""
      try await registry.push(
        cluster, "elsewhere:1", config: #"{"architecture":"\#(other)","Cmd":["/bin/server"]}"#, layers: ["server"])
      try await registry.push(cluster, "silent:1", config: #"{}"#, layers: ["server"])
      try await registry.push(cluster, "missing:1", config: #"{"Cmd":["/bin/none"]}"#, layers: ["server"])
      try await registry.push(
        cluster, "deaf:1", config: #"{"Cmd":["/bin/server"],"Env":["IGNORED=1"],"WorkingDir":"/"}"#, layers: ["server"])
      func said(_ arguments: String) async throws -> String {
        let done = try await cluster.bash("apus deploy \(arguments)")
        #expect(done.status != 0, "\(arguments): \(done.all)")
        return done.all
      }
      let host = "--image \(registry.host)/team"
      #expect(try await said("\(host)/none:1").contains("there is no image"))
      #expect(try await said("--image 127.0.0.1:1/team/x:1").contains("cannot be reached"))
      #expect(try await said("\(host)/static:1@sha256:12").contains("is not an image"))
      #expect(try await said("\(host)/silent:1").contains("names no program to run"))
      #expect(try await said("\(host)/elsewhere:1").contains("is not for linux/amd64, only for linux/arm64"))
      #expect(try await said("\(host)/missing:1").contains("/bin/none was not found in the pod"))
      try cluster.write(
        "deaf/function.yaml",
        TestCluster.manifest(
          "deaf",
          "runtime: image\n  image: \(registry.host)/team/deaf:1\n  command: [/bin/server]\n  args: [x]\n"
            + "  probes: {startup: 300ms, readiness: {path: /none, period: 100ms}}"))
      #expect(try await said("deaf").contains("its readiness probe did not pass"), "a probe that never answers")
      let plain = try await cluster.bash(
        #"printf '{"apiVersion":"apus.dev/v1","kind":"Function","metadata":{"name":"t"},"spec":{"runtime":"image","image":"r.example/a:1"}}' | kubectl --kubeconfig \#(cluster.data)/kubeconfig create --validate=false -f -"#
      )
      #expect(plain.status != 0 && plain.all.contains("has no digest"), "\(plain.all)")
    }
  }
}
