import ClusterTestSupport
import Foundation
import LogIndex

/// Records whose fields follow patterns for a stretch, as those of real programs do: runs of lengths that are runs
/// themselves, counters, identifiers, templates, texts of thousands of bytes.
struct PatternedRecords {
  private enum Pattern {
    case constant(String)
    case runs([String], [Int])
    case counter(String, Int)
    case random(String)
    case absent
  }

  private static let names = ["path", "n", "id", "took", "ok", "user.name", "hash", "größe"]
  private var random: SeededGenerator
  private var now: Int64
  private var made = 0
  private var patterns: [String: Pattern] = [:]
  private var steps: [Int64] = [0]
  private var left = 0

  init(seed: UInt64, time: Int64 = day) {
    random = SeededGenerator(seed: seed)
    now = time
  }

  mutating func next() -> [UInt8] {
    if left == 0 { turn() }
    left -= 1
    made += 1
    now += steps[made % steps.count]
    let time = random.chance(4) ? now - Int64.random(in: 0..<3_000_000_000, using: &random) : now
    var fields: [String] = []
    for name in Self.names {
      guard let value = value(name, of: patterns[name] ?? .absent) else { continue }
      let isNumber = name == "n" || (name == "took" && made % 3 == 0)
      fields.append(
        name == "user.name"
          ? "\"user\":{\"name\":\"\(value)\"}" : "\"\(name)\":" + (isNumber ? value : "\"\(value)\""))
    }
    return line(
      message(), time: time, namespace: text("namespace", "default"), function: text("function", "hello"),
      level: text("level", "info"), stream: text("stream", "stdout"), call: text("call", ""), pod: text("pod", "p"),
      fields: fields.joined(separator: ","))
  }

  private mutating func text(_ name: String, _ usual: String) -> String {
    patterns[name].flatMap { value(name, of: $0) } ?? usual
  }

  /// New patterns for the records that come.
  private mutating func turn() {
    left = Int.random(in: 1...900, using: &random)
    steps = random.pick([[0], [1], [0, 0, 0, 1_000_000], [1_000_003], [5, 50_000_000, 7]])
    patterns = [:]
    for name in Self.names { patterns[name] = pattern(values(name)) }
    for name in ["namespace", "function", "level", "stream", "call", "pod", "msg"] where random.chance(80) {
      patterns[name] = pattern(values(name))
    }
  }

  private mutating func pattern(_ values: [String]) -> Pattern {
    switch Int.random(in: 0..<6, using: &random) {
    case 0: return .constant(random.pick(values))
    case 1, 2:
      let length = Int.random(in: 1...40, using: &random)
      let few = (0..<Int.random(in: 2...4, using: &random)).map { _ in random.pick(values) }
      return .runs(few, random.pick([[length], [length, length + 1], [length, 1], [1, 1, 2]]))
    case 3: return .counter(random.pick(values), Int.random(in: 0..<1_000_000, using: &random))
    case 4: return .random(values[0])
    default: return .absent
    }
  }

  private func values(_ name: String) -> [String] {
    switch name {
    case "namespace": ["default", "team-a", ""]
    case "function": ["hello", "order", "order-2"]
    case "level": ["info", "error", "warn", "debug", "odd", ""]
    case "stream": ["stdout", "access", "stderr"]
    case "n", "took": ["0", "17", "250", "12.50", "-3"]
    case "ok": ["true", "maybe", ""]
    default: ["alpha", "beta gamma", "größe", "a\\nb", "x\\u00e9y", "12", "deadbeef01"]
    }
  }

  private mutating func value(_ name: String, of pattern: Pattern) -> String? {
    switch pattern {
    case .absent: return nil
    case .constant(let value): return value
    case .runs(let values, let lengths):
      // The lengths take turns in stretches of sixty runs.
      let length = lengths[made / 2_400 % lengths.count]
      return values[made / length % values.count]
    case .counter(let value, let start):
      return name == "n" || name == "took" ? "\(start + made * 3)" : "\(value)-\(start + made)"
    case .random:
      switch name {
      case "n": return "\(Int.random(in: 0..<100_000, using: &random)).\(Int.random(in: 10..<99, using: &random))"
      case "took": return "\(Int.random(in: 0..<999, using: &random))"
      case "hash": return hex(random.chance(80) ? 32 : 31)
      default: return "\(hex(8))-\(hex(4))-\(hex(4))-\(hex(4))-\(hex(12))"
      }
    }
  }

  private mutating func hex(_ digits: Int) -> String {
    String((0..<digits).map { _ in random.pick(Array("0123456789abcdef")) })
  }

  private mutating func message() -> String {
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<4: return "GET /api/\(made % 50)/item-\(made) 200 in \(made % 97).\(made % 10)ms"
    case 4: return "payment of order \(hex(8)) declined: connection refused"
    case 5: return text("msg", "nothing")
    case 6: return "größe 日本 \(made % 7) naïve"
    case 7 where random.chance(20):
      return (0..<Int.random(in: 20...400, using: &random)).map { _ in "w\(made % 9)-\(hex(9))" }.joined(separator: " ")
    default: return random.pick(["", "ready", "a\\tb \\\"quoted\\\" \(made % 11)", "timeout", "uptime 42"])
    }
  }
}
