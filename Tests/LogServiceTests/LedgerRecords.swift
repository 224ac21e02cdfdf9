import ClusterTestSupport
import ClusterModel
import LogIndex

/// Records as a node under load makes them: access records of a gateway, and ledgers of functions, lines of thousands of
/// bytes with hundreds of nonces each.
struct LedgerRecords {
  /// A sender and the lines of its next batch.
  struct Batch {
    var source: String
    var lines: [[UInt8]]
  }

  private static let lineBytes = 4_096
  private var random: SeededGenerator
  private var now: Int64 = 1_795_132_800_000_000_000
  private var next = 0
  private var open: [String: (node: String, function: String, text: String)] = [:]
  private var pods: [String: [String]] = [:]
  private var podNumber = 0
  /// The pod of each nonce.
  private(set) var ran: [String: String] = [:]
  /// The nonces of calls that did not end well.
  private(set) var failed: Set<String> = []
  private(set) var calls = 0

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  /// Calls of a moment: one batch of the gateway, and one for each worker whose pods ended a line.
  mutating func step(calls count: Int) -> [Batch] {
    var access: [[UInt8]] = []
    var ledger: [String: [[UInt8]]] = [:]
    // Now and then calls wait for pods, and then many do.
    let waiting = Int.random(in: 0..<4, using: &random) == 0 ? Int.random(in: 20...120, using: &random) : 0
    for call in 0..<count {
      now += Int64.random(in: 500...200_000, using: &random)
      let function = ["soak-a", "soak-b", "soak-c"][Int.random(in: 0..<20, using: &random) / 8]
      let pod = pod(function)
      let node = pod.utf8.reduce(0) { $0 &+ Int($1) } % 2 == 0 ? "w1" : "w2"
      next += 1
      let nonce = "\(["w1", "w7", "g", "p", "c3x2"][next % 5])-\(next)"
      ran[nonce] = pod
      calls += 1
      access.append(Array(record(function, pod, node, nonce, waits: call < waiting).utf8))
      var line = open[pod] ?? (node, function, "")
      line.text += line.text.isEmpty ? nonce : " " + nonce
      open[pod] = line
      if line.text.utf8.count >= Self.lineBytes { end(pod, &ledger) }
    }
    if Int.random(in: 0..<8, using: &random) == 0 { replacePods(&ledger) }
    return [Batch(source: "gateway-1/s", lines: access)]
      + ledger.sorted { $0.key < $1.key }.map { Batch(source: "\($0.key)/s", lines: $0.value) }
  }

  /// The lines that pods had not ended.
  mutating func rest() -> [Batch] {
    var ledger: [String: [[UInt8]]] = [:]
    for pod in open.keys.sorted() { end(pod, &ledger) }
    return ledger.sorted { $0.key < $1.key }.map { Batch(source: "\($0.key)/s", lines: $0.value) }
  }

  private mutating func pod(_ function: String) -> String {
    if pods[function, default: []].count < 4 {
      podNumber += 1
      let tail = String(UInt32.random(in: 0...0xFFFFF, using: &random), radix: 36)
      pods[function, default: []].append("\(function)-0000\(podNumber % 10)-\(tail)")
    }
    let all = pods[function, default: []]
    return all[Int.random(in: 0..<all.count, using: &random)]
  }

  private mutating func replacePods(_ ledger: inout [String: [[UInt8]]]) {
    let function = ["soak-a", "soak-b", "soak-c"][Int.random(in: 0..<3, using: &random)]
    for pod in pods[function, default: []] { end(pod, &ledger) }
    pods[function] = []
  }

  private mutating func end(_ pod: String, _ ledger: inout [String: [[UInt8]]]) {
    guard let line = open.removeValue(forKey: pod) else { return }
    ledger[line.node, default: []].append(
      Array(
        (head(line.function, pod, line.node, "stdout", "info")
          + #","call":"","msg":"\#(line.text)","fields":{}}"#).utf8))
  }

  private mutating func record(
    _ function: String, _ pod: String, _ node: String, _ nonce: String, waits: Bool
  ) -> String {
    let isFailed = Int.random(in: 0..<200, using: &random) == 0
    let isCut = isFailed && Int.random(in: 0..<3, using: &random) == 0
    let status = isFailed && !isCut ? 502 : 200
    let isCold = Int.random(in: 0..<500, using: &random) == 0
    if isFailed { failed.insert(nonce) }
    let method = nonce.hasPrefix("p") ? "POST" : "GET"
    let path = "/function/\(function)/\(nonce)"
    let duration = number(40)
    var text = head(function, pod, node, "access", status == 502 ? "error" : "info")
    text += #","call":"\#(uuid())","msg":"\#(method) \#(path) \#(status) \#(tenths(duration))ms","#
    text += #""fields":{"status":\#(status),"duration_ms":\#(thousandths(duration)),"#
    text += #""queue_ms":\#(thousandths(waits ? number(60) : 0)),"#
    text += #""bytes_in":\#(Int.random(in: 0..<9_000, using: &random)),"#
    text += #""bytes_out":\#(Int.random(in: 20..<99_000, using: &random)),"method":"\#(method)","path":"\#(path)""#
    text += #","first_byte_ms":\#(thousandths(number(30)))"#
    if status == 502 { text += #","code":"pod_crashed","error":"pod \#(pod) ended before it answered: \"EOF\"""# }
    if isCut { text += #","client_gone":true"# }
    if isCold {
      text += #","cold":true,"cold_placed_ms":\#(thousandths(number(2))),"#
      text += #""cold_total_ms":\#(thousandths(number(80)))"#
    }
    return text + "}}"
  }

  private func head(_ function: String, _ pod: String, _ node: String, _ stream: String, _ level: String) -> String {
    #"{"time":"\#(Timestamp(nanoseconds: now).text(digits: 9))","namespace":"default","function":"\#(function)","#
      + #""revision":"\#(function)-00001","pod":"\#(pod)","node":"\#(node)","stream":"\#(stream)","level":"\#(level)""#
  }

  private mutating func number(_ most: Int) -> Int { Int.random(in: 0..<(most * 1_000), using: &random) }

  private func thousandths(_ value: Int) -> String {
    "\(value / 1_000)." + String(String(value % 1_000 + 1_000).dropFirst())
  }

  private func tenths(_ value: Int) -> String { "\(value / 1_000).\(value / 100 % 10)" }

  private mutating func uuid() -> String {
    let digits = Array("0123456789abcdef")
    return String(
      (0..<36).map { place -> Character in
        [8, 13, 18, 23].contains(place) ? "-" : digits[Int.random(in: 0..<16, using: &random)]
      })
  }
}
