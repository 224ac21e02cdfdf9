import ClusterTestSupport
import Crypto
import Foundation
import Synchronization
import Testing

/// Load while everything moves: pods come and go, a function is redeployed, workers are killed. No answer is lost or
/// crossed: each carries a hash of its request's nonce and body and of the revision that made it.
@Suite("Load: nothing lost while everything moves")
struct SoakLoadTests {
  /// How much of everything.
  struct Plan {
    /// Requests of the callers, not counting those that are held during redeploys.
    let requests: Int
    /// Silences after which every function starts from zero.
    let rounds: Int
    let redeploys: Int
    let kills: Int
    /// Calls that are inside pods when a redeploy begins.
    let held: Int
    /// What the gateway's counters must show at the end.
    let leastCold: Double
    let leastQueued: Double

    static let short = Plan(requests: 4000, rounds: 6, redeploys: 2, kills: 1, held: 40, leastCold: 50, leastQueued: 50)
    static let long = Plan(
      requests: 100_000, rounds: 100, redeploys: 5, kills: 2, held: 220, leastCold: 5000, leastQueued: 1000)
  }

  static let callers = 64
  static let functions = 10

  /// What went wrong, and what was seen.
  struct Tally: Sendable {
    var right = 0
    var crashed = 0
    var wrong: [String] = []
    var revisions: Set<String> = []
    var heldAtRedeploy: [Int] = []
  }

  /// What all callers share.
  final class Board: Sendable {
    let tally = Mutex(Tally())
    let left = Atomic(0)
    let cluster: TestCluster
    let calls: HTTPCalls
    let seed: UInt64

    init(_ cluster: TestCluster, seed: UInt64) {
      self.cluster = cluster
      self.seed = seed
      calls = HTTPCalls(connections: 512)
    }
  }

  @Test("every request gets its one right answer, or a 502 that says its worker was killed", .timeLimit(.minutes(60)))
  func load() async throws {
    let plan = Soak.runs ? Plan.long : Plan.short
    let seed = Soak.seed("load")
    try await TestCluster.with(workers: 2) { cluster in
      for index in 0..<Self.functions { try await Self.deploy(cluster, index, version: 1) }
      let board = Board(cluster, seed: seed)
      for round in 0..<plan.rounds {
        board.left.store(plan.requests / plan.rounds, ordering: .relaxed)
        try await Self.play(round, of: plan, board)
        try await Self.silence(cluster)
      }
      await board.calls.close()
      try await Self.judge(plan, board)
    }
  }

  /// One round: all callers at once, and in some rounds a redeploy or a kill in the middle of it.
  private static func play(_ round: Int, of plan: Plan, _ board: Board) async throws {
    func due(_ times: Int, _ offset: Int) -> Int? {
      let every = plan.rounds / times
      return round % every == min(offset, every - 1) && round / every < times ? round / every : nil
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in 0..<callers {
        group.addTask {
          var random = SeededGenerator(seed: board.seed &+ UInt64(round * callers + caller))
          while board.left.subtract(1, ordering: .relaxed).newValue >= 0 {
            await call(Int.random(in: 0..<functions, using: &random), hold: 0, &random, board)
          }
        }
      }
      if let number = due(plan.redeploys, 1) {
        group.addTask { try await redeploy(version: number + 2, holding: plan.held, board) }
      }
      if let number = due(plan.kills, 2) {
        let worker = "worker-\(number % 2 + 1)"
        group.addTask {
          _ = try await board.cluster.bash("pkill -9 -f 'apus worker --name \(worker) --data \(board.cluster.data)'")
        }
      }
      try await group.waitForAll()
    }
  }

  /// Redeploys the first function while so many of its calls are inside pods.
  private static func redeploy(version: Int, holding held: Int, _ board: Board) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<held {
        group.addTask {
          var random = SeededGenerator(seed: board.seed ^ UInt64(version << 20 + index))
          // Longer than the slowest of them takes to get inside beside all other callers.
          await call(0, hold: 8000, &random, board)
        }
      }
      let inside = try await eventually(within: .seconds(30)) {
        try await board.cluster.metric("apus_gateway_in_flight", #"function="default/load-0""#) >= Double(held) * 0.95
      }
      let seen = try await board.cluster.metric("apus_gateway_in_flight", #"function="default/load-0""#)
      board.tally.withLock { $0.heldAtRedeploy.append(Int(seen)) }
      #expect(inside, "\(seen) of \(held) calls were inside before the redeploy")
      try await deploy(board.cluster, 0, version: version)
      try await group.waitForAll()
    }
  }

  /// Waits until no pod is left.
  private static func silence(_ cluster: TestCluster) async throws {
    let quiet = try await eventually(within: .seconds(60)) { try await cluster.metric("apus_gateway_pods") == 0 }
    #expect(quiet, "every function scales to zero between two rounds")
  }

  private static func call(_ function: Int, hold: Int, _ random: inout SeededGenerator, _ board: Board) async {
    let nonce = String(random.next(), radix: 16)
    let body = String(repeating: "b", count: Int.random(in: 0...2000, using: &random))
    var headers = [("x-nonce", nonce)]
    if hold > 0 { headers.append(("x-hold", "\(hold)")) }
    do {
      let answer = try await board.calls.post(board.cluster.url("load-\(function)"), body, headers: headers)
      let version = String(answer.body.prefix { $0 != " " })
      board.tally.withLock { tally in
        if answer.status == 200, answer.body == expected(nonce, body, version) {
          tally.right += 1
          tally.revisions.insert(version)
        } else if answer.status == 502, answer.error == "pod_crashed" {
          tally.crashed += 1
        } else {
          tally.wrong.append("load-\(function): \(answer.status) \(answer.error ?? "") \(answer.body.prefix(200))")
        }
      }
    } catch {
      board.tally.withLock { $0.wrong.append("load-\(function): \(error)") }
    }
  }

  private static func judge(_ plan: Plan, _ board: Board) async throws {
    let seen = board.tally.withLock { $0 }
    let cold = try await board.cluster.metric("apus_gateway_cold_starts_total")
    let calls = try await board.cluster.metric("apus_gateway_queue_wait_seconds_count")
    let atOnce = try await board.cluster.metric("apus_gateway_queue_wait_seconds_bucket", #"le="0.001""#)
    print(
      """
      load: \(seen.right) right, \(seen.crashed) inside a killed worker, \(seen.wrong.count) wrong; \(Int(cold)) met no \
      pod, \(Int(calls - atOnce)) waited over 1 ms, \(seen.heldAtRedeploy) in flight at redeploys
      """)
    #expect(seen.wrong.isEmpty, "seed \(board.seed): \(seen.wrong.prefix(5).joined(separator: "\n"))")
    #expect(seen.right + seen.crashed == plan.requests / plan.rounds * plan.rounds + plan.redeploys * plan.held)
    #expect(seen.crashed <= plan.kills * 200, "only what was inside a killed worker")
    #expect(seen.revisions.count == plan.redeploys + 1, "every revision answered: \(seen.revisions)")
    #expect(cold >= plan.leastCold && calls - atOnce >= plan.leastQueued)
  }

  /// A function that answers its revision and a hash; the first takes many calls a pod, so that hundreds can be inside.
  private static func deploy(_ cluster: TestCluster, _ index: Int, version: Int) async throws {
    let code = """
      import hashlib, time
      def handle(event, context):
          nonce = event.headers.get("x-nonce", "")
          time.sleep(int(event.headers.get("x-hold", "2")) / 1000)
          digest = hashlib.sha256((nonce + event.text + "v\(version)").encode()).hexdigest()
          return f"v\(version) {digest}"

      """
    let made = try await cluster.deployPython(
      "load-\(index)", code,
      spec: "  scale: {idleAfter: 300ms, max: 4}\n  queue: {limit: 5000, timeout: 60s}\n  timeout: 60s\n"
        + "  concurrency: \(index == 0 ? 64 : 2)\n")
    guard made.status == 0 else { throw ClusterFailure("load-\(index) was not deployed: \(made.all)") }
  }

  private static func expected(_ nonce: String, _ body: String, _ version: String) -> String {
    let hash = SHA256.hash(data: Data((nonce + body + version).utf8))
    return "\(version) " + hash.map { String(format: "%02x", $0) }.joined()
  }
}
