import ClusterTestSupport
import Foundation
import Synchronization
import Testing

/// Load from wrk and h2load through redeploys, scale cycles between 0 and 8 pods, and pods that are killed.
///
/// No answer is lost, doubled, cut or crossed, and each 5xx is the call of a pod that was killed, of a function that is
/// not idempotent.
@Suite("Gateway: every request answered once while everything moves")
struct SoakGatewayTests {
  /// How much of everything.
  struct Plan {
    let requests: Int
    let redeploys: Int
    let cycles: Int
    let kills: Int
    /// Connections of wrk beside the cycles.
    let connections: Int

    static let short = Plan(requests: 10_000, redeploys: 2, cycles: 1, kills: 1, connections: 8)
    static let long = Plan(requests: 1_000_000, redeploys: 50, cycles: 20, kills: 10, connections: 24)

    /// The plan of this run.
    static var now: Plan {
      let plan = Soak.runs ? long : short
      let requests = SoakFunctions.count(soak: long.requests, ordinary: short.requests)
      return Plan(
        requests: requests, redeploys: plan.redeploys, cycles: plan.cycles, kills: plan.kills,
        connections: plan.connections)
    }

    /// Answers each connection of a cycle's wave waits for: an eighth of all requests are in waves.
    var wave: Int { max(8, requests / 8 / cycles / SoakGatewayTests.waveConnections) }
    /// Requests of each of the two h2load.
    var http2: Int { requests * 3 / 20 }
    /// Answers each other connection waits for.
    var each: Int {
      let rest = requests - wave * cycles * SoakGatewayTests.waveConnections - 2 * http2
      return (rest + connections - 1) / connections
    }
  }

  /// Twice what the slots of all pods hold: the last pod is worth its start on a slow machine too.
  static let waveConnections = 32
  static let pods = 8
  /// Functions under load all the time; calls of the second may run again.
  static let steady = ["soak-a", "soak-b"]
  static let waved = "soak-c"

  /// What a run saw.
  final class Board: Sendable {
    struct Seen: Sendable {
      var reports: [SoakLoad.Report] = []
      var kills: [SoakFunctions.Kill] = []
      var redeploys = 0
      var peaks: [Int] = []
      var loaded = true
    }
    let seen = Mutex(Seen())
    let cluster: TestCluster
    let functions: SoakFunctions
    let load: SoakLoad
    let metrics: String
    let seed: UInt64

    init(_ cluster: TestCluster, seed: UInt64) async throws {
      self.cluster = cluster
      self.seed = seed
      functions = try await SoakFunctions(cluster)
      load = try await SoakLoad(cluster, seed: seed)
      metrics = try await cluster.bash("apus status -o json | jq -r .metrics").output.lines.first ?? ""
    }

    /// The sum of a metric's samples of which a line says all of these.
    func metric(_ name: String, _ labels: String...) async throws -> Int {
      let text = try await cluster.bash("curl -sf \(metrics)")
      guard text.status == 0 else { throw ClusterFailure("the gateway's metrics cannot be read: \(text.all)") }
      return text.output.lines.reduce(0) { sum, line in
        guard line.hasPrefix(name + "{") || line.hasPrefix(name + " "), labels.allSatisfy(line.contains) else {
          return sum
        }
        return sum + Int(line.split(separator: " ").last.flatMap { Double($0) } ?? 0)
      }
    }

    /// Waits until a part of all requests is answered, or the load is over.
    func reached(_ part: Double, of plan: Plan) async throws {
      let mark = Int(part * Double(plan.requests))
      let came = try await eventually(within: .seconds(SoakLoad.patience)) {
        if !seen.withLock({ $0.loaded }) { return true }
        return try await metric("apus_gateway_requests_total") >= mark
      }
      #expect(came, "\(mark) requests were answered")
    }
  }

  @Test("every request has its one right answer, or a 502 that names a pod that was killed", .timeLimit(.minutes(60)))
  func load() async throws {
    let plan = Plan.now
    let seed = Soak.seed("gateway")
    let start = ContinuousClock().now
    try await TestCluster.with(workers: 2) { cluster in
      let board = try await Board(cluster, seed: seed)
      for name in Self.steady { try await Self.redeploy(name, version: 0, board) }
      try await Self.deployWaved(board)
      try await Self.play(plan, board)
      try await SoakVerdict(plan: plan, board: board).judge()
    }
    print("gateway: \(ContinuousClock().now - start)")
  }

  /// Everything at once.
  private static func play(_ plan: Plan, _ board: Board) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await withThrowingTaskGroup(of: SoakLoad.Report.self) { loads in
          loads.addTask { try await board.load.wrk("w", steady, connections: plan.connections, each: plan.each) }
          loads.addTask { try await board.load.h2load("g", steady, requests: plan.http2, posts: false) }
          loads.addTask { try await board.load.h2load("p", steady, requests: plan.http2, posts: true) }
          for try await report in loads { board.seen.withLock { $0.reports.append(report) } }
        }
        board.seen.withLock { $0.loaded = false }
      }
      group.addTask {
        for cycle in 1...plan.cycles { try await wave(cycle, plan, board) }
      }
      group.addTask {
        for number in 1...plan.redeploys {
          try await board.reached(0.85 * Double(number) / Double(plan.redeploys + 1), of: plan)
          try await redeploy(steady[number % 2], version: number, board)
          board.seen.withLock { $0.redeploys += 1 }
        }
      }
      group.addTask {
        var random = SeededGenerator(seed: board.seed)
        for number in 1...plan.kills {
          let part = (Double(number) - Double.random(in: 0..<1, using: &random)) / Double(plan.kills + 1)
          try await board.reached(0.85 * part, of: plan)
          let target = steady + (plan.kills > 1 ? [waved] : [])
          let chance = random.next()
          // A pod that ends on its own between the look and the kill is no pod killed.
          let killed = try await eventually(within: .seconds(30)) {
            // Each function as often as the others, however many pods it has.
            for offset in 0..<target.count {
              let name = target[(Int(chance >> 40) + offset) % target.count]
              guard let kill = try await board.functions.kill(of: name, chance: chance) else { continue }
              board.seen.withLock { $0.kills.append(kill) }
              return true
            }
            return false
          }
          #expect(killed, "a pod could be killed")
        }
      }
      try await group.waitForAll()
    }
  }

  private static func redeploy(_ name: String, version: Int, _ board: Board) async throws {
    let made = try await board.functions.deploy(
      name, version: version,
      spec: "  concurrency: 16\n  scale: {max: 4, idleAfter: 2s}\n  queue: {limit: 5000, timeout: 60s}\n"
        + "  idempotent: \(name == "soak-b")\n")
    guard made.status == 0 else { throw ClusterFailure("\(name) was not deployed: \(made.all)") }
  }

  private static func deployWaved(_ board: Board) async throws {
    let made = try await board.functions.deploy(
      waved, version: 0,
      spec: "  concurrency: 2\n  scale: {max: \(pods), idleAfter: 500ms}\n  queue: {limit: 5000, timeout: 60s}\n")
    guard made.status == 0 else { throw ClusterFailure("\(waved) was not deployed: \(made.all)") }
  }

  /// One cycle: from no pod to eight while requests come, and to none again. In every second one a person scales, and
  /// back while requests still come; in the others the requests themselves do.
  private static func wave(_ cycle: Int, _ plan: Plan, _ board: Board) async throws {
    let byHand = cycle % 2 == 0
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        let report = try await board.load.wrk(
          "c\(cycle)x", [waved], connections: waveConnections, each: plan.wave, held: 3, hold: 300)
        board.seen.withLock { $0.reports.append(report) }
      }
      if byHand { try await scale("8", board) }
      let peak = Mutex(0)
      let label = #"function="default/soak-c""#
      let reached = try await eventually(within: .seconds(60)) {
        let now = try await board.metric("apus_gateway_pods", label)
        return peak.withLock {
          $0 = max($0, now); return $0 >= pods
        }
      }
      #expect(reached, "cycle \(cycle) had \(peak.withLock { $0 }) pods at most")
      if byHand { try await scale("0", board) }
      try await group.waitForAll()
      let silent = try await eventually(within: .seconds(60)) {
        try await board.metric("apus_gateway_pods", label) == 0
      }
      #expect(silent, "cycle \(cycle) ended without pods")
      board.seen.withLock { $0.peaks.append(peak.withLock { $0 }) }
    }
  }

  private static func scale(_ pods: String, _ board: Board) async throws {
    let scaled = try await board.cluster.apus("scale", waved, pods)
    guard scaled.status == 0 else { throw ClusterFailure("\(waved) was not scaled: \(scaled.all)") }
  }
}
