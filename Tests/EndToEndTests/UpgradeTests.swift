import ClusterTestSupport
import Foundation
import Synchronization
import Testing

/// Upgrades of a gateway of its own process while many clients call through it.
@Suite("Upgrade")
struct UpgradeTests {
  /// What all clients saw.
  private final class Tally: Sendable {
    struct Counts {
      var right = 0
      var wrong: [String] = []
    }
    let counts = Mutex(Counts())
    let stop = Mutex(false)

    var right: Int { counts.withLock { $0.right } }
    var ended: Bool { stop.withLock { $0 } }
    func end() { stop.withLock { $0 = true } }

    func add(_ answer: HTTPCalls.Answer, _ nonce: String) {
      counts.withLock {
        if answer.status == 200, answer.body == nonce {
          $0.right += 1
        } else {
          $0.wrong.append("\(answer.status) \(answer.body.prefix(200)) for \(nonce)")
        }
      }
    }

    func add(_ error: any Error, _ nonce: String) { counts.withLock { $0.wrong.append("\(error) for \(nonce)") } }
  }

  /// The processes of one gateway, one after the other.
  private struct Gateways {
    let cluster: TestCluster
    var home: String { cluster.work + "/edge/gateways/edge" }
    func log(_ number: Int) -> String { "\(cluster.work)/gateway-\(number).log" }
    func text(_ number: Int) -> String { (try? String(contentsOfFile: log(number), encoding: .utf8)) ?? "" }

    /// Starts a process; answers its id.
    func start(_ number: Int, _ flags: String, server: String? = nil) async throws -> Int32 {
      let command =
        "\(TestCluster.apus) gateway --name edge --data \(cluster.work)/edge --server \(server ?? cluster.api) "
        + "--gateway-port 0 --admin-port 0 --drain 10s \(flags)"
      let started = try await cluster.bash(Shell.detached(command, output: log(number)) + "\necho $!")
      return try #require(Int32(started.output.trimmingCharacters(in: .whitespacesAndNewlines)), "\(started.all)")
    }

    func says(_ number: Int, _ words: String, within: Duration = .seconds(30)) async -> Bool {
      await eventually(within: within) { text(number).contains(words) }
    }

    func ended(_ pid: Int32) async -> Bool {
      await eventually(within: .seconds(20)) {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return true }
        // One that nobody has reaped yet is over, too.
        return stat.contains(") Z ")
      }
    }

    /// The port from its log.
    func port(_ number: Int) -> String? {
      text(number).firstMatch(of: /address=127\.0\.0\.1:(\d+)/).map { String($0.output.1) }
    }
  }

  private func load(_ port: String, _ tally: Tally, fresh: Bool, clients: Int) async {
    let calls = HTTPCalls(connections: clients)
    await withTaskGroup(of: Void.self) { group in
      for client in 0..<clients {
        group.addTask {
          var round = 0
          while !tally.ended {
            let nonce = "\(fresh ? "fresh" : "kept")-\(client)-\(round)"
            round += 1
            let function = client % 4 == 0 ? "single" : "echo"
            do {
              let answer = try await calls.post(
                "http://127.0.0.1:\(port)/function/\(function)", nonce,
                headers: fresh ? [("connection", "close")] : [])
              tally.add(answer, nonce)
            } catch { tally.add(error, nonce) }
          }
        }
      }
    }
    await calls.close()
  }

  private func deploy(_ cluster: TestCluster) async throws {
    let echo = try await cluster.deployPython(
      "echo", "def handle(event, context):\n    return event.text\n",
      spec: "  concurrency: 16\n  scale: {min: 1, max: 2}\n")
    try #require(echo.status == 0, "\(echo.all)")
    // Two calls at once in one pod would see each other.
    let single = try await cluster.deployPython(
      "single",
      """
      import time
      inside = 0
      def handle(event, context):
          global inside
          inside += 1
          time.sleep(0.002)
          alone = inside == 1
          inside -= 1
          return event.text if alone else "two at once"

      """, spec: "  concurrency: 1\n  scale: {min: 1, max: 3}\n")
    try #require(single.status == 0, "\(single.all)")
  }

  @Test(
    "five upgrades, and one whose new process is killed before it is ready, lose no call and refuse no connection",
    .timeLimit(.minutes(5)))
  func upgrades() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      try await deploy(cluster)
      let gateways = Gateways(cluster: cluster)
      let token = try await cluster.apus("token", "create", "--for", "gateway")
      try cluster.write("token", token.output)
      var running = try await gateways.start(0, "--token-file \(cluster.work)/token")
      do {
        try await scenario(cluster, gateways, &running)
      } catch {
        kill(running, SIGKILL)
        throw error
      }
      kill(running, SIGTERM)
      #expect(await gateways.ended(running))
      let left = try FileManager.default.contentsOfDirectory(atPath: gateways.home).filter { $0.contains("sock") }
      #expect(left == [], "a socket is left behind")
    }
  }

  private func scenario(_ cluster: TestCluster, _ gateways: Gateways, _ running: inout Int32) async throws {
    try #require(await gateways.says(0, "gateway listens"), "\(gateways.text(0))")
    let port = try #require(gateways.port(0))
    let tally = Tally()
    let traffic = Task {
      await withTaskGroup(of: Void.self) { group in
        group.addTask { await load(port, tally, fresh: false, clients: 16) }
        group.addTask { await load(port, tally, fresh: true, clients: 8) }
      }
    }
    func more(_ count: Int) async -> Bool {
      let goal = tally.right + count
      return await eventually(within: .seconds(30)) { tally.right >= goal }
    }
    defer { tally.end() }
    #expect(await more(200))
    // One that never becomes ready, because it hears no routes, and is killed.
    let hopeless = try await gateways.start(9, "--take-over", server: "https://127.0.0.1:1")
    #expect(await gateways.says(9, "taking over"), "\(gateways.text(9))")
    #expect(await more(100))
    // Meanwhile another one is refused, and told why.
    let other = try await gateways.start(8, "--take-over")
    #expect(await gateways.says(8, "process \(hopeless)"), "\(gateways.text(8))")
    #expect(await gateways.ended(other))
    kill(hopeless, SIGKILL)
    #expect(await gateways.says(0, "ended before it was ready"), "\(gateways.text(0))")
    #expect(await more(100))
    for number in 1...5 {
      let next: Int32
      if number == 3 {
        // The way a service manager does it.
        kill(running, SIGUSR2)
        #expect(await gateways.says(2, "successor started"), "\(gateways.text(2))")
        let words = gateways.text(2).firstMatch(of: /process=(\d+).*successor started/)
        next = try #require(words.flatMap { Int32($0.output.1) })
        try FileManager.default.createSymbolicLink(atPath: gateways.log(3), withDestinationPath: gateways.log(2))
      } else {
        next = try await gateways.start(number, "--take-over")
      }
      let before = number == 4 ? 2 : number - 1
      #expect(
        await gateways.says(before, "gateway was taken over"), "\(gateways.text(before)) \(gateways.text(number))")
      #expect(await gateways.ended(running), "the old process did not end")
      running = next
      #expect(await more(200), "no calls after upgrade \(number): \(tally.counts.withLock { $0.wrong.prefix(5) })")
    }
    tally.end()
    await traffic.value
    let counts = tally.counts.withLock { $0 }
    #expect(counts.wrong.isEmpty, "\(counts.wrong.count) of \(counts.right): \(counts.wrong.prefix(10))")
    #expect(counts.right > 1500)
    // Every call is in the log, through whichever process it went. Figures are reports that may get lost on the way.
    @Sendable func number(_ command: String) async throws -> Int {
      Int(try await cluster.bash(command).output.trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1
    }
    let count = "apus logs 'stream:access' --since 1h --stats 'count()' -o json | jq '.[\"count()\"]'"
    let logged = try await eventually { try await number(count) == counts.right }
    let records = try await number(count)
    #expect(logged, "\(counts.right) calls were answered; \(records) are in the log")
    let sum = "apus get functions -o json | jq '[.items[].status.figures.calls] | add'"
    let figures = try await eventually { try await number(sum) * 10 >= counts.right * 8 }
    let shown = try await number(sum)
    #expect(figures && shown <= counts.right, "\(counts.right) calls were answered; the figures say \(shown)")
  }
}
