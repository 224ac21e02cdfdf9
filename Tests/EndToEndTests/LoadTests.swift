import ClusterTestSupport
import Crypto
import Foundation
import Synchronization
import Testing

/// Load while everything moves: pods scale, a function is redeployed, a worker is killed. No answer is lost or crossed.
@Suite("Soak: load")
struct LoadTests {
  /// Requests in the short form; the long form lasts as many minutes as `make soak` says.
  static let requests = 4000
  static let callers = 64
  static let functions = 5

  /// What went wrong, and what was seen.
  struct Tally: Sendable {
    var right = 0
    var crashed = 0
    var wrong: [String] = []
    var revisions: Set<String> = []
  }

  /// What all callers share.
  final class Board: Sendable {
    let tally = Mutex(Tally())
    let left = Atomic(LoadTests.requests)
  }

  private static func code(_ version: Int) -> String {
    """
    import hashlib, time
    def handle(event, context):
        nonce = event.headers.get("x-nonce", "")
        time.sleep(0.002)
        digest = hashlib.sha256((nonce + event.text + "v\(version)").encode()).hexdigest()
        return f"v\(version) {digest}"

    """
  }

  private static func expected(_ nonce: String, _ body: String, _ version: String) -> String {
    let hash = SHA256.hash(data: Data((nonce + body + version).utf8))
    return "\(version) " + hash.map { String(format: "%02x", $0) }.joined()
  }

  @Test("every request gets its one right answer, or a 502 that says its worker was killed", .timeLimit(.minutes(60)))
  func load() async throws {
    let minutes = Double(ProcessInfo.processInfo.environment["APUS_SOAK_MINUTES"] ?? "") ?? 0
    let seed = UInt64.random(in: 0...UInt64.max)
    print("load: seed \(seed)")
    try await TestCluster.with(workers: 2) { cluster in
      for index in 0..<Self.functions {
        let made = try await cluster.deployPython(
          "load-\(index)", Self.code(1),
          spec: "  scale: {idleAfter: 300ms, max: 6}\n  queue: {limit: 5000, timeout: 30s}\n")
        try #require(made.status == 0, "\(made.all)")
      }
      let calls = HTTPCalls(connections: Self.callers)
      let board = Board()
      let deadline = ContinuousClock.now.advanced(by: .seconds(minutes * 60))
      try await withThrowingTaskGroup(of: Void.self) { group in
        for caller in 0..<Self.callers {
          group.addTask {
            var random = SeededGenerator(seed: seed &+ UInt64(caller))
            while board.left.subtract(1, ordering: .relaxed).oldValue > 0 || ContinuousClock.now < deadline {
              try await Self.call(cluster, calls, &random, board)
              if Int.random(in: 0..<200, using: &random) == 0 { try await Task.sleep(for: .milliseconds(400)) }
            }
          }
        }
        group.addTask { try await Self.disturb(cluster) }
        try await group.waitForAll()
      }
      await calls.close()
      let seen = board.tally.withLock { $0 }
      print("load: \(seen.right) right, \(seen.crashed) inside a killed worker, \(seen.wrong.count) wrong")
      #expect(seen.wrong.isEmpty, "seed \(seed): \(seen.wrong.prefix(5).joined(separator: "\n"))")
      #expect(seen.right >= Self.requests * 9 / 10)
      #expect(seen.revisions.count >= 2, "both revisions answered: \(seen.revisions)")
    }
  }

  private static func call(
    _ cluster: TestCluster, _ calls: HTTPCalls, _ random: inout SeededGenerator, _ board: Board
  ) async throws {
    let function = Int.random(in: 0..<functions, using: &random)
    let nonce = String(random.next(), radix: 16)
    let body = String(repeating: "b", count: Int.random(in: 0...2000, using: &random))
    do {
      let answer = try await calls.post(cluster.url("load-\(function)"), body, headers: [("x-nonce", nonce)])
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

  /// Redeploys one function and kills one worker while the calls go on.
  private static func disturb(_ cluster: TestCluster) async throws {
    for version in 2...3 {
      let made = try await cluster.deployPython(
        "load-0", code(version), spec: "  scale: {idleAfter: 300ms, max: 6}\n  queue: {limit: 5000, timeout: 30s}\n")
      #expect(made.status == 0, "\(made.all)")
    }
    _ = try await cluster.bash("pkill -9 -f 'apus worker --name worker-1 --data \(cluster.data)'")
  }
}
