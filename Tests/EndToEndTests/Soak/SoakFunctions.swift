import ClusterTestSupport
import Foundation

/// The functions of the gateway's and the async soak: a native program (Tests/Probes/soak.c) that answers what can be
/// checked byte by byte, and whose log is the ledger of what ran.
struct SoakFunctions: Sendable {
  let cluster: TestCluster

  /// Requests of a run: `APUS_SOAK_REQUESTS`, else so many in a soak and in an ordinary run.
  static func count(soak: Int, ordinary: Int) -> Int {
    let given = ProcessInfo.processInfo.environment["APUS_SOAK_REQUESTS"].flatMap(Int.init)
    return given ?? (Soak.runs ? soak : ordinary)
  }

  /// Compiles the program.
  init(_ cluster: TestCluster) async throws {
    self.cluster = cluster
    let built = try await cluster.bash("cc -O2 -Wall -static -o soak '\(TestCluster.root)/Tests/Probes/soak.c'")
    guard built.status == 0 else { throw ClusterFailure("the soak's function is not compiled: \(built.all)") }
  }

  /// Deploys the program under a name. Another version is another revision of the same package. `line`: bytes of the
  /// nonces in one line of its log; a worker that is killed takes a line that has not ended with it.
  func deploy(_ name: String, version: Int, line: Int = 4096, spec: String) async throws -> Shell.Result {
    let folder = cluster.work + "/" + name
    if !FileManager.default.fileExists(atPath: folder) {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: cluster.work + "/soak", toPath: folder + "/soak")
    }
    try cluster.write(
      "\(name)/function.yaml",
      TestCluster.manifest(
        name,
        "runtime: binary\n  command: [./soak]\n  env: {VERSION: v\(version), LINE: \"\(line)\"}\n  resources: {memory: 64Mi}\n"
          + spec))
    return try await cluster.apus("deploy", name)
  }

  /// A pod that was killed.
  struct Kill: Sendable {
    let pod: String
    let at: Date
  }

  /// Kills the process of a pod that is ready, picked by chance among those of a function; nil when none was there.
  func kill(of function: String, chance: UInt64) async throws -> Kill? {
    let killed = try await cluster.bash(
      """
      pods=($(apus get pods -o json | jq -r '.items[] | select(.status.apus.life == "ready") | .metadata.name' \
        | grep -E '^\(function)-[0-9]{5}-'))
      [ ${#pods[@]} -gt 0 ] || exit 1
      pod=${pods[$(( \(chance % 1_000_003) % ${#pods[@]} ))]}
      for process in $(pgrep -x soak); do
        if tr '\\0' '\\n' </proc/$process/environ 2>/dev/null | grep -qx "APUS_POD=$pod"; then
          kill -9 $process && echo "$pod $(date +%s.%N)" && exit 0
        fi
      done
      exit 1
      """)
    let words = killed.output.split(separator: " ").map { $0.trimmingCharacters(in: .newlines) }
    guard killed.status == 0, words.count == 2, let at = Double(words[1]) else { return nil }
    return Kill(pod: words[0], at: Date(timeIntervalSince1970: at))
  }

  /// Writes the ledger of what ran, a line `NONCE POD` for each run and sorted, to the file `ran`, once no pod is left
  /// (the last line of each ends with it) and two looks in a row found the same; answers how many runs it has.
  func writeLedger(_ functions: [String]) async throws -> Int {
    let ended = try await eventually(within: .seconds(60)) {
      try await cluster.bash("apus get pods -o json | jq '[.items[] | select(.status.apus.life != \"gone\")] | length'")
        .output == "0\n"
    }
    guard ended else { throw ClusterFailure("pods do not end: \(try await cluster.apus("get", "pods").all)") }
    let asks = functions.map { "apus logs 'function:\($0) AND stream:stdout' --since 6h -n 1000000 -o json" }
    var last = -1
    for _ in 0..<100 {
      let found = try await cluster.bash(
        """
        set -o pipefail
        { \(asks.joined(separator: " && ")); } \
          | jq -r 'if .truncated then error("cut: " + .truncated) else .pod + " " + .msg end' \
          | awk '{ for (i = 2; i <= NF; i++) print $i, $1 }' | LC_ALL=C sort >ran && wc -l <ran
        """, limit: 600)
      guard let now = Int(found.output.trimmingCharacters(in: .whitespacesAndNewlines)) else {
        throw ClusterFailure("the functions' log cannot be read: \(found.all)")
      }
      if now == last { return now }
      last = now
      try await Task.sleep(for: .milliseconds(500))
    }
    return last
  }

  /// The pattern that program, scripts and this file share; see Tests/Probes/soak.c.
  static func pattern(_ count: Int) -> String {
    var state: UInt64 = 1
    return String(
      decoding: (0..<count).map { _ in
        state = state * 16807 % 2_147_483_647
        return UInt8(97 + state % 26)
      }, as: UTF8.self)
  }
}

extension String {
  /// Its lines, without empty ones.
  var lines: [String] { split(separator: "\n").map(String.init) }
}
