import ClusterTestSupport
import Foundation
import Testing

/// kill -9 at random moments, from a printed seed: nothing acknowledged is lost, nothing is there twice.
@Suite("Crash: kill -9 at random moments")
struct SoakCrashTests {
  /// Kills of each kind: a few in `make test`, twenty in a soak.
  private static var kills: Int { Soak.runs ? 20 : 3 }

  @Test(
    "a server killed during writes and deploys keeps every acknowledged object and uses no revision number twice",
    .timeLimit(.minutes(60)))
  func server() async throws {
    var random = SeededGenerator(seed: Soak.seed("server crash"))
    try await TestCluster.with(workers: 1) { cluster in
      let first = try await cluster.deployPython("steady", "def handle(event, context):\n    return 'v0'\n")
      try #require(first.status == 0, "\(first.all)")
      try cluster.write("writer.sh", Self.writer)
      var numbers: Set<String> = ["steady-00001"]
      var inWrite = 0
      for round in 1...Self.kills {
        async let writers = cluster.bash("for w in 1 2 3 4; do bash writer.sh \(round) $w & done; wait")
        let moment = Int.random(in: 50_000...700_000, using: &random)
        async let kill = cluster.bash(
          """
          until [ -s sent ]; do sleep 0.01; done; sleep 0.\(String(format: "%06d", moment))
          echo $(( $(wc -l < sent) - $(wc -l < done) )); pkill -9 -f 'apus server --data \(cluster.data)'
          """)
        let made = try await cluster.deployPython("steady", "def handle(event, context):\n    return 'v\(round)'\n")
        if try await Int(kill.output.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0 > 0 { inWrite += 1 }
        _ = try await writers
        let back = try await eventually(within: .seconds(20)) {
          try await cluster.apus("get", "functions", "-o", "json").status == 0
        }
        try #require(back, "the server came back")
        if made.status == 0, let name = made.output.firstMatch(of: /steady-\d{5}/).map({ String($0.output) }) {
          #expect(numbers.insert(name).inserted, "revision \(name) was used twice (seed \(random.seed))")
          let kept = try await cluster.bash("apus get revisions -o json | jq -r '.items[].metadata.name'")
          #expect(kept.output.contains(name), "acknowledged \(name) is gone (seed \(random.seed)): \(kept.all)")
        }
        let lost = try await cluster.bash(
          "apus get namespaces -o json | jq -r '.items[].metadata.name' | sort > there; sort acked | comm -23 - there")
        #expect(lost.status == 0 && lost.output.isEmpty, "acknowledged and gone (seed \(random.seed)): \(lost.all)")
      }
      let acked = try await cluster.bash("wc -l < acked").output.trimmingCharacters(in: .whitespacesAndNewlines)
      print("server crash: \(Self.kills) kills, \(inWrite) with a write open, \(acked) objects acknowledged, none lost")
      #expect(inWrite * 2 >= Self.kills, "at least half of the kills hit an open write")
      #expect((Int(acked) ?? 0) >= Self.kills)
      let settled = try await cluster.deployPython("steady", "def handle(event, context):\n    return 'end'\n")
      #expect(settled.status == 0, "\(settled.all)")
      let answer = try await cluster.bash("curl -si \(cluster.url("steady"))").output
      #expect(answer.hasSuffix("\r\n\r\nend"), "\(answer)\n\(settled.all)")
    }
  }

  /// Creates namespaces one after the other until the server is gone: what was sent, what ended, what was acknowledged.
  private static let writer = """
    token=$(sed -n 's/.*token: "\\(.*\\)"/\\1/p' "$APUS_KUBECONFIG")
    server=$(sed -n 's/.*server: "\\(.*\\)"/\\1/p' "$APUS_KUBECONFIG")
    for i in $(seq 400); do
      name=n-$1-$2-$i
      echo $name >> sent
      code=$(curl -sk -m 5 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" \
        -H 'Content-Type: application/json' $server/api/v1/namespaces \
        -d "{\\"apiVersion\\":\\"v1\\",\\"kind\\":\\"Namespace\\",\\"metadata\\":{\\"name\\":\\"$name\\"}}")
      [ "$code" = 201 ] && echo $name >> acked
      [ "$code" = 000 ] && exit
      echo $name >> done
    done
    """

  /// What one pod left: the numbers found, and up to which number it certainly wrote.
  private struct Trace {
    var found: [Int] = []
    var written = 0
  }

  @Test(
    "a worker killed during logging leaves a gap-free prefix of each pod's lines, each once", .timeLimit(.minutes(60)))
  func logs() async throws {
    var random = SeededGenerator(seed: Soak.seed("worker crash"))
    try await TestCluster.with(workers: 1) { cluster in
      var most = 0
      for round in 1...Self.kills {
        let made = try await cluster.deployPython("count-\(round)", Self.counting, spec: "  scale: {max: 1}\n")
        try #require(made.status == 0, "\(made.all)")
        let moment = Int.random(in: 0...500_000, using: &random)
        async let kill = cluster.bash(
          """
          until [ -s told-\(round) ]; do sleep 0.01; done; sleep 0.\(String(format: "%06d", moment))
          pkill -9 -f 'apus worker --name worker-1 --data \(cluster.data)'
          """)
        // The answer streams how far the function is: what it named there was written before.
        let told = try await cluster.bash(
          "curl -sN -d x -o told-\(round) \(cluster.url("count-\(round)")); cat told-\(round)"
        ).output
        _ = try await kill
        let ready = try await eventually(within: .seconds(30)) {
          try await cluster.bash("apus get nodes | grep -c ' Ready'").output == "1\n"
        }
        try #require(ready)
        let seen = try await settledLines(cluster, "count-\(round)")
        let found = seen.split(separator: "\n").compactMap { Int($0) }
        let written = told.split(separator: "\n").last.flatMap { Int($0) } ?? 0
        #expect(written > 0, "the function wrote before the kill")
        #expect(
          found.sorted() == Array(0..<found.count), "seed \(random.seed): \(found.count) lines are no prefix, each once"
        )
        most = max(most, written - found.count)
        #expect((written - found.count) * Self.frameBytes <= 128 << 10, "more is missing than a pipe and a buffer")
      }
      print("worker crash: \(Self.kills) kills, at most \(most) lines missing at an end")
    }
  }

  /// Bytes of one numbered line in the pipe, at least.
  private static let frameBytes = 60

  private static let counting = """
    import time
    def handle(event, context):
        def run():
            for i in range(3000):
                print(f'{{"msg":"n","i":{i}}}')
                if i % 4 == 3:
                    yield f"{i + 1}\\n"
                    time.sleep(0.001)
        return run()

    """

  /// A function's numbers once two looks in a row found the same.
  private func settledLines(_ cluster: TestCluster, _ function: String) async throws -> String {
    var seen = "nothing yet"
    for _ in 0..<50 {
      let now = try await cluster.bash(
        "apus logs --since 1h 'function:\(function) AND msg:n' -n 100000 -o json | jq -c '.fields.i'")
      if now.output == seen, !seen.isEmpty { break }
      seen = now.output
      try await Task.sleep(for: .milliseconds(200))
    }
    return seen
  }
}
