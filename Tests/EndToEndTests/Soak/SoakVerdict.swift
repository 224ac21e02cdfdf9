import ClusterTestSupport
import Foundation
import Synchronization
import Testing

/// Judges a soak of the gateway by three ledgers: what the tools got, what the functions wrote that they ran, and the
/// gateway's access records of what did not end well.
struct SoakVerdict {
  let plan: SoakGatewayTests.Plan
  let board: SoakGatewayTests.Board

  /// A call's killed pod is gone within this time, seconds.
  static let killed = 5.0

  /// Bytes of the body of a platform's answer.
  static let errorBytes = 100...300

  /// An access record of a call that did not end with a 200.
  struct Fault {
    let nonce: String
    let status: Int
    let code: String
    let pod: String
    let function: String
    let at: Date
    let bytes: Int
    let text: String
  }

  func judge() async throws {
    let seen = board.seen.withLock { $0 }
    let names = SoakGatewayTests.steady + [SoakGatewayTests.waved]
    for fault in seen.reports.flatMap(\.faults) { Issue.record("\(fault) (seed \(board.seed))") }
    #expect(seen.redeploys == plan.redeploys && seen.peaks.count == plan.cycles && seen.kills.count == plan.kills)
    let faults = try await faults(names)
    let kills = Dictionary(seen.kills.map { ($0.pod, $0.at) }) { first, _ in first }
    let blamed = faults.filter { blames($0, kills) }
    for fault in faults where !blames(fault, kills) {
      Issue.record("not the call of a killed pod: \(fault.text) (seed \(board.seed))")
    }
    let known = Set(faults.map(\.nonce))
    for odd in seen.reports.flatMap(\.odd) {
      let words = odd.split(separator: " ")
      let excused = ["lost", "refused"].contains(words[0]) && known.contains(String(words[1]))
      if !excused { Issue.record("not answered rightly: \(odd) (seed \(board.seed))") }
    }
    for report in seen.reports where report.bytes > 0 { try await bodies(report, faults) }
    let ran = try await runs(names, known, kills)
    let right = seen.reports.reduce(0) { $0 + $1.right }
    let sent = seen.reports.reduce(0) { $0 + $1.sent }
    #expect(right + blamed.count == sent, "\(sent) sent, \(right) right, \(blamed.count) of killed pods")
    #expect(sent >= plan.requests)
    let counted = try await board.metric("apus_gateway_requests_total")
    #expect(counted == sent, "the gateway counted \(counted) requests of \(sent)")
    #expect(try await board.metric("apus_gateway_log_records_dropped_total") == 0, "an access record was dropped")
    tell(seen, faults, blamed: blamed.count, ran: ran)
  }

  /// Whether a call failed because its pod was killed, and it may not run twice: its function does not allow it, or the
  /// answer had begun.
  private func blames(_ fault: Fault, _ kills: [String: Date]) -> Bool {
    guard let at = kills[fault.pod], fault.function != "soak-b" || fault.status == 200 else { return false }
    let late = fault.at.timeIntervalSince(at)
    return late > -60 && late < Self.killed && (fault.status == 200 || fault.code == "pod_crashed")
  }

  /// The access records of calls that did not end with a whole 200, once every record is there.
  private func faults(_ names: [String]) async throws -> [Fault] {
    _ = try await eventually(within: .seconds(60)) {
      try await board.metric("apus_gateway_log_records_waiting") == 0
    }
    let query = """
      stream:access AND (\(names.map { "function:\($0)" }.joined(separator: " OR "))) AND \
      (NOT status:200 OR error:* OR client_gone:true)
      """
    let found = try await board.cluster.bash(
      """
      set -o pipefail
      apus logs '\(query)' --since 6h -n 1000000 -o json \
        | jq -r 'if .truncated then error("cut: " + .truncated) else . end | [(.fields.path | split("/") | last), \
        .fields.status, (.fields.code // "-"), (if .pod == "" then "-" else .pod end // "-"), .function, \
        ((.time | sub("\\\\.[0-9]+Z"; "Z") | fromdate) + ("0" + (.time | capture("(?<f>[.][0-9]+)Z").f) | tonumber)), \
        .fields.bytes_out, (tojson)] | @tsv'
      """, limit: 600)
    guard found.status == 0 else { throw ClusterFailure("access records cannot be read: \(found.all)") }
    return found.output.lines.compactMap { line in
      let parts = line.split(separator: "\t").map(String.init)
      guard parts.count == 8 else { return nil }
      return Fault(
        nonce: parts[0], status: Int(parts[1]) ?? 0, code: parts[2], pod: parts[3], function: parts[4],
        at: Date(timeIntervalSince1970: Double(parts[5]) ?? 0), bytes: Int(parts[6]) ?? 0, text: parts[7])
    }
  }

  /// The bytes of bodies that h2load got are those of its answers, so that none was cut.
  private func bodies(_ report: SoakLoad.Report, _ faults: [Fault]) async throws {
    let own = faults.filter { $0.nonce.hasPrefix(report.tag + "-") }
    let failed = Set(own.map(\.nonce))
    var expected = own.reduce(0) { $0 + $1.bytes }
    for line in try String(contentsOfFile: "\(board.load.out)/\(report.tag).sizes", encoding: .utf8).lines {
      let words = line.split(separator: " ")
      if !failed.contains(String(words[0])) { expected += Int(words[1]) ?? 0 }
    }
    // The body of a platform's own answer is not in its access record.
    let bodies = own.count { $0.code != "-" }
    let more = (bodies * Self.errorBytes.lowerBound)...(bodies * Self.errorBytes.upperBound)
    #expect(
      more.contains(report.bytes - expected),
      "\(report.tag) had \(report.bytes) bytes of bodies instead of \(expected), \(bodies) errors (seed \(board.seed))")
    #expect(report.right == report.sent - own.count, "answers of \(report.tag) (seed \(board.seed))")
  }

  /// The functions' ledger: each nonce that was sent ran once, unless its pod was killed. Answers how many runs it has.
  private func runs(_ names: [String], _ known: Set<String>, _ kills: [String: Date]) async throws -> Int {
    let ran = try await board.functions.writeLedger(names)
    let compared = try await board.cluster.bash(
      """
      export LC_ALL=C
      sort out/*.sent >sent; cut -d' ' -f1 ran | sort -u >once
      comm -23 sent once | sed 's/^/never /'; comm -13 sent once | sed 's/^/unknown /'
      cut -d' ' -f1 ran | uniq -d | join - ran | sed 's/^/again /'; uniq -d sent | sed 's/^/doubly sent /'
      """, limit: 600)
    var again: [String: [String]] = [:]
    var faults: [String] = []
    for line in compared.output.lines {
      let words = line.split(separator: " ").map(String.init)
      if words[0] == "again", words.count == 3 {
        again[words[1], default: []].append(words[2])
      } else if words[0] != "never" || !known.contains(words[1]) {
        faults.append(line)
      }
    }
    for (nonce, pods) in again {
      // Only an idempotent function may run a call again, and only when its pod was killed.
      let excused = pods.filter { kills[$0] != nil && $0.hasPrefix("soak-b-") }.count >= pods.count - 1
      if !excused { faults.append("\(nonce) ran more than once: \(pods)") }
    }
    #expect(
      faults.isEmpty,
      "the functions' ledger has \(faults.count) faults: \(faults.prefix(20).joined(separator: "; ")) (seed \(board.seed))"
    )
    return ran
  }

  private func tell(
    _ seen: SoakGatewayTests.Board.Seen, _ faults: [Fault], blamed: Int, ran: Int
  ) {
    func sum(_ tags: (String) -> Bool, _ value: (SoakLoad.Report) -> Int) -> Int {
      seen.reports.filter { tags($0.tag) }.reduce(0) { $0 + value($1) }
    }
    let http2 = { (tag: String) in tag == "g" || tag == "p" }
    let odd = seen.reports.flatMap(\.odd)
    print(
      """
      gateway: \(sum({ _ in true }, \.sent)) requests: wrk \(sum({ !http2($0) }, \.sent)) sent, \
      \(sum({ !http2($0) }, \.right)) right to the byte; h2load \(sum(http2, \.sent)) sent, \(sum(http2, \.right)) of 2xx, \
      \(sum(http2, \.bytes)) bytes of bodies
      gateway: \(seen.redeploys) redeploys, \(seen.peaks.count) cycles with \(seen.peaks) pods at the most, \
      \(seen.kills.count) pods killed: \(seen.kills.map(\.pod).joined(separator: " "))
      gateway: \(ran) runs in the functions' ledger; \(faults.count) calls not ended with a 200, \(blamed) of them in a \
      killed pod; wrk: \(odd.filter { $0.hasPrefix("lost") }.count) broken off, \
      \(odd.filter { $0.hasPrefix("refused") }.count) refused
      """)
    for (pod, calls) in Dictionary(grouping: faults, by: \.pod).sorted(by: { $0.key < $1.key }) {
      let codes = Dictionary(grouping: calls) { "\($0.status) \($0.code)" }.map { "\($0.value.count) of \($0.key)" }
      let kill = seen.kills.first { $0.pod == pod }?.at ?? .distantPast
      let began = calls.map { String(format: "%+.3f", $0.at.timeIntervalSince(kill)) }
      print("gateway: in \(pod): \(codes.sorted().joined(separator: ", ")), begun \(began.sorted()) s after its kill")
    }
  }
}
