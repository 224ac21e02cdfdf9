import ClusterTestSupport
import Foundation
import Testing

/// What lasts, or is large: WebSockets, events, gigabytes, a hundred streams at once; seconds in `make test`, minutes and
/// gigabytes in `make soak AREA=stream`.
@Suite("Streams", .serialized)
struct StreamTests {
  private static let probes = TestCluster.root + "/Tests/Probes"
  /// Bytes of one transfer.
  private static let large: Int64 = Soak.runs ? 5 << 30 : 256 << 20
  /// MiB by which the gateway's resident memory may grow while such a transfer passes.
  private static let growthMax = 32.0

  /// What `stream_client.py` saw.
  private struct Transfer: Decodable {
    let bytes: Int64
    let seconds: Double
    let rssMiB: [Double]?
  }

  private struct Events: Decodable {
    let events: Int
    let lateMostMs: Double
  }

  /// Deploys `stream_server.py`.
  private func deployStreams(_ cluster: TestCluster) async throws {
    let code = try String(contentsOfFile: Self.probes + "/stream_server.py", encoding: .utf8)
    try cluster.write("streams/stream_server.py", code)
    let spec = """
      runtime: binary
        command: ["python3", "stream_server.py"]
        concurrency: 128
        maxBody: 6Gi
        timeout: 900s
        scale: {max: 1}

      """
    try cluster.write("streams/function.yaml", TestCluster.manifest("streams", spec))
    let made = try await cluster.apus("deploy", "streams")
    try #require(made.status == 0, "\(made.all)")
  }

  @Test(
    "a WebSocket carries texts, bytes, pieces and mebibytes both ways, and outlives the function's timeout",
    .timeLimit(.minutes(5)), arguments: [[], ["--tls"]])
  func webSocket(flags: [String]) async throws {
    try await TestCluster.with(workers: 1, flags: flags) { cluster in
      let sample = TestCluster.root + "/functions/samples/websocket-echo"
      let made = try await cluster.bash("cp -r \(sample) . && echo '  timeout: 5s' >> websocket-echo/function.yaml")
      try #require(made.status == 0, "\(made.all)")
      let deployed = try await cluster.apus("deploy", "websocket-echo")
      try #require(deployed.status == 0, "\(deployed.all)")
      let spoken = try await cluster.bash(
        "python3 \(Self.probes)/websocket_client.py \(cluster.url("websocket-echo")) --silence 6")
      #expect(spoken.status == 0, "\(spoken.all)")
      let plain = try await cluster.bash("curl -sk -o /dev/null -w '%{http_code}' \(cluster.url("websocket-echo"))")
      #expect(plain.output == "426")
      // Its slots are free again: the tunnels ended with their clients.
      let free = try await eventually { try await cluster.metric("apus_gateway_in_flight", "websocket-echo") == 0 }
      #expect(free)
    }
  }

  @Test("events arrive as they are sent, none late and none lost", .timeLimit(.minutes(60)))
  func events() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      try await deployStreams(cluster)
      // The longest a call may last is 15 minutes.
      let seconds = Soak.minutes.map { min(Int($0 * 60), 14 * 60) }
      let (count, pause) = seconds.map { ($0, "1") } ?? (30, "0.1")
      let listened = try await cluster.bash(
        "python3 \(Self.probes)/stream_client.py events \(cluster.url("streams")) --count \(count) --pause \(pause)",
        limit: 1000)
      try #require(listened.status == 0, "\(listened.all)")
      print("stream: events \(listened.output)", terminator: "")
      let seen = try JSONDecoder().decode(Events.self, from: Data(listened.output.utf8))
      #expect(seen.events == count && seen.lateMostMs < 1000, "\(listened.output)")
    }
  }

  @Test("gigabytes pass up and down through a gateway whose memory stays as it is", .timeLimit(.minutes(30)))
  func constantMemory() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      try await deployStreams(cluster)
      try await Self.withGateway(of: cluster) { url, pid in
        let small = 32 << 20
        for (what, bytes, options) in [
          ("upload", Int(Self.large), ""), ("upload", Int(Self.large), "--chunked"),
          ("download", Int(Self.large), ""), ("download", Int(Self.large), "--chunked"),
          // A reader that pauses: what it does not take may not pile up in the gateway.
          ("upload", small, "--pause 0.3 --every 4000000"), ("download", small, "--pause 0.3 --every 4000000"),
        ] {
          let line = "\(what) \(url)/function/streams --bytes \(bytes) \(options)"
          let done = try await cluster.bash(
            "python3 \(Self.probes)/stream_client.py \(line) --pid \(pid)", limit: 600)
          try #require(done.status == 0, "\(line): \(done.all)")
          print("stream: \(what) \(options) \(done.output)", terminator: "")
          let seen = try JSONDecoder().decode(Transfer.self, from: Data(done.output.utf8))
          let memory = try #require(seen.rssMiB)
          #expect(seen.bytes == bytes && memory[1] - memory[0] < Self.growthMax, "\(line): \(done.output)")
        }
      }
    }
  }

  /// A gateway in a process of its own: its URL and process id.
  private static func withGateway(
    of cluster: TestCluster, _ body: (_ url: String, _ pid: String) async throws -> Void
  ) async throws {
    let home = cluster.folder.path
    let free = "python3 -c 'import socket; s=socket.socket(); s.bind((\"127.0.0.1\",0)); print(s.getsockname()[1])'"
    let port = try await cluster.bash(free).output.trimmingCharacters(in: .whitespacesAndNewlines)
    let command =
      "setsid \(TestCluster.apus) gateway --name streams --data \(home)/g --gateway-port \(port) --admin-port 0 "
      + "--server \(cluster.api) --token-file \(home)/gateway-token"
    _ = try await cluster.bash(
      "apus token create --for gateway > gateway-token; " + Shell.detached(command, output: "g.log"))
    let running = "pgrep -f '[a]pus gateway --name streams --data \(home)/g '"
    do {
      let listens = try await eventually(within: .seconds(20)) {
        try await cluster.bash("curl -sf http://127.0.0.1:\(port)/function/streams").status == 0
      }
      let said = try await cluster.bash("tail -n 20 g.log").output
      try #require(listens, "\(said)")
      let pid = try await cluster.bash(running).output.trimmingCharacters(in: .whitespacesAndNewlines)
      try await body("http://127.0.0.1:\(port)", pid)
    } catch {
      _ = try await cluster.bash("kill -KILL $(\(running))")
      throw error
    }
    let ended = try await cluster.bash("kill -TERM $(\(running)); while \(running); do sleep 0.1; done")
    #expect(ended.status == 0, "\(ended.all)")
  }

  @Test(
    "curl's Expect: 100-continue costs no second, and what is too large is refused before it is sent",
    .timeLimit(.minutes(5)))
  func expectContinue() async throws {
    try await TestCluster.with(workers: 1, flags: ["--tls"]) { cluster in
      try await deployStreams(cluster)
      let small = try await cluster.deployPython(
        "small", "def handle(event, context):\n    return 'taken'\n", spec: "  maxBody: 1Mi\n")
      try #require(small.status == 0, "\(small.all)")
      _ = try await cluster.bash("head -c 100000 /dev/urandom > body; head -c 3000000 /dev/urandom > large")
      for version in ["--http1.1", "--http2"] {
        let curl =
          "curl -sk \(version) -H 'Expect: 100-continue' -o answer -w '%{http_code} %{time_total} %{size_upload}'"
        let sum = try await cluster.bash("sha256sum body").output.prefix(64)
        var times: [Double] = []
        for _ in 0..<5 {
          let sent = try await cluster.bash("\(curl) -T body \(cluster.url("streams"))/sink")
          let words = sent.output.split(separator: " ")
          #expect(words.first == "200" && words.last == "100000", "\(version): \(sent.all)")
          #expect(try await cluster.bash("cat answer").output.contains(sum))
          times.append(words.count > 1 ? Double(words[1]) ?? 9 : 9)
        }
        // curl waits a second for a 100 that does not come.
        #expect((times.min() ?? 9) < 0.5, "\(version): \(times)")
        let refused = try await cluster.bash("\(curl) -T large \(cluster.url("small"))")
        let words = refused.output.split(separator: " ").compactMap { Double($0) }
        // Over HTTP/2 curl sends a window of the body before it looks.
        #expect(
          words.count == 3 && words[0] == 413 && words[2] <= (version == "--http2" ? 65_535 : 0), "\(refused.all)")
        #expect(try await cluster.bash("cat answer").output.contains("body_too_large"))
      }
    }
  }

  @Test("a hundred streams at once on each connection lose nothing, over TLS and without", .timeLimit(.minutes(30)))
  func hundredStreams() async throws {
    for flags in [["--tls"], []] {
      try await TestCluster.with(workers: 1, flags: flags) { cluster in
        let made = try await cluster.deployPython(
          "echo", "def handle(event, context):\n    return event.text\n", spec: "  concurrency: 128\n")
        try #require(made.status == 0, "\(made.all)")
        for round in 0..<Soak.rounds(2) {
          let requests = 4000
          let load = try await cluster.bash("h2load -n \(requests) -c 4 -m 100 \(cluster.url("echo"))")
          #expect(
            load.output.contains("\(requests) succeeded, 0 failed, 0 errored, 0 timeout"), "\(round): \(load.all)")
          #expect(load.output.contains("Application protocol: h2"), "\(load.output)")
          let asked = try await cluster.bash("nghttp -nsy -m 100 \(cluster.url("echo"))?n=1")
          #expect(asked.output.components(separatedBy: " 200 ").count - 1 == 100, "\(round): \(asked.all)")
        }
        #expect(try await cluster.metric("apus_gateway_errors_total") == 0)
      }
    }
  }
}
