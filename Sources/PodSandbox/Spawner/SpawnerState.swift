/// The spawner's side table: which starts wait for an answer, which pods run, what waits to be sent. No I/O, no lock.
struct SpawnerState {
  enum Phase: Equatable {
    case running
    case closing
    case dead(String)
  }

  /// One message that did not fit into the socket; its descriptors are the waiting caller's and stay open.
  struct Outgoing {
    var bytes: [UInt8]
    var descriptors: [CInt]
  }

  /// A start that was asked for.
  struct Waiting {
    var slot: Int
    var memoryLimit: UInt64
    var cgroup: Cgroup?
    var command: String
    /// The ticket of the zygote that makes it; nil when the spawner does.
    var zygote: UInt64?
    var askedNs: UInt64
    var preparedNs: UInt64
    /// Answered when the pod is bound, not when it stands.
    var untilBound: Bool
    /// Tells a pod that stands what it is, where it was not told ahead.
    var tellWhatItIs: (@Sendable () -> Void)?
    /// Known once it stands.
    var sandbox: Sandbox?
    var continuation: CheckedContinuation<Result<Sandbox, SandboxError>, Never>
  }

  /// A pod that stands or runs.
  struct Running {
    var slot: Int
    var memoryLimit: UInt64
    var cgroup: Cgroup?
    var command: String
    /// Let go of by its owner, who keeps the process descriptor open as long as it needs it.
    weak var sandbox: Sandbox?
  }

  /// Named bound of messages that wait for the socket.
  static let outgoingLimit = 4096

  var phase: Phase = .running
  var nextTicket: UInt64 = 1
  var waiting: [UInt64: Waiting] = [:]
  var running: [UInt64: Running] = [:]
  /// Zygotes by ticket, and who waits for one to serve.
  var zygotes: [UInt64: Zygote] = [:]
  var zygotesWaiting: [UInt64: CheckedContinuation<Result<Void, SandboxError>, Never>] = [:]
  /// When each zygote was asked for or made a pod last, monotonic nanoseconds.
  var heard: [UInt64: UInt64] = [:]
  /// When zygotes were looked at last.
  var lookedNs: UInt64 = 0
  var outgoing: [Outgoing] = []
  /// Groups of pods that ended.
  var removals = CgroupRemovals()

  mutating func takeTicket() -> UInt64 {
    defer { nextTicket += 1 }
    return nextTicket
  }

  /// Turns a start that is answered now into a pod that runs.
  @discardableResult
  mutating func run(_ ticket: UInt64) -> Waiting? {
    guard let waiting = waiting.removeValue(forKey: ticket) else { return nil }
    running[ticket] = Running(
      slot: waiting.slot, memoryLimit: waiting.memoryLimit, cgroup: waiting.cgroup, command: waiting.command,
      sandbox: waiting.sandbox)
    return waiting
  }

  /// A zygote makes a pod in two milliseconds, and loads its modules in half a second; on a crowded machine in ten times that.
  static let zygotePatienceNs: UInt64 = 10_000_000_000

  /// How often zygotes are looked at.
  static let zygoteLookNs: UInt64 = 1_000_000_000

  /// Those that `stuckZygotes` finds, looked for once in `zygoteLookNs`: asking costs as much as there are starts under way.
  mutating func lookForStuckZygotes(now: UInt64) -> [Zygote] {
    guard now >= lookedNs &+ Self.zygoteLookNs else { return [] }
    lookedNs = now
    return stuckZygotes(now: now)
  }

  /// Zygotes that owe pods, or that they serve, and did nothing for too long.
  func stuckZygotes(now: UInt64) -> [Zygote] {
    var since: [UInt64: UInt64] = [:]
    for start in waiting.values where start.sandbox == nil {
      guard let zygote = start.zygote else { continue }
      since[zygote] = min(since[zygote] ?? .max, start.askedNs)
    }
    for ticket in zygotesWaiting.keys { since[ticket] = 0 }
    return since.compactMap { ticket, asked in
      now > max(asked, heard[ticket] ?? 0) &+ Self.zygotePatienceNs ? zygotes[ticket] : nil
    }
  }

  /// A new ticket, if the spawner takes another start.
  mutating func admit() throws(SandboxError) -> UInt64 {
    if case .dead(let why) = phase { throw .spawnerGone(why) }
    guard phase == .running else { throw .spawnerGone("it is shutting down") }
    guard outgoing.count < Self.outgoingLimit else { throw .busy(limit: Self.outgoingLimit) }
    return takeTicket()
  }
}
