import ClusterTestSupport
import Foundation
import Synchronization
import Testing

/// kill -9 of a worker, a spawner and a zygote at random moments, while functions start from zero all the time: service
/// comes back, answers are right or say what happened, and nothing of the dead stays.
@Suite("Pods: kill -9 of what makes them")
struct SoakPodsTests {
  /// Who is killed.
  private enum Victim: String, CaseIterable { case worker, spawner, zygote }

  private struct Tally: Sendable {
    var right = 0
    var refused: [String: Int] = [:]
    var wrong: [String] = []
    /// Pods and processes as they were at the first wrong answer.
    var scene: String?
  }

  private final class Book: Sendable {
    let tally = Mutex(Tally())
  }

  /// Kills of each kind in an ordinary run.
  private static let ordinaryKills = 2
  /// Answers that show that functions are called between the kills at all.
  private static let enough = 50
  /// What a caller may hear while who makes pods is dead.
  private static let honest: Set = ["pod_crashed", "start_failed", "queue_timeout", "no_capacity"]
  private static let functions = ["py-0", "py-1", "sh-0", "node-0"]

  @Test("functions come back, and nothing of the dead stays", .timeLimit(.minutes(60)))
  func kills() async throws {
    var random = SeededGenerator(seed: Soak.seed("pods"))
    try await TestCluster.with(workers: 1) { cluster in
      try await Self.deploy(cluster)
      let calls = HTTPCalls()
      let book = Book()
      let end = ContinuousClock.now + .seconds(60 * (Soak.minutes ?? 0))
      var back: [Victim: [Double]] = [:]
      var kills = 0
      await withTaskGroup(of: Void.self) { group in
        for caller in 0..<6 { group.addTask { await Self.call(cluster, calls, caller, book) } }
        var order = Array(repeating: Victim.allCases, count: Self.ordinaryKills).flatMap(\.self)
        while let victim = order.popLast()
          ?? (ContinuousClock.now < end ? .allCases.randomElement(using: &random) : nil)
        {
          // The moment is the seed's: the load goes on meanwhile.
          let moment = Int.random(in: 200_000...1_800_000, using: &random)
          guard let took = try? await Self.kill(victim, cluster, calls, afterMicroseconds: moment) else { continue }
          back[victim, default: []].append(took)
          kills += 1
        }
        // Beside other tests a kill of each kind may be over before many were answered.
        _ = await eventually(within: .seconds(120)) { book.tally.withLock { $0.right } > Self.enough }
        group.cancelAll()
      }
      await calls.close()
      let seen = book.tally.withLock { $0 }
      for (victim, times) in back.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        let sorted = times.sorted()
        print(
          "pods: \(times.count) of \(victim) killed, an answer after p50 \(Int(sorted[sorted.count / 2])) ms, at most",
          "\(Int(sorted.last ?? 0)) ms, \(sorted.count { $0 > 1000 }) later than a second")
        // What is built to be quick, for as long as the machine has only this to do.
        if Soak.runs, TestCluster.isRelease { #expect(sorted.count { $0 > 1000 } * 100 <= sorted.count, "\(victim)") }
      }
      print("pods: \(seen.right) answers right, refused \(seen.refused), seed \(random.seed)")
      if let scene = seen.scene { print("pods: at the first wrong answer:\n\(scene)") }
      #expect(seen.wrong == [], "seed \(random.seed)")
      #expect(seen.right > Self.enough)
      #expect(kills >= Self.ordinaryKills * 2)
      try await Self.expectNothingLeft(cluster)
    }
  }

  private static func deploy(_ cluster: TestCluster) async throws {
    let scale = "  scale: {max: 4, idleAfter: 150ms}\n  resources: {memory: 96Mi}\n"
    for name in functions where name.hasPrefix("py") {
      let made = try await cluster.deployPython(
        name, "def handle(event, context):\n    return '\(name) ' + event.text\n", spec: scale)
      try #require(made.status == 0, "\(made.all)")
    }
    try cluster.write("sh-0/run.sh", "#!/bin/sh\nprintf 'sh-0 '; cat\n")
    _ = try await cluster.bash("chmod +x sh-0/run.sh")
    try cluster.write(
      "sh-0/function.yaml", TestCluster.manifest("sh-0", "runtime: exec\n  command: [./run.sh]\n" + scale))
    try cluster.write("node-0/handler.mjs", "export const handle = (event) => `node-0 ${event.text}`;\n")
    try cluster.write(
      "node-0/function.yaml",
      TestCluster.manifest("node-0", "runtime: node\n  handler: handler.mjs\n" + scale))
    for name in ["sh-0", "node-0"] {
      let made = try await cluster.apus("deploy", name)
      try #require(made.status == 0, "\(made.all)")
    }
  }

  /// Pods that live, what became of them lately, and the processes.
  private static let scene = """
    apus get pods -o json | jq -c '.items[] | select(.status.apus.life != "gone") | [.metadata.name, .status.apus]'
    apus logs --since 90s 'stream:event OR stream:platform' | tail -n 80
    ps -eo pid,ppid,etimes,stat,args --forest | grep -E 'apus|runner|zygote' | grep -v grep
    ls -la --time-style=full-iso /run/apus/*/
    ss -xl | grep /run/apus
    """

  /// Calls one function after the other until it is cancelled.
  private static func call(_ cluster: TestCluster, _ calls: HTTPCalls, _ caller: Int, _ book: Book) async {
    var number = 0
    while !Task.isCancelled {
      number += 1
      let name = functions[(caller + number) % functions.count]
      let body = "\(caller)-\(number)"
      guard let answer = try? await calls.post(cluster.url(name), body) else { continue }
      book.tally.withLock { tally in
        if answer.status == 200, answer.body == "\(name) \(body)" {
          tally.right += 1
        } else if let error = answer.error, Self.honest.contains(error) {
          tally.refused[error, default: 0] += 1
        } else {
          tally.wrong.append("\(name) \(body): \(answer.status) \(answer.error ?? "") \(answer.body.prefix(200))")
        }
      }
      if book.tally.withLock({ !$0.wrong.isEmpty && $0.scene == nil }) {
        let scene = try? await cluster.bash(Self.scene).all
        book.tally.withLock { $0.scene = $0.scene ?? scene ?? "" }
      }
      // Long enough for some to fall to zero, which is the point.
      if number % 4 == 0 { try? await Task.sleep(for: .milliseconds(40 * (caller + 1))) }
    }
  }

  /// Kills one of them and answers how many milliseconds later a function answered that the dead one made no pod for.
  private static func kill(
    _ victim: Victim, _ cluster: TestCluster, _ calls: HTTPCalls, afterMicroseconds: Int
  ) async throws -> Double? {
    let find =
      switch victim {
      case .worker: "echo $worker"
      case .spawner: "pgrep -P $worker apus-spawner"
      // A zygote is in its spawner's network namespace, its pods are not.
      case .zygote:
        """
        spawner=$(pgrep -P $worker apus-spawner); for p in $(pgrep -P $spawner -f zygote.py); do
        [ "$(readlink /proc/$p/ns/net)" = "$(readlink /proc/$spawner/ns/net)" ] && echo $p; done | head -n 1
        """
      }
    let killed = try await cluster.bash(
      """
      sleep 0.\(String(format: "%06d", afterMicroseconds % 1_000_000))
      for try in $(seq 100); do
        worker=$(pgrep -f '^[^ ]*apus worker --name worker-1 --data \(cluster.data)') && pid=$(\(find)) &&
          [ -n "$pid" ] && kill -9 $pid && exit 0
        sleep 0.1
      done
      exit 1
      """)
    guard killed.status == 0 else { return nil }
    let start = ContinuousClock.now
    // A second of the supervisor's is nothing unusual for a debug build; ten is a fault.
    for _ in 0..<200 {
      if let answer = try? await calls.post(cluster.url("py-1"), "back"), answer.status == 200 {
        return (ContinuousClock.now - start) / .milliseconds(1)
      }
      try await Task.sleep(for: .milliseconds(50))
    }
    Issue.record("no answer after \(victim) was killed")
    return nil
  }

  /// Once no function has a pod: each control group of this worker has a process, each process in one is the living
  /// spawner's, there are no more namespaces than groups, no mounts, and nobody holds more descriptors than stems need.
  private static func expectNothingLeft(_ cluster: TestCluster) async throws {
    // Pods that failed stay listed for a while.
    let living = """
      apus get pods -o json | jq -c '.items[] | select(.status.apus.life != "gone") | [.metadata.name, .status]'
      """
    let empty = try await eventually(within: .seconds(60)) { try await cluster.bash(living).all.isEmpty }
    let stayed = try await cluster.bash(living).all
    #expect(empty, "\(stayed)")
    try cluster.write("left.sh", left.replacing("DATA", with: cluster.data))
    let quiet = try await eventually(within: .seconds(20)) { try await cluster.bash("bash left.sh").all.isEmpty }
    let last = try await cluster.bash("bash left.sh").all
    #expect(quiet, "\(last)")
  }

  private static let left = """
    worker=$(pgrep -f '^[^ ]*apus worker --name worker-1 --data DATA')
    spawner=$(pgrep -P $worker apus-spawner)
    instance=$(cat $(pgrep -P $spawner | sed 's|.*|/proc/&/cgroup|') 2>/dev/null | grep -o 'apus/[0-9a-f]\\{8\\}' | head -n 1)
    [ -n "$instance" ] || echo "no stem waits"
    groups=$(find /sys/fs/cgroup -type d -path "*/$instance/*" 2>/dev/null)
    for group in $groups; do
      [ -n "$(cat $group/cgroup.procs 2>/dev/null)" ] || [ ! -d $group ] || echo "empty $group"
    done
    processes=$(for group in $groups; do cat $group/cgroup.procs 2>/dev/null; done | sort -un)
    for process in $processes; do
      parent=$process
      while [ "${parent:-0}" -gt 1 ] && [ $parent != $spawner ]; do parent=$(awk '/^PPid:/ {print $2}' /proc/$parent/status 2>/dev/null); done
      [ "$parent" = $spawner ] || [ ! -d /proc/$process ] || echo "orphan $process: $(tr '\\0' ' ' < /proc/$process/cmdline)"
    done
    pods=$(basename -a $groups | sort -u | wc -l)
    for kind in net mnt pid; do
      spaces=$(for process in $processes; do readlink /proc/$process/ns/$kind 2>/dev/null; done | sort -u | wc -l)
      [ $spaces -le $pods ] || echo "$spaces $kind namespaces of $pods pods"
    done
    grep DATA /proc/self/mountinfo
    held=$(ls /proc/$spawner/fd | wc -l)
    [ $held -le $((20 + 4 * pods)) ] || echo "the spawner's descriptors: $held for $pods pods"
    [ $(pgrep -c -f "^[^ ]*apus worker .*DATA") = 1 ] || echo "several workers"
    [ $(ls /proc/$worker/fd | wc -l) -lt 300 ] || echo "descriptors $(ls /proc/$worker/fd | wc -l)"
    """
}
