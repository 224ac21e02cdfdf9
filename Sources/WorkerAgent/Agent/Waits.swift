/// Every wait of this target that no event ends, by name, with its length's bound. No other file sleeps.
enum NamedWait: Sendable {
  /// Lets more log lines arrive before a small batch is sent: 10 ms.
  case shipperLinger
  /// The log service is away or full: 50 ms … 2 s between attempts.
  case shipperBackoff(milliseconds: Int64)
  /// The server is away: 50 ms … 2 s between attempts.
  case reconnect(milliseconds: Int64)
  /// The period of a readiness or liveness probe, as its manifest says.
  case probePeriod(milliseconds: Int64)
  /// A package's download failed: 100 ms … 1 s between attempts, three at most.
  case downloadRetry(milliseconds: Int64)
  /// A pod took a stem: the next one is made once the pods that start had the processor; 15 ms between two looks.
  case stemRefill
  /// Making a stem failed: 100 ms … 2 s between attempts.
  case stemRetry(milliseconds: Int64)
  /// A deadline on something that should end by itself.
  case deadline(milliseconds: Int64)

  /// The length of `stemRefill`, milliseconds.
  static let stemRefillMilliseconds: Int64 = 15

  private var milliseconds: Int64 {
    switch self {
    case .shipperLinger: 10
    case .stemRefill: Self.stemRefillMilliseconds
    case .shipperBackoff(let milliseconds), .reconnect(let milliseconds), .stemRetry(let milliseconds):
      min(max(milliseconds, 0), 2000)
    case .probePeriod(let milliseconds): max(milliseconds, 10)
    case .downloadRetry(let milliseconds): min(max(milliseconds, 0), 1000)
    case .deadline(let milliseconds): max(milliseconds, 0)
    }
  }

  /// Waits, or throws when the task is cancelled.
  func wait() async throws { try await Task.sleep(for: .milliseconds(milliseconds)) }
}

/// What did not end before its deadline.
struct DeadlinePassed: Error {}

/// Runs something against a deadline; the loser is cancelled.
func within<Value: Sendable>(
  milliseconds: Int64, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
  try await withThrowingTaskGroup(of: Value.self) { group in
    group.addTask { try await body() }
    group.addTask {
      try await NamedWait.deadline(milliseconds: milliseconds).wait()
      throw DeadlinePassed()
    }
    defer { group.cancelAll() }
    guard let value = try await group.next() else { throw DeadlinePassed() }
    return value
  }
}

/// How long to wait before the n-th attempt in a row: at once, then doubling between bounds. Pure.
struct Backoff: Hashable, Sendable {
  /// The first wait that is one, milliseconds.
  let first: Int64
  /// The longest, milliseconds.
  let longest: Int64
  private var failures = 0

  /// A back-off after no failure.
  init(first: Int64 = 50, longest: Int64 = 2000) {
    self.first = first
    self.longest = longest
  }

  /// Notes a failure and answers the wait in milliseconds: 0 after the first.
  mutating func failed() -> Int64 {
    failures += 1
    return failures == 1 ? 0 : min(longest, first << Int64(min(failures - 2, 20)))
  }

  /// Notes a success.
  mutating func succeeded() { failures = 0 }
}
