/// What the Runtime API allows when: which invocations wait, which polls for one wait, which are being answered.
///
/// A value without effects. One runtime takes one invocation after the other; with `workers` above 1 it takes so many at
/// once, each by a poll of its own (AWS_LAMBDA_MAX_CONCURRENCY).
package struct RuntimeState: Sendable {
  /// Where the runtime is in its life.
  package enum Phase: Sendable, Equatable {
    /// Started; it has not asked for an invocation yet.
    case initializing
    /// It has asked for one.
    case ready
    /// It said that it could not start.
    case failed
    /// Its process is gone.
    case ended
  }

  /// What becomes of a poll for the next invocation.
  package enum Next: Sendable, Equatable {
    /// It gets this invocation at once.
    case deliver(String)
    /// It waits; a poll that waited before it, and whose place it takes, is refused.
    case wait(superseded: Int?)
    /// Out of order: 403.
    case refused
  }

  /// What becomes of a new invocation.
  package enum Invoke: Sendable, Equatable {
    /// A waiting poll takes it.
    case deliver(poll: Int)
    /// It waits for a poll.
    case queued
    /// An invocation of this id is there already.
    case known
    /// No runtime will ever take it.
    case ended
  }

  /// What becomes of a response or an error.
  package enum Verdict: Sendable, Equatable {
    /// It is the answer.
    case accepted
    /// No invocation of this id is out: 400.
    case unknownID
    /// Out of order: 403.
    case outOfOrder
  }

  private enum Progress { case running, answering }

  /// Where the runtime is in its life.
  package private(set) var phase = Phase.initializing
  private let workers: Int
  private var waiting: [String] = []
  private var polls: [Int] = []
  private var out: [String: Progress] = [:]
  private var lastAnswered: String?

  /// The state of a runtime that was just started; `workers` is how many invocations it may have at once.
  package init(workers: Int) { self.workers = max(1, workers) }

  /// Whether one invocation is taken after the other.
  package var isSingle: Bool { workers == 1 }

  /// The invocation that runs, where there can be only one.
  package var current: String? { isSingle ? out.keys.first : nil }

  /// The invocations that the runtime has.
  package var running: some Collection<String> { out.keys }

  /// The runtime asks for an invocation.
  package mutating func next(poll: Int) -> Next {
    guard phase == .initializing || phase == .ready else { return .refused }
    var superseded: Int?
    if workers == 1 {
      guard out.isEmpty else { return .refused }
      superseded = polls.popLast()
    } else if polls.count + out.count >= workers {
      return .refused
    }
    phase = .ready
    guard !waiting.isEmpty else {
      polls.append(poll)
      return .wait(superseded: superseded)
    }
    let id = waiting.removeFirst()
    out[id] = .running
    return .deliver(id)
  }

  /// A poll's connection is gone.
  package mutating func forget(poll: Int) { polls.removeAll { $0 == poll } }

  /// A call came.
  package mutating func invoke(_ id: String) -> Invoke {
    guard phase == .initializing || phase == .ready else { return .ended }
    guard out[id] == nil, !waiting.contains(id) else { return .known }
    guard !polls.isEmpty else {
      waiting.append(id)
      return .queued
    }
    out[id] = .running
    return .deliver(poll: polls.removeFirst())
  }

  /// An invocation did not reach the poll it was for; answers the poll that takes it instead. If none does, it waits.
  package mutating func undelivered(_ id: String) -> Int? {
    guard out.removeValue(forKey: id) != nil else { return nil }
    guard !polls.isEmpty else {
      waiting.insert(id, at: 0)
      return nil
    }
    out[id] = .running
    return polls.removeFirst()
  }

  /// The caller has gone; true when the invocation had not reached the runtime, which never sees it then.
  package mutating func withdraw(_ id: String) -> Bool {
    guard let index = waiting.firstIndex(of: id) else { return false }
    waiting.remove(at: index)
    return true
  }

  /// The runtime begins to answer.
  package mutating func answer(_ id: String) -> Verdict {
    switch out[id] {
    case .running:
      out[id] = .answering
      return .accepted
    case .answering: return .outOfOrder
    case nil: return id == lastAnswered || (lastAnswered == nil && out.isEmpty) ? .outOfOrder : .unknownID
    }
  }

  /// The answer is complete.
  package mutating func answered(_ id: String) {
    guard out.removeValue(forKey: id) != nil else { return }
    lastAnswered = id
  }

  /// The runtime says that it could not start; false when that is out of order, or was said before.
  package mutating func failInit() -> Bool {
    guard phase == .initializing else { return false }
    phase = .failed
    return true
  }

  /// The runtime is gone, or will never be ready: what nobody will answer, and the polls nobody waits behind.
  package mutating func end(_ phase: Phase = .ended) -> (invocations: [String], polls: [Int]) {
    defer { (waiting, polls, out) = ([], [], [:]) }
    self.phase = phase
    return (waiting + out.keys.sorted(), polls)
  }
}
