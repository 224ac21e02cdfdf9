import ClusterTestSupport
import Foundation
import Testing

/// Asynchronous calls on a real cluster: kill -9 of the server loses none that was acknowledged.
@Suite("Async: kill -9 of the server")
struct AsyncCallTests {
  private static let calls = 300
  /// Every tenth call fails whenever it is run.
  private static let failing = 30

  /// Writes one log record a run, and fails when the body says so.
  private static let handler = """
    from apus import Response

    def handle(event, context):
        if event.path != '/run':
            return 'here'
        context.log.info('ran', mark=event.text)
        if event.text.startswith('bad'):
            return Response('broken', 500)
        return 'did ' + event.text
    """

  private struct CallList: Decodable {
    struct Item: Decodable {
      let id: String
      let state: String
      let attempts: Int
      let status: Int?
    }
    let items: [Item]
  }

  private func list(_ cluster: TestCluster) async throws -> [CallList.Item] {
    let shown = try await cluster.apus("calls", "list", "work", "--limit", "1000", "-o", "json")
    guard shown.status == 0 else { return [] }
    return try JSONDecoder().decode(CallList.self, from: Data(shown.output.utf8)).items
  }

  @Test(
    "calls that were acknowledged are all run while the server is killed twice, and dead letters are exact",
    .timeLimit(.minutes(10)))
  func crash() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let made = try await cluster.deployPython("work", Self.handler, spec: "  concurrency: 4\n  scale: {max: 2}\n")
      try #require(made.status == 0, "\(made.all)")
      try cluster.write("send.sh", Self.sender)
      async let sent = cluster.bash("bash send.sh \(Self.calls) \(cluster.gateway)/async-function/work/run", limit: 300)
      for mark in [Self.calls / 4, Self.calls * 3 / 5] {
        let killed = try await cluster.bash(
          """
          until [ "$(wc -l < acked 2>/dev/null || echo 0)" -ge \(mark) ]; do sleep 0.01; done
          kill -9 $(apus status -o json | jq '.processes[] | select(.role == "server") | .pid')
          """, limit: 120)
        try #require(killed.status == 0, "\(killed.all)")
      }
      let done = try await sent
      try #require(done.status == 0, "\(done.all)")
      let settled = try await eventually(within: .seconds(180)) {
        let items = try await list(cluster)
        return items.count >= Self.calls && items.allSatisfy { ["done", "dead"].contains($0.state) }
      }
      let items = try await list(cluster)
      try #require(settled, "\(Dictionary(grouping: items, by: \.state).mapValues(\.count))")
      let known = Dictionary(items.map { ($0.id, $0) }) { one, _ in one }
      for index in 1...Self.calls {
        let bad = index % (Self.calls / Self.failing) == 0
        let item = try #require(known["call-\(index)"], "call-\(index) was acknowledged and is not kept")
        #expect(item.state == (bad ? "dead" : "done"), "call-\(index) is \(item.state)")
        #expect(item.status == (bad ? 500 : 200))
        #expect(bad ? item.attempts == 5 : item.attempts >= 1)
      }
      #expect(items.count { $0.state == "dead" } == Self.failing && items.count == Self.calls)
      try await checkRuns(cluster)
      try await checkTools(cluster)
    }
  }

  /// What the function wrote itself: every call ran, those that always fail five times or more.
  private func checkRuns(_ cluster: TestCluster) async throws {
    let enough = try await eventually(within: .seconds(20)) {
      let found = try await cluster.bash(
        "apus logs --since 1h 'function:work AND msg:ran' -n 100000 -o json | jq -r .call | sort | uniq -c")
      var runs: [String: Int] = [:]
      for line in found.output.split(separator: "\n") {
        let parts = line.split(separator: " ")
        if parts.count == 2 { runs[String(parts[1])] = Int(parts[0]) }
      }
      return (1...Self.calls).allSatisfy { index in
        runs["call-\(index)", default: 0] >= (index % (Self.calls / Self.failing) == 0 ? 5 : 1)
      }
    }
    #expect(enough, "every acknowledged call wrote that it ran")
  }

  private func checkTools(_ cluster: TestCluster) async throws {
    let shown = try await cluster.apus("calls", "show", "call-1")
    #expect(shown.status == 0 && shown.output.contains("did 1\n"), "\(shown.all)")
    let again = try await cluster.bash(
      "curl -s -o /dev/null -w '%{http_code}' -H 'X-Call-Id: call-1' -d x \(cluster.gateway)/async-function/work/run")
    #expect(again.output == "409")
    let retried = try await cluster.apus("calls", "retry", "call-10")
    #expect(retried.status == 0, "\(retried.all)")
    let dead = try await eventually(within: .seconds(60)) {
      try await list(cluster).first { $0.id == "call-10" }?.state == "dead"
    }
    #expect(dead)
    let purged = try await cluster.apus("calls", "purge", "work")
    #expect(purged.output.contains("\(Self.failing) dead letters"), "\(purged.all)")
    #expect(try await list(cluster).count == Self.calls - Self.failing)
  }

  /// Sends every call until it is acknowledged: 202, or 409 when an earlier try was kept and its answer lost.
  private static let sender = """
    send() {
      text=$1
      [ $(( $1 % 10 )) = 0 ] && text=bad-$1
      until case $(curl -s -m 10 -o /dev/null -w '%{http_code}' -H "X-Call-Id: call-$1" -d "$text" "$2") in
        202|409) true ;; *) false ;; esac
      do sleep 0.05; done
      echo "$1" >> acked
    }
    for worker in 0 1 2 3; do
      (i=$((worker + 1)); while [ $i -le "$1" ]; do send $i "$2"; i=$((i + 4)); done) &
    done
    wait
    """
}
