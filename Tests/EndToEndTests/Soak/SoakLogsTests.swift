import ClusterTestSupport
import Foundation
import Testing

/// kill -9 of the server (with its log service) and of the worker, at random under load: every line a worker has taken is
/// found once, as it was written.
@Suite("Logs: kill -9 under load")
struct SoakLogsTests {
  private static let environment = ProcessInfo.processInfo.environment
  /// Whether a binary was named, which is a release build's.
  private static let isRelease = environment["APUS_BIN"]?.isEmpty == false
  /// Functions that write.
  private static let functions = isRelease ? 5 : 4
  /// Lines a second of each: 20,000 of all with a release build; the debug build is far from its limits with 1,000.
  private static let rate = isRelease ? 4000 : 250
  /// Kills of each test, when they were asked for; else it goes by time.
  private static let kills = environment["APUS_SOAK_KILLS"].flatMap { Int($0) }
  /// How long they write, seconds.
  private static var seconds: Int {
    if let kills { return kills * 3 + 20 }
    return Soak.runs ? max(20, Int((Soak.minutes ?? 1) * 60) - 60) : 8
  }

  /// A native program that writes numbered lines, compiled from the benchmark's.
  private func deploy(_ cluster: TestCluster, _ name: String) async throws {
    let made = try await cluster.bash(
      "mkdir -p \(name) && cc -O2 -static -s -o \(name)/server \(TestCluster.root)/Benchmarks/logs/emit.c -lpthread")
    try #require(made.status == 0, "\(made.all)")
    let spec = """
      runtime: binary
        command: ["./server"]
        env: {RATE: "\(Self.rate)", SECONDS: "\(Self.seconds)", PROBE: "100"}
        resources: {memory: 48Mi, cpu: 150m}
        scale: {max: 1, idleAfter: 15m}

      """
    try cluster.write("\(name)/function.yaml", TestCluster.manifest(name, spec))
    let deployed = try await cluster.apus("deploy", name)
    try #require(deployed.status == 0, "\(deployed.all)")
  }

  /// Reads every line of a function once and says what is wrong with it: per pod the numbers 0, 1, 2 … without a gap, each
  /// once, each with its own text, fields in the order and spelling they were written in.
  private static let check = #"""
    import json, re, subprocess, sys

    function, isWhole = sys.argv[1], sys.argv[2] == "whole"
    form = re.compile(
        rb'"msg":"(order paid|probe)","fields":\{"n":(\d+),"at":(\d+),"id":"([\w-]+)",'
        rb'"path":"/api/orders/(\d+)","status":200,"duration_ms":(\d+)\.50\}\}$')
    ends, pods, faults = {}, {}, []
    since = None
    for window in json.loads(sys.argv[3]):
        text = subprocess.run(
            ["apus", "logs", f"function:{function} (\"order paid\" OR probe OR emitted)", "--since", window[0], "--until",
             window[1], "-n", "100000", "-o", "json"], capture_output=True, check=True).stdout
        lines = text.splitlines()
        if len(lines) >= 100_000:
            faults.append("a window of the check was too long")
        for line in lines:
            pod = json.loads(line)["pod"]
            if b'"msg":"emitted"' in line:
                ends[pod] = json.loads(line)["fields"]["lines"]
                continue
            match = form.search(line)
            if not match:
                faults.append(f"not as written: {line[:300]}")
                continue
            number = int(match.group(2))
            right = match.group(4).decode() == f"{function}-{number}" and int(match.group(5)) == number % 977
            if not right or int(match.group(6)) != number % 250 or (match.group(1) == b"probe") != (number % 100 == 0):
                faults.append(f"another line's parts: {line[:300]}")
            pods.setdefault(pod, []).append(number)
    for pod, numbers in pods.items():
        if sorted(numbers) != list(range(len(numbers))):
            twice = len(numbers) - len(set(numbers))
            faults.append(f"{pod}: {len(numbers)} lines, {twice} twice, the highest is {max(numbers)}")
        if isWhole and ends.get(pod) != len(numbers):
            faults.append(f"{pod}: {len(numbers)} lines of {ends.get(pod)} written")
    print(json.dumps({"lines": sum(map(len, pods.values())), "pods": len(pods), "faults": faults[:10]}))
    """#

  private struct Verdict: Decodable {
    var lines: Int
    var pods: Int
    var faults: [String]
  }

  private func verdict(_ cluster: TestCluster, _ name: String, whole: Bool, from: Date) async throws -> Verdict {
    // Half a minute of lines at a time: more are not answered at once.
    let form = ISO8601DateFormatter()
    let windows = stride(from: 0.0, to: Date().timeIntervalSince(from) + 10, by: 10).map { start in
      [form.string(from: from.addingTimeInterval(start)), form.string(from: from.addingTimeInterval(start + 10))]
    }
    let json = String(decoding: try JSONEncoder().encode(windows), as: UTF8.self)
    let ran = try await cluster.bash(
      "python3 check.py \(name) \(whole ? "whole" : "prefix") '\(json)'", limit: 300)
    try #require(ran.status == 0, "\(ran.all)")
    return try JSONDecoder().decode(Verdict.self, from: Data(ran.output.utf8))
  }

  @Test("lines written while the server and its log service are killed are all there, once", .timeLimit(.minutes(60)))
  func server() async throws {
    var random = SeededGenerator(seed: Soak.seed("logs, server killed"))
    try await TestCluster.with(workers: 1) { cluster in
      try cluster.write("check.py", Self.check)
      let names = (1...Self.functions).map { "emit-\($0)" }
      for name in names { try await deploy(cluster, name) }
      let begun = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
      for name in names { _ = try await cluster.bash("curl -s \(cluster.url(name))") }
      let end = begun.addingTimeInterval(Double(Self.seconds))
      var kills = 0
      // On a crowded machine a server is hardly up before the lines end: two kills there are all the same.
      while kills < 2 || (Date() < end && kills < Self.kills ?? .max) {
        let pause = Int.random(in: 300_000...(Soak.runs ? 3_000_000 : 2_000_000), using: &random)
        let killed = try await cluster.bash(
          "sleep \(String(format: "%.6f", Double(pause) / 1e6)); pkill -9 -f '[a]pus server --data \(cluster.data)'")
        if killed.status == 0 { kills += 1 }
      }
      let back = try await eventually(within: .seconds(90 + max(0, end.timeIntervalSinceNow))) {
        try await cluster.bash("apus logs -A msg:emitted --since 1h -o json | wc -l").output
          .trimmingCharacters(in: .whitespacesAndNewlines) == "\(Self.functions)"
      }
      #expect(back, "every function's last line came")
      var lines = 0
      for name in names {
        let found = try await verdict(cluster, name, whole: true, from: begun)
        #expect(found.faults.isEmpty, "seed \(random.seed), \(name): \(found.faults)")
        #expect(found.lines == Self.rate * Self.seconds, "seed \(random.seed), \(name): \(found.lines) lines")
        lines += found.lines
      }
      print(
        "logs: \(kills) kills of the server, \(lines) lines at \(Self.rate * Self.functions) a second, all there once")
      #expect(kills >= Self.kills ?? 2)
    }
  }

  @Test("of the lines of a worker that is killed all it had taken are there, once", .timeLimit(.minutes(60)))
  func worker() async throws {
    var random = SeededGenerator(seed: Soak.seed("logs, worker killed"))
    try await TestCluster.with(workers: 1) { cluster in
      try cluster.write("check.py", Self.check)
      let names = (1...Self.functions).map { "emit-\($0)" }
      for name in names { try await deploy(cluster, name) }
      let begun = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
      var kills = 0
      let end = begun.addingTimeInterval(Double(Self.seconds))
      while Self.kills.map({ kills < $0 }) ?? (Date() < end || kills < 2) {
        // Pods of a worker end with it: each turn has new ones, which write from 0 on.
        for name in names { _ = try await cluster.bash("curl -s -m 20 \(cluster.url(name))") }
        let pause = Int.random(in: 200_000...2_000_000, using: &random)
        let both = Bool.random(using: &random) ? "pkill -9 -f '[a]pus server --data \(cluster.data)'; " : ""
        let killed = try await cluster.bash(
          "sleep \(String(format: "%.6f", Double(pause) / 1e6)); \(both)"
            + "pkill -9 -f '[a]pus worker --name worker-1 --data \(cluster.data)'")
        if killed.status == 0 { kills += 1 }
        let ready = try await eventually(within: .seconds(40)) {
          try await cluster.bash("apus get nodes | grep -c ' Ready'").output == "1\n"
        }
        try #require(ready, "the worker came back")
      }
      var (lines, pods) = (0, 0)
      for name in names {
        // What the last worker left in its spool is sent by the next: two looks that find the same are the end of it.
        var found = try await verdict(cluster, name, whole: false, from: begun)
        for _ in 0..<20 {
          try await Task.sleep(for: .milliseconds(500))
          let again = try await verdict(cluster, name, whole: false, from: begun)
          if again.lines == found.lines { break }
          found = again
        }
        #expect(found.faults.isEmpty, "seed \(random.seed), \(name): \(found.faults)")
        lines += found.lines
        pods += found.pods
      }
      print("logs: \(kills) kills of the worker, \(lines) lines of \(pods) pods, each pod's without a gap and once")
      #expect(lines > 0)
    }
  }
}
