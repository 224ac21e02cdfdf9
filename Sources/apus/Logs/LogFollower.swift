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
    var course = FollowCourse(request)
    var failures = 0
    while true {
      do {
        // The stream is opened before the history is asked for, so that nothing falls between the two.
        let stream = try await logs.follow(request)
        let opened = Timestamp.now()
        var lines: [[UInt8]] = []
        for try await line in try await logs.query(course.history) { lines.append(line) }
        let (new, limit) = course.take(history: lines, opened: opened)
        if let limit { Terminal.note("the newest \(limit) lines until now are shown, older ones are not") }
        for line in new { show(line) }
        for try await line in stream {
          failures = 0
          if course.take(line, at: .now()) { show(line) }
        }
      } catch let status as APIStatus where status.code < 500 {
        throw status
      } catch {
        if failures >= Self.reconnects || !course.hasBegun { throw error }
      }
      failures += 1
      if failures > Self.reconnects {
        throw Failure("the log service stays away", next: "`apus status` shows what is running.")
      }
      if failures == 2 { Terminal.note("the log stream broke; it is opened again") }
      try await Task.sleep(for: .milliseconds(Self.pause))
    }
  }

  /// The time of a record's line.
  static func time(of line: [UInt8]) -> Timestamp? {
    (try? JSONValue(bytes: line))?["time"]?.stringValue.flatMap(Timestamp.init)
  }
}
