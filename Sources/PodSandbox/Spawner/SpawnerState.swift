/// The spawner's side table: which starts wait for an answer, which pods run, what waits to be sent. No I/O, no lock.
struct SpawnerState {
  enum Phase: Equatable {
    case running
    case closing
    case dead(String)
  }

  /// One message that did not fit into the socket; its descriptors are the waiting caller's and stay open.
  struct Outgoing {
    var ticket: UInt64
    var bytes: [UInt8]
    var descriptors: [CInt]
  }

  struct Waiting {
    var slot: Int
    var memoryLimit: UInt64
    var cgroup: Cgroup?
    var command: String
    var askedNs: UInt64
    var preparedNs: UInt64
    var continuation: CheckedContinuation<Result<Sandbox, SandboxError>, Never>
  }

  struct Running {
    var slot: Int
    var memoryLimit: UInt64
    var cgroup: Cgroup?
  }

  /// Named bound of starts that wait for the socket.
  static let outgoingLimit = 4096

  var phase: Phase = .running
  var nextTicket: UInt64 = 1
  var waiting: [UInt64: Waiting] = [:]
  var running: [UInt64: Running] = [:]
  var outgoing: [Outgoing] = []
  /// Groups that could not be removed yet, tried again with the next pod that ends.
  var undestroyed: [Cgroup] = []

  mutating func takeTicket() -> UInt64 {
    defer { nextTicket += 1 }
    return nextTicket
  }
}
