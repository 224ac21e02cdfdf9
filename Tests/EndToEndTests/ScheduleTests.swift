import ClusterTestSupport
import Foundation
import Testing

/// Schedules on a real cluster.
@Suite("Schedules")
struct ScheduleTests {
  private static let handler = """
    def handle(event, context):
        context.log.info('ran', schedule=event.headers.get('x-apus-schedule'),
                         at=event.headers.get('x-apus-scheduled-time'), text=event.text, method=event.method)
        return 'ok'
    """

  /// The times at which the function says it ran, by the schedule's name.
  private func times(_ cluster: TestCluster, _ schedule: String) async throws -> [String] {
    let found = try await cluster.bash(
      "apus logs --since 1h 'function:tick AND msg:ran' -n 100000 -o json "
        + "| jq -r 'select(.fields.schedule == \"\(schedule)\") | .fields.at'")
    return found.output.split(separator: "\n").map(String.init)
  }

  private func status(_ cluster: TestCluster, _ path: String) async throws -> String {
    try await cluster.bash("apus get function tick -o json | jq -r '.status.schedules[0].\(path)'").output
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }

  @Test(
    "a function runs at its times over HTTPS, is not doubled by a kill of the server, and what passed meanwhile is told",
    .timeLimit(.minutes(4)))
  func everySecond() async throws {
    // Not public, and listened for beyond this machine: the server's own calls come in all the same.
    try await TestCluster.with(workers: 1, flags: ["--tls", "--listen", "0.0.0.0"]) { cluster in
      let made = try await cluster.deployPython(
        "tick", Self.handler,
        spec: "  schedule:\n  - {name: fast, cron: '@every 1s', call: {method: PUT, path: /run, body: hello}}\n")
      try #require(made.status == 0, "\(made.all)")
      let several = try await eventually(within: .seconds(60)) { try await times(cluster, "fast").count >= 3 }
      let listed = try await cluster.apus("calls", "list", "tick")
      try #require(several, "\(listed.all)")
      let line = try await cluster.bash(
        "apus logs 'function:tick AND msg:ran' -n 1 -o json | jq -r '.fields|.text+.method'")
      #expect(line.output.contains("helloPUT"), "\(line.all)")

      let killed = try await cluster.bash(
        "kill -9 $(apus status -o json | jq '.processes[] | select(.role == \"server\") | .pid')")
      #expect(killed.status == 0, "\(killed.all)")
      let before = try await times(cluster, "fast").count
      let goes = try await eventually(within: .seconds(60)) { try await times(cluster, "fast").count >= before + 3 }
      #expect(goes)
      let described = try await cluster.apus("describe", "function", "tick")
      #expect(described.output.contains("Schedule:") && described.output.contains("@every 1s"), "\(described.all)")
      #expect(try await status(cluster, "lastScheduleTime").hasPrefix("20"))
      #expect(try await status(cluster, "nextScheduleTime").hasPrefix("20"))

      let suspended = try await cluster.bash(
        "sed -i 's/{name: fast,/{name: fast, suspend: true,/' tick/function.yaml && apus deploy tick")
      try #require(suspended.status == 0, "\(suspended.all)")
      let stopped = try await eventually(within: .seconds(20)) { try await status(cluster, "suspended") == "true" }
      #expect(stopped)
      // All that was queued has run; then each time was run once, or counted as missed.
      let settled = try await eventually(within: .seconds(60)) {
        let runs = Int(try await status(cluster, "runs")) ?? 0
        return try await Set(times(cluster, "fast")).count == runs
      }
      let runs = Int(try await status(cluster, "runs")) ?? 0
      let missed = Int(try await status(cluster, "missed")) ?? 0
      let ran = try await Set(times(cluster, "fast"))
      try #require(settled, "\(ran.count) of \(runs) ran")
      let seconds = ran.compactMap { try? Date($0, strategy: .iso8601) }.map { Int($0.timeIntervalSince1970) }.sorted()
      let span = (seconds.last ?? 0) - (seconds.first ?? 0) + 1
      #expect(span - runs <= missed && missed <= span - runs + 1, "\(span) seconds, \(runs) runs, \(missed) missed")
      if missed > 0 {
        let told = try await cluster.bash("apus get events -o json | jq -r '.items[].reason'")
        #expect(told.output.contains("ScheduleMissed"), "\(told.all)")
      }
      #expect(try await cluster.metric("apus_schedule_runs_total", "default/tick") >= 3)
    }
  }

  @Test(
    "a result is shown to the token that sent the call, and `invoke --async` with `show --wait` hold together",
    .timeLimit(.minutes(5)))
  func results() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let made = try await cluster.deployPython("echo", "def handle(event, context):\n    return 'did ' + event.text\n")
      try #require(made.status == 0, "\(made.all)")
      let shown = try await cluster.bash("apus calls show $(apus invoke echo --async -d Ada) --wait")
      #expect(shown.status == 0 && shown.output.hasSuffix("did Ada\n"), "\(shown.all)")
      let result = try await cluster.bash(
        """
        place=$(curl -s -o /dev/null -D - -H 'Authorization: Bearer mine' -d Bo \(cluster.gateway)/async-function/echo \
          | tr -d '\\r' | sed -n 's/^Location: //p')
        until [ "$(curl -s -o out -w '%{http_code}' -H 'Authorization: Bearer mine' \(cluster.gateway)$place)" != 202 ]; do
          sleep 0.05; done
        cat out; echo
        curl -s -o /dev/null -w '%{http_code} ' -H 'Authorization: Bearer other' \(cluster.gateway)$place
        curl -s -o /dev/null -w '%{http_code} ' \(cluster.gateway)$place
        apus calls show "${place##*/}" | tail -n 1
        """)
      #expect(result.output == "did Bo\n404 404 did Bo\n", "\(result.all)")
    }
  }
}
