import ClusterAPI
import ClusterModel

/// Follows log lines without a gap or a repetition: some history first, then every new line, over broken connections.
struct LogFollower {
  /// Times in a row a broken stream is opened again without any line between.
  static let reconnects = 60
  /// Time between two tries, milliseconds.
  static let pause: Int64 = 1000

  /// The log service.
  let logs: any LogQueries
  /// What to look for; its limit bounds the history.
  let request: LogRequest

  /// Runs until it is cancelled; throws when the service stays away.
  func run(_ show: ([UInt8]) -> Void) async throws {
    var seen = RecentLines()
    var since = request.since
    var failures = 0
    var first = true
    while true {
      do {
        // The stream is opened before the history is asked for, so that nothing falls between the two.
        let stream = try await logs.follow(request)
        for line in try await history(since: since, all: first) where seen.insert(line) {
          since = LogFollower.time(of: line) ?? since
          show(line)
        }
        first = false
        for try await line in stream where seen.insert(line) {
          since = LogFollower.time(of: line) ?? since
          failures = 0
          show(line)
        }
      } catch let status as APIStatus where status.code < 500 {
        throw status
      } catch {
        if failures >= Self.reconnects || first { throw error }
      }
      failures += 1
      if failures > Self.reconnects {
        throw Failure("the log service stays away", next: "`apus status` shows what is running.")
      }
      if failures == 2 { Terminal.note("the log stream broke; it is opened again") }
      try await Task.sleep(for: .milliseconds(Self.pause))
    }
  }

  /// Lines since the last one shown, oldest first.
  private func history(since: Timestamp?, all: Bool) async throws -> [[UInt8]] {
    var past = request
    past.since = since
    if !all { past.limit = Logs.linesBounded }
    var lines: [[UInt8]] = []
    for try await line in try await logs.query(past) { lines.append(line) }
    return lines.reversed()
  }

  /// The time of a record's line.
  static func time(of line: [UInt8]) -> Timestamp? {
    (try? JSONValue(bytes: line))?["time"]?.stringValue.flatMap(Timestamp.init)
  }
}

/// The last lines that were shown, so that a line is never shown twice where two answers overlap.
struct RecentLines {
  /// Lines remembered at most.
  static let capacity = 4096

  private var order: [Int] = []
  private var next = 0
  private var counts: [Int: Int] = [:]

  /// Remembers a line; false when it was remembered already.
  mutating func insert(_ line: [UInt8]) -> Bool {
    let hash = line.hashValue
    guard counts[hash] == nil else { return false }
    counts[hash] = 1
    if order.count < Self.capacity {
      order.append(hash)
    } else {
      counts[order[next]] = nil
      order[next] = hash
      next = (next + 1) % Self.capacity
    }
    return true
  }
}
