import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// What many clients saw.
private final class Tally: Sendable {
  struct Counts {
    var right = 0
    var wrong: [String] = []
    var revisions: [String: Int] = [:]
  }

  let counts = Mutex(Counts())

  func add(_ answer: Answer, nonce: String) {
    counts.withLock { counts in
      if answer.status == 200, answer.complete, answer.text == nonce {
        counts.right += 1
        counts.revisions[answer.header("x-revision") ?? "?", default: 0] += 1
      } else {
        counts.wrong.append("\(answer.status) \(answer.text.prefix(200)) for \(nonce)")
      }
    }
  }
}

@Suite struct LifeTests {
  /// `clients` connections, each sending its requests one after the other, every body a nonce.
  private func load(
    _ clients: TestClients, connections: Int, each: Int, function: String = "echo", path: String = "", tally: Tally
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<connections {
        group.addTask {
          let connection = try await clients.connect()
          for round in 0..<each {
            let nonce = "nonce-\(number)-\(round)"
            let answer = try await connection.request(.POST, "/function/\(function)\(path)", body: Array(nonce.utf8))
            tally.add(answer, nonce: nonce)
          }
          await connection.close()
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func `a redeploy under load loses nothing`() async throws {
    try await withGateway([makeRoute(concurrency: 4, max: 4)]) { (platform, _, clients) async throws in
      let tally = Tally()
      async let traffic: Void = load(clients, connections: 16, each: 200, tally: tally)
      for number in 2...6 {
        let target = (number - 1) * 500
        _ = await eventually(within: .seconds(20)) { tally.counts.withLock { $0.right + $0.wrong.count } >= target }
        await platform.redeploy("echo", "echo-0000\(number)")
      }
      try await traffic
      let counts = tally.counts.withLock { $0 }
      #expect(counts.wrong == [])
      #expect(counts.right == 3200)
      #expect(counts.revisions.count >= 3, "the load was over before the redeploys: \(counts.revisions)")
      #expect(platform.state.withLock { $0.cutShort } == 0)
      let drained = await eventually {
        platform.state.withLock { $0.endpoints.values.allSatisfy { $0.state != .draining } }
      }
      #expect(drained)
    }
  }

  @Test func `scaling to zero and back under many clients loses nothing and respects the concurrency`() async throws {
    let route = makeRoute(concurrency: 2, max: 6, idleAfter: TimeSpan(milliseconds: 20))
    try await withGateway([route]) { (platform, _, clients) async throws in
      let tally = Tally()
      for _ in 0..<8 {
        try await load(clients, connections: 24, each: 12, tally: tally)
        let zero = await eventually { platform.state.withLock { $0.endpoints.isEmpty } }
        #expect(zero, "pods are left although nothing came")
      }
      #expect(tally.counts.withLock { $0.wrong } == [])
      #expect(tally.counts.withLock { $0.right } == 8 * 24 * 12)
      #expect(platform.state.withLock { $0.cutShort } == 0)
      #expect(platform.state.withLock { $0.nextPod } >= 8)
    }
  }

  @Test func `no pod ever holds more calls than its concurrency`() async throws {
    try await withGateway([makeRoute(concurrency: 3, max: 2)]) { (platform, _, clients) async throws in
      let tally = Tally()
      try await load(clients, connections: 20, each: 10, path: "/sleep?ms=3", tally: tally)
      #expect(tally.counts.withLock { $0.right } == 200)
      let most = platform.state.withLock { $0.pods.values.map { $0.counts.withLock { $0.mostRunning } } }
      #expect(most.count <= 2 && most.allSatisfy { $0 <= 3 }, "\(most)")
    }
  }

  @Test func `pods that die under load take only the calls inside with them`() async throws {
    try await withGateway([makeRoute(concurrency: 2, max: 4)]) { (platform, _, clients) async throws in
      let tally = Tally()
      async let traffic: Void = load(clients, connections: 12, each: 60, path: "/sleep?ms=1", tally: tally)
      for _ in 0..<4 {
        let target = tally.counts.withLock { $0.right } + 100
        _ = await eventually { tally.counts.withLock { $0.right } >= target }
        guard let endpoint = platform.state.withLock({ $0.endpoints.values.first { $0.state == .ready } }) else {
          continue
        }
        let pod = platform.state.withLock { $0.pods.removeValue(forKey: endpoint.uid) }
        await pod?.kill()
        var gone = endpoint
        gone.state = .gone
        platform.publish(gone)
      }
      try await traffic
      let counts = tally.counts.withLock { $0 }
      #expect(counts.wrong.count <= 8, "at most concurrency × deaths: \(counts.wrong)")
      #expect(counts.wrong.allSatisfy { $0.contains("pod_crashed") }, "\(counts.wrong)")
      #expect(counts.right + counts.wrong.count == 720)
    }
  }

  @Test func `a lost feed changes nothing, and a new snapshot replaces the table`() async throws {
    try await withGateway([makeRoute()]) { (platform, gateway, clients) async throws in
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      platform.state.withLock { $0.refusesFeed = true }
      platform.cutFeeds()
      for _ in 0..<20 { #expect(try await clients.request(.GET, "/function/echo").status == 200) }
      #expect(gateway.ready)
      platform.state.withLock { state in
        state.functions = ["default/other": makeRoute("other", revision: "other-00001")]
        state.refusesFeed = false
      }
      let switched = await eventually { (try? await clients.request(.GET, "/function/other").status) == 200 }
      #expect(switched)
      #expect(try await clients.request(.GET, "/function/echo").status == 404)
    }
  }

  @Test func `every call leaves one access record, and the usage is reported`() async throws {
    try await withGateway([makeRoute()]) { (platform, gateway, clients) async throws in
      platform.state.withLock { $0.refusesLogs = true }
      for number in 0..<5 {
        _ = try await clients.request(
          .POST, "/function/echo/x?secret=1", [("x-call-id", "c\(number)")], body: [1, 2, 3])
      }
      _ = try await clients.request(.GET, "/function/echo/die", [("x-call-id", "dead")])
      platform.state.withLock { $0.refusesLogs = false }
      let shipped = await eventually { platform.state.withLock { $0.lines.count } >= 6 }
      #expect(shipped)
      let records = try platform.state.withLock { $0.lines }.map {
        try JSONDecoder().decode(LogRecord.self, from: Data($0))
      }
      #expect(records.map(\.call) == ["c0", "c1", "c2", "c3", "c4", "dead"])
      let first = records[0]
      #expect(
        first.stream == .access && first.level == .info && first.function == "echo" && first.namespace == "default")
      #expect(first.pod == "echo-00001-u1" && first.node == "n1" && first.revision == "echo-00001")
      #expect(first.msg.wholeMatch(of: /POST \/function\/echo\/x 200 \d+\.\dms/) != nil, "\(first.msg)")
      #expect(first.fields["bytes_in"] == .int(3) && first.fields["bytes_out"] == .int(3))
      #expect(first.fields["cold"] == .bool(true))
      #expect(first.fields["cold_ready_ms"] != nil && first.fields["cold_total_ms"] != nil)
      #expect(records[1].fields["cold"] == nil)
      #expect(records[5].level == .error && records[5].fields["code"] == .string("pod_crashed"))
      #expect(platform.state.withLock { $0.sources.first?.hasPrefix("gateway/g1.") } == true)
      let reported = await eventually {
        platform.state.withLock {
          $0.usage.reduce(0) { $0 + $1.calls } == 6 && $0.usage.reduce(0) { $0 + $1.errors } == 1
        }
      }
      #expect(reported)
      #expect(platform.state.withLock { $0.usage.reduce(0) { $0 + $1.coldStarts } } == 1)
      let metrics = gateway.metricsText()
      #expect(metrics.contains("apus_gateway_requests_total{function=\"default/echo\",code=\"2xx\"} 5"))
      #expect(metrics.contains("apus_gateway_errors_total{function=\"default/echo\",reason=\"pod_crashed\"} 1"))
      #expect(metrics.contains("apus_gateway_cold_starts_total{function=\"default/echo\"} 1"))
      for phase in ["queued", "ready", "first_byte"] {
        let labels = "function=\"default/echo\",phase=\"\(phase)\""
        #expect(metrics.contains("apus_gateway_cold_start_seconds_count{\(labels)} 1"), "\(phase)")
        #expect(metrics.contains("apus_gateway_cold_start_seconds_bucket{\(labels),le=\"+Inf\"} 1"), "\(phase)")
      }
    }
  }

  @Test func `a gateway that shuts down lets running calls finish`() async throws {
    let platform = try FakePlatform()
    platform.set(makeRoute())
    try await shutDownGracefully(platform) { clients, shutDown in
      let connection = try await clients.connect()
      let idle = try await clients.connect()
      try await connection.send(head: .POST, "/function/echo", [("content-length", "1")])
      let running = await eventually { platform.pod("u1")?.counts.withLock { $0.running } == 1 }
      #expect(running)
      shutDown()
      #expect(await eventually { !idle.channel.isActive }, "an idle connection is closed when draining begins")
      // Whatever was answered says more than a write that fails.
      try? await connection.send(body: [1])
      try? await connection.sendEnd()
      let answer = try await connection.inbox.next()
      #expect(answer.status == 200 && answer.complete, "\(answer.text)")
      #expect(answer.header("connection") == "close")
    }
    await platform.shutdown()
  }
}
