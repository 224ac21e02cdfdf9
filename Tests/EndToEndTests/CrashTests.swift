import ClusterTestSupport
import Foundation
import Testing

/// kill -9 at random moments, from a printed seed: nothing acknowledged is lost, nothing is there twice.
@Suite("Soak: crash")
struct CrashTests {
  private static var rounds: Int {
    let minutes = Double(ProcessInfo.processInfo.environment["APUS_SOAK_MINUTES"] ?? "") ?? 0
    return max(3, Int(minutes * 6))
  }

  @Test(
    "a server killed during deploys keeps every acknowledged object and uses no revision number twice",
    .timeLimit(.minutes(60)))
  func server() async throws {
    var random = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
    print("crash: seed \(random.seed)")
    try await TestCluster.with(workers: 1) { cluster in
      let first = try await cluster.deployPython("steady", "def handle(event, context):\n    return 'v0'\n")
      try #require(first.status == 0, "\(first.all)")
      var numbers: Set<String> = ["steady-00001"]
      for round in 1...Self.rounds {
        let pause = Int.random(in: 0...400_000, using: &random)
        async let kill = cluster.bash(
          "sleep 0.\(String(format: "%06d", pause)); pkill -9 -f 'apus server --data \(cluster.data)'")
        let made = try await cluster.deployPython("steady", "def handle(event, context):\n    return 'v\(round)'\n")
        _ = try await kill
        let back = try await eventually(within: .seconds(20)) {
          try await cluster.apus("get", "functions", "-o", "json").status == 0
        }
        try #require(back, "the server came back")
        if made.status == 0, let name = made.output.firstMatch(of: /steady-\d{5}/).map({ String($0.output) }) {
          #expect(numbers.insert(name).inserted, "revision \(name) was used twice (seed \(random.seed))")
          let kept = try await cluster.bash("apus get revisions -o json | jq -r '.items[].metadata.name'")
          #expect(kept.output.contains(name), "acknowledged \(name) is gone (seed \(random.seed)): \(kept.all)")
        }
      }
      let settled = try await cluster.deployPython("steady", "def handle(event, context):\n    return 'end'\n")
      #expect(settled.status == 0, "\(settled.all)")
      let answer = try await cluster.bash("curl -si \(cluster.url("steady"))").output
      #expect(answer.hasSuffix("\r\n\r\nend"), "\(answer)\n\(settled.all)")
    }
  }

  /// A function's lines once two looks in a row found the same.
  private func settledLines(_ cluster: TestCluster, _ function: String) async throws -> String {
    var seen = "nothing yet"
    for _ in 0..<50 {
      let now = try await cluster.bash(
        "apus logs --since 1h 'function:\(function) AND msg:n' -n 100000 -o json | jq -c '[.pod,.fields.boot,.fields.i]'"
      )
      if now.output == seen { break }
      seen = now.output
      try await Task.sleep(for: .milliseconds(200))
    }
    return seen
  }

  @Test(
    "a worker killed during logging leaves a gap-free prefix of each pod's lines, each once", .timeLimit(.minutes(60)))
  func logs() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let code = """
        import os
        boot = os.urandom(4).hex()
        def handle(event, context):
            for i in range(2000):
                print(f'{{"msg":"n","boot":"{boot}","i":{i}}}')
            return boot

        """
      for round in 1...Self.rounds {
        let made = try await cluster.deployPython("count-\(round)", code, spec: "  scale: {max: 1}\n")
        try #require(made.status == 0, "\(made.all)")
        async let kill = cluster.bash(
          "sleep 0.0\(round % 9)5; pkill -9 -f 'apus worker --name worker-1 --data \(cluster.data)'")
        _ = try await cluster.bash("curl -s -d x \(cluster.url("count-\(round)"))")
        _ = try await kill
        let ready = try await eventually(within: .seconds(20)) {
          try await cluster.bash("apus get nodes | grep -c ' Ready'").output == "1\n"
        }
        try #require(ready)
        let seen = try await settledLines(cluster, "count-\(round)")
        var lines: [String: [Int]] = [:]
        for line in seen.split(separator: "\n") {
          guard let row = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [Any], row.count == 3,
            let pod = row[0] as? String, let boot = row[1] as? String, let number = row[2] as? Int
          else { continue }
          lines["\(pod)/\(boot)", default: []].append(number)
        }
        for (pod, found) in lines {
          #expect(found.sorted() == Array(0..<found.count), "\(pod): \(found.count) lines are no prefix, each once")
        }
      }
    }
  }
}
