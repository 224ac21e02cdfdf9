import ClusterTestSupport
import Foundation

/// Load of wrk and h2load on the soak's functions, and what they say of it.
///
/// wrk compares every answer with its request (Tests/Probes/soak.lua). h2load sees no bodies, so its totals are checked:
/// requests, status codes, bytes of bodies.
struct SoakLoad: Sendable {
  let cluster: TestCluster
  let seed: UInt64
  /// Where scripts and tools write.
  var out: String { cluster.work + "/out" }

  /// Seconds after which a tool that has not ended lost an answer.
  static let patience = 3000

  /// A load that ended.
  struct Report: Sendable {
    var tag = ""
    var sent = 0
    var answered = 0
    var right = 0
    /// What was not answered rightly: `KIND NONCE STATUS CODE POD WHAT`.
    var odd: [String] = []
    /// What a tool said that should not be.
    var faults: [String] = []
    /// Bytes of bodies, as h2load counted them.
    var bytes = 0
  }

  init(_ cluster: TestCluster, seed: UInt64) async throws {
    self.cluster = cluster
    self.seed = seed
    for tool in ["wrk", "h2load"] where try await Shell.bash("command -v \(tool)").status != 0 {
      throw ClusterFailure("\(tool) is missing: run scripts/test-packages, which installs what the tests need")
    }
    try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: true)
  }

  /// HTTP/1.1: so many connections, each until it had its answers; `held` first requests are held `hold` ms in pods.
  func wrk(
    _ tag: String, _ functions: [String], connections: Int, each: Int, held: Int = 0, hold: Int = 0
  ) async throws -> Report {
    let paths = functions.map { "/function/\($0)" }.joined(separator: ",")
    let ran = try await cluster.bash(
      """
      export SOAK_TAG=\(tag) SOAK_PATHS=\(paths) SOAK_COUNT=\(each) SOAK_HOLD='\(held) \(hold)' SOAK_SEED=\(seed) \
        SOAK_OUT=\(out)
      wrk -t \(connections) -c \(connections) -d 86400 --timeout 120s -s '\(TestCluster.root)/Tests/Probes/soak.lua' \
        \(cluster.gateway)/ >\(out)/\(tag).wrk 2>&1 &
      pid=$!
      trap 'kill -9 $pid 2>/dev/null' EXIT
      until [ "$(find \(out) -name '\(tag)-*.end' | wc -l)" = \(connections) ]; do
        kill -0 $pid || break
        [ $SECONDS -lt \(Self.patience) ] || { echo "stalled: a connection waits for an answer"; break; }
        sleep 0.2
      done
      kill -INT $pid; wait $pid; cat \(out)/\(tag)-*.log; grep -E 'Socket errors|unable|lua' \(out)/\(tag).wrk
      exit 0
      """, limit: Double(Self.patience + 100))
    var report = Report(tag: tag)
    var ended = 0
    for line in ran.output.lines {
      let words = line.split(separator: " ")
      if words[0] == "end", words.count == 4 {
        ended += 1
        report.sent += Int(words[1]) ?? 0
        report.answered += Int(words[2]) ?? 0
        report.right += Int(words[3]) ?? 0
      } else if ["lost", "unasked", "wrong", "refused"].contains(words[0]) {
        report.odd.append(line)
      } else if !line.contains("Socket errors: connect 0,") {
        report.faults.append("wrk \(tag): \(line)")
      }
    }
    if ended != connections { report.faults.append("wrk \(tag): \(ended) of \(connections) connections ended") }
    if report.answered != connections * each {
      report.faults.append("wrk \(tag): \(report.answered) answers instead of \(connections * each)")
    }
    try note(report.tag) { number in "\(tag)\(number)" }
    return report
  }

  /// The nonces that were sent, one a line, from what the connections wrote at their end.
  private func note(_ tag: String, _ name: (Int) -> String) throws {
    var text = ""
    for file in try FileManager.default.contentsOfDirectory(atPath: out) where file.hasPrefix(tag + "-") {
      guard file.hasSuffix(".log"), let connection = Int(file.dropFirst(tag.count + 1).dropLast(4)) else { continue }
      let last = try String(contentsOfFile: out + "/" + file, encoding: .utf8).lines.last ?? ""
      let sent = last.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
      if sent > 0 { for number in 1...sent { text += "\(name(connection))-\(number)\n" } }
    }
    try Data(text.utf8).write(to: URL(filePath: "\(out)/\(tag).sent"))
  }

  /// HTTP/2 with prior knowledge on one connection with 32 streams; with a body where `posts`.
  func h2load(_ tag: String, _ functions: [String], requests: Int, posts: Bool) async throws -> Report {
    var random = SeededGenerator(seed: seed ^ UInt64(requests) &+ (posts ? 1 : 0))
    let length = posts ? 1000 : 0
    var addresses = ""
    var nonces = ""
    var sizes: [String] = []
    for number in 1...requests {
      let nonce = "\(tag)-\(number)"
      let function = functions[number % functions.count]
      let much = Int.random(in: 0..<20, using: &random) == 0
      let answer = Int.random(in: 0...(much ? 60_000 : 600), using: &random)
      let offset = Int.random(in: 0...190_000, using: &random)
      addresses += "\(cluster.gateway)/function/\(function)/\(nonce)?ok,0,\(length),\(offset),\(answer),0\n"
      nonces += nonce + "\n"
      // "NONCE FUNCTION-00001 LENGTH\n" stands before the part.
      sizes.append("\(nonce) \(answer + nonce.count + function.count + String(length).count + 9)")
    }
    try Data(addresses.utf8).write(to: URL(filePath: "\(out)/\(tag).uris"))
    try Data(nonces.utf8).write(to: URL(filePath: "\(out)/\(tag).sent"))
    try Data((sizes.joined(separator: "\n") + "\n").utf8).write(to: URL(filePath: "\(out)/\(tag).sizes"))
    try Data(SoakFunctions.pattern(length).utf8).write(to: URL(filePath: "\(out)/\(tag).body"))
    let ran = try await cluster.bash(
      """
      timeout -k 5 \(Self.patience) h2load -n \(requests) -c 1 -m 32 -i \(out)/\(tag).uris \
        \(posts ? "-d \(out)/\(tag).body" : "")
      """, limit: Double(Self.patience + 100))
    return Self.read(ran, tag, requests: requests)
  }

  /// Reads h2load's totals.
  private static func read(_ ran: Shell.Result, _ tag: String, requests: Int) -> Report {
    var report = Report(tag: tag, sent: requests)
    func numbers(_ prefix: String) -> [String: Int] {
      let line = ran.output.lines.first { $0.hasPrefix(prefix) } ?? ""
      var found: [String: Int] = [:]
      for part in line.dropFirst(prefix.count).split(separator: ",") {
        let words = part.split(separator: " ")
        if words.count >= 2, let number = Int(words[0]) { found[String(words[1])] = number }
      }
      return found
    }
    let totals = numbers("requests: ")
    let codes = numbers("status codes: ")
    report.answered = codes.values.reduce(0, +)
    // One that was broken off after its head is among the 2xx, and has not succeeded.
    report.right = totals["succeeded", default: 0]
    if totals["total"] != requests || totals["done"] != requests || totals["timeout"] != 0 || ran.status != 0 {
      report.faults.append("h2load \(tag): \(ran.all.suffix(800))")
    }
    if codes["3xx", default: 0] + codes["4xx", default: 0] > 0 { report.faults.append("h2load \(tag): \(codes)") }
    if let data = ran.output.firstMatch(of: /savings [^)]*\), [^ ]+ \((\d+)\) data/) {
      report.bytes = Int(data.output.1) ?? 0
    } else {
      report.faults.append("h2load \(tag) says no bytes: \(ran.all.suffix(800))")
    }
    return report
  }
}
