import ClusterTestSupport
import Foundation
import Synchronization
import Testing

/// kill -9 of the server and of workers at random moments while asynchronous calls are taken and run.
///
/// Every call that was acknowledged ran at least once by the functions' own word, the dead letters are those calls that
/// always fail, and nothing is kept that nobody sent.
@Suite("Async: kill -9 of server and workers during many calls", .enabled(if: Soak.runs))
struct SoakAsyncTests {
  /// How a call behaves: fails whenever it runs, for the first two runs, or never.
  enum Kind: String {
    case always, twice, ok
  }

  static let kills = 24
  static let senders = 24
  /// Functions whose pods may be anywhere; of their calls one in 20 always fails.
  static let functions = (1...7).map { "work-\($0)" }
  /// Its one pod counts runs in its memory, so it stands on the worker that is not killed.
  static let counting = "work-twice"

  /// What became of the sending.
  struct Seen: Sendable {
    var acknowledged = 0
    var known = 0
    var refused: [Int: Int] = [:]
    var broken = 0
    var wrong: [String] = []
    var killed: [String: Int] = [:]
  }

  final class Board: Sendable {
    let seen = Mutex(Seen())
    let next = Atomic(0)
    let calls: Int
    let cluster: TestCluster
    let http = HTTPCalls(connections: senders)
    let seed: UInt64
    let pattern = SoakFunctions.pattern(4000)

    init(_ cluster: TestCluster, calls: Int, seed: UInt64) {
      self.cluster = cluster
      self.calls = calls
      self.seed = seed
    }
  }

  /// The function and the behaviour of a call.
  static func part(_ number: Int) -> (function: String, kind: Kind) {
    if number % 10 == 0 { return (counting, .twice) }
    return (functions[number % functions.count], number % 20 == 1 ? .always : .ok)
  }

  @Test("calls that were acknowledged all run, and the dead letters are exact", .timeLimit(.minutes(60)))
  func crash() async throws {
    let seed = Soak.seed("async")
    let calls = SoakFunctions.count(soak: 50_000, ordinary: 50_000)
    let start = ContinuousClock().now
    try await TestCluster.with(workers: 3) { cluster in
      try await Self.deploy(SoakFunctions(cluster))
      let board = Board(cluster, calls: calls, seed: seed)
      do { try await Self.play(board) } catch {
        await board.http.close()
        throw error
      }
      await board.http.close()
      print("async: all taken after \(ContinuousClock().now - start)")
      let settled = try await eventually(within: .seconds(900)) { try await Self.open(cluster) == 0 }
      #expect(settled, "every call came to an end (seed \(seed))")
      try await Self.judge(board)
    }
    print("async: \(ContinuousClock().now - start)")
  }

  private static func deploy(_ soak: SoakFunctions) async throws {
    let cluster = soak.cluster
    func require(_ made: Shell.Result) throws {
      guard made.status == 0 else { throw ClusterFailure("not prepared: \(made.all)") }
    }
    try require(try await cluster.apus("cordon", "worker-1", "worker-2"))
    try require(
      try await soak.deploy(
        counting, version: 0,
        spec: "  concurrency: 16\n  scale: {min: 1, max: 1, idleAfter: 5s}\n  queue: {timeout: 60s}\n"))
    try require(try await cluster.apus("uncordon", "worker-1", "worker-2"))
    for name in functions {
      try require(
        try await soak.deploy(
          name, version: 0, line: 1,
          spec: "  concurrency: 8\n  scale: {max: 3, idleAfter: 5s}\n  queue: {timeout: 60s}\n"))
    }
  }

  /// Sends everything while it is killed.
  private static func play(_ board: Board) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for sender in 0..<senders {
        group.addTask {
          var random = SeededGenerator(seed: board.seed &+ UInt64(sender))
          while true {
            let number = board.next.add(1, ordering: .relaxed).newValue
            guard number <= board.calls else { return }
            await send(number, &random, board)
          }
        }
      }
      group.addTask {
        var random = SeededGenerator(seed: board.seed)
        for number in 1...kills {
          let mark = board.calls * number / (kills + 1)
          let moment = Int.random(in: 0..<2000, using: &random)
          let victim = number % 2 == 0 ? "server" : "worker-\(Int.random(in: 1...2, using: &random))"
          let came = await eventually(within: .seconds(900)) { board.seen.withLock { $0.acknowledged } >= mark }
          guard came else { throw ClusterFailure("\(mark) calls were not taken: \(board.seen.withLock { $0 })") }
          try await Task.sleep(for: .milliseconds(moment))
          let killed = try await eventually(within: .seconds(30)) {
            try await board.cluster.bash(
              """
              pid=$(apus status -o json | jq '.processes[] | select(.name == "\(victim)") | .pid // 0')
              [ "${pid:-0}" -gt 1 ] && kill -9 "$pid"
              """
            ).status == 0
          }
          guard killed else { throw ClusterFailure("\(victim) does not come back") }
          board.seen.withLock { $0.killed[victim, default: 0] += 1 }
        }
      }
      try await group.waitForAll()
    }
  }

  /// Sends a call until it is acknowledged: 202, or 409 when an earlier try was kept and its answer lost.
  private static func send(_ number: Int, _ random: inout SeededGenerator, _ board: Board) async {
    let (function, kind) = part(number)
    let length = Int.random(in: 0..<4000, using: &random)
    let hold = Int.random(in: 0..<50, using: &random) == 0 ? Int.random(in: 5...60, using: &random) : 0
    let url = "\(board.cluster.gateway)/async-function/\(function)/a-\(number)?\(kind),0,\(length),0,20,\(hold)"
    let body = String(board.pattern.prefix(length))
    var unsure = false
    while !Task.isCancelled {
      var pause = 20
      do {
        let answer = try await board.http.post(url, body, headers: [("X-Call-Id", "a-\(number)")])
        if answer.status == 202 || (answer.status == 409 && unsure) {
          board.seen.withLock {
            $0.acknowledged += 1
            if answer.status == 409 { $0.known += 1 }
          }
          return
        }
        board.seen.withLock { $0.refused[answer.status, default: 0] += 1 }
        switch answer.status {
        case 429: pause = 300
        // What the server was given may be kept although its answer was lost.
        case 503: unsure = true
        default:
          board.seen.withLock { $0.wrong.append("a-\(number): \(answer.status) \(answer.error ?? "") \(answer.body)") }
          return
        }
      } catch {
        unsure = true
        board.seen.withLock { $0.broken += 1 }
        pause = 100
      }
      try? await Task.sleep(for: .milliseconds(pause))
    }
  }

  /// Calls that have not come to an end, as far as one look at each state sees; nil while the server does not answer.
  private static func open(_ cluster: TestCluster) async throws -> Int? {
    let found = try await cluster.bash(
      """
      set -e
      for state in queued running retrying; do
        apus calls list --state $state --limit 10000 -o json | jq '.items | length'
      done
      """)
    return found.status == 0 ? found.output.lines.reduce(0) { $0 + (Int($1) ?? 1) } : nil
  }

  /// A call as `apus calls list` shows it.
  private struct Item {
    let function: String
    let state: String
    let attempts: Int
    let status: Int
  }

  private static func judge(_ board: Board) async throws {
    let seen = board.seen.withLock { $0 }
    let cluster = board.cluster
    for wrong in seen.wrong.prefix(20) { Issue.record("\(wrong) (seed \(board.seed))") }
    #expect(seen.acknowledged == board.calls)
    var items: [String: Item] = [:]
    for name in functions + [counting] {
      let shown = try await cluster.bash(
        """
        set -o pipefail
        apus calls list \(name) --limit 10000 -o json \
          | jq -r '.items[] | [.id, .state, .attempts, .status // 0] | map(tostring) | join(" ")'
        """)
      guard shown.status == 0 else { throw ClusterFailure("calls cannot be listed: \(shown.all)") }
      for line in shown.output.lines {
        let words = line.split(separator: " ").map(String.init)
        items[words[0]] = Item(
          function: name, state: words[1], attempts: Int(words[2]) ?? 0, status: Int(words[3]) ?? 0)
      }
    }
    #expect(items.count == board.calls, "\(items.count) calls are kept of \(board.calls)")
    var faults: [String] = []
    for number in 1...board.calls {
      let (function, kind) = part(number)
      guard let item = items["a-\(number)"] else {
        faults.append("a-\(number) was acknowledged and is lost")
        continue
      }
      let right =
        kind == .always
        ? item.state == "dead" && item.attempts == 5 : item.state == "done" && item.status == 200 && item.attempts >= 1
      if !right || item.function != function { faults.append("a-\(number), \(kind), is \(item)") }
    }
    for fault in faults.prefix(20) { Issue.record("\(fault) (seed \(board.seed))") }
    #expect(faults.count == 0, "\(faults.count) calls are not what they should be (seed \(board.seed))")
    let (runs, twice, shown) = try await ran(board)
    let states = Dictionary(grouping: items.values) { $0.state }.mapValues(\.count)
    print(
      """
      async: \(seen.acknowledged) calls acknowledged (\(seen.known) by a 409 after a lost answer); refused meanwhile \
      \(seen.refused.sorted { $0.key < $1.key }.map { "\($0.value) by \($0.key)" }), \(seen.broken) connections broken; \
      killed \(seen.killed.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value) times" })
      async: at the end \(states.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }); \(runs) runs in the \
      functions' ledger, \(twice) calls that succeed ran more than once, \(shown) proven by their kept result instead
      """)
    try await purge(board, dead: states["dead", default: 0])
  }

  /// The functions' word for every call: how many runs, how many calls that never fail ran more than once, and how many
  /// calls are not in the log of a worker that was killed, but in their result.
  private static func ran(_ board: Board) async throws -> (Int, Int, Int) {
    let soak = try await SoakFunctions(board.cluster)
    _ = try await board.cluster.apus("scale", counting, "0")
    let runs = try await soak.writeLedger(functions + [counting])
    let sent = (1...board.calls).map { "a-\($0)\n" }.joined()
    try board.cluster.write("sent", sent)
    let found = try await board.cluster.bash(
      """
      export LC_ALL=C
      sort -o sent sent; cut -d' ' -f1 ran | sort -u >once; cut -d' ' -f1 ran | uniq -d >more
      comm -23 sent once | sed 's/^/never /'; comm -13 sent once | sed 's/^/unknown /'; sed 's/^/more /' more
      """)
    var more = 0
    var missing: [String] = []
    for line in found.output.lines {
      let words = line.split(separator: " ").map(String.init)
      switch words[0] {
      case "more":
        if let number = Int(words[1].dropFirst(2)), part(number).kind == .ok { more += 1 }
      case "never": missing.append(words[1])
      default: Issue.record("the functions' ledger: \(line) (seed \(board.seed))")
      }
    }
    // A killed worker takes at most what was in its pods' pipes: 64 KiB each.
    #expect(missing.count * 8 <= kills / 2 * functions.count * 3 * (64 << 10))
    for id in missing {
      let shown = try await board.cluster.bash(
        "apus calls show \(id) -o json | jq -r '.result.body // \"\"' | base64 -d")
      #expect(shown.output.hasPrefix("\(id) work-"), "\(id) never ran: \(shown.all) (seed \(board.seed))")
    }
    return (runs, more, missing.count)
  }

  /// What is purged is what was listed as dead.
  private static func purge(_ board: Board, dead: Int) async throws {
    var purged = 0
    for name in functions + [counting] {
      let done = try await board.cluster.apus("calls", "purge", name)
      purged += done.output.split(separator: " ").first.flatMap { Int($0) } ?? 0
    }
    #expect(purged == dead, "\(purged) dead letters were purged of \(dead)")
  }
}
