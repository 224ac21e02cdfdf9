import Glibc
import Synchronization

/// When each part of a start was done, in nanoseconds since it was asked for.
package struct SandboxTimings: Sendable, Equatable {
  /// The cgroups, mounts and message were ready and on their way to the spawner.
  package var preparedNs: UInt64
  /// The pod's process existed in its namespaces.
  package var clonedNs: UInt64
  /// The pod stood, waiting for what it is to be; of a pod that was not made ahead, its command was executed.
  package var stoodNs: UInt64
}

/// One running pod; it keeps the process descriptor open as long as anyone holds it.
package final class Sandbox: Sendable {
  /// Unique for each start in this process.
  package let ticket: UInt64
  /// The pod's number on this node.
  package let slot: Int
  /// Stands for the pod's first process; readable when the pod has ended. Valid while this object lives.
  package let pidfd: CInt
  /// How long the start took.
  package let timings: SandboxTimings
  /// The pod's cgroups, for usage figures.
  package let cgroup: Cgroup?
  /// When it stood, nanoseconds of the monotonic clock.
  package let stoodNs: UInt64
  private let ran = Atomic<UInt64>(0)

  init(ticket: UInt64, slot: Int, pidfd: CInt, timings: SandboxTimings, stoodNs: UInt64, cgroup: Cgroup?) {
    self.ticket = ticket
    self.slot = slot
    self.pidfd = pidfd
    self.timings = timings
    self.cgroup = cgroup
    self.stoodNs = stoodNs
  }

  /// When its command began (to be executed, or to be told what it is), nanoseconds of the monotonic clock; nil until it is
  /// known that it did.
  package var ranNs: UInt64? {
    let ns = ran.load(ordering: .relaxed)
    return ns == 0 ? nil : ns
  }

  func heardThatItRuns(since ns: UInt64) { ran.store(ns, ordering: .relaxed) }

  deinit {
    close(pidfd)
  }
}

/// A pod that stands and waits for its function; letting go of it unbound ends it.
package final class Stem: Sendable {
  /// The pod it will be.
  package let sandbox: Sandbox
  /// What it was made with.
  package let spec: StemSpec
  private let socket: Mutex<CInt>

  init(sandbox: Sandbox, spec: StemSpec, socket: CInt) {
    self.sandbox = sandbox
    self.spec = spec
    self.socket = Mutex(socket)
  }

  deinit { discard() }

  /// Ends it unless it was bound.
  package func discard() {
    let fd = takeSocket()
    if fd >= 0 { close(fd) }
  }

  /// The socket on which it waits, the first time it is asked for; then -1. The caller closes it.
  func takeSocket() -> CInt {
    socket.withLock { socket in
      defer { socket = -1 }
      return socket
    }
  }
}

/// A process with an interpreter and its modules loaded, from which pods are forked; `Spawner.retire` ends it.
package final class Zygote: Sendable {
  /// Unique among all pods and zygotes of its spawner.
  package let ticket: UInt64
  private let alive = Mutex(true)

  init(ticket: UInt64) { self.ticket = ticket }

  /// Whether it is there; a pod of one that is not fails to start.
  package var isAlive: Bool { alive.withLock { $0 } }

  func ended() { alive.withLock { $0 = false } }
}

/// How a pod ended.
package struct SandboxExit: Sendable, Equatable {
  /// The start it belongs to.
  package var ticket: UInt64
  /// The pod's number on this node; free again.
  package var slot: Int
  /// The exit code, if the command ended by itself.
  package var exitCode: Int32?
  /// The signal that killed the command, if one did.
  package var signal: Int32?
  /// The kernel killed it because it reached its memory limit.
  package var oomKilled: Bool
  /// CPU time of its processes, in microseconds, without those that it left running; 0 when its spawner died.
  package var cpuMicroseconds: UInt64
  /// The most memory that one of its processes had, in bytes; 0 when its spawner died.
  package var peakMemoryBytes: UInt64
  /// Why it never became what it was bound to; nil otherwise.
  package var failure: SandboxError?
  /// For people: "exited with 3", "killed by SIGKILL", "killed: out of memory (limit 128Mi)".
  package var reason: String
}

extension SandboxExit {
  /// Decides what an end means; pure.
  init(
    ticket: UInt64, slot: Int, waitStatus: Int32, outOfMemoryKills: UInt64, cpuMicroseconds: UInt64,
    peakMemoryBytes: UInt64, memoryLimit: UInt64, spawnerDied: Bool = false, failure: SandboxError? = nil
  ) {
    let signal = waitStatus & 0x7f
    let code = (waitStatus >> 8) & 0xff
    self.ticket = ticket
    self.slot = slot
    self.exitCode = signal == 0 ? code : nil
    self.signal = signal == 0 ? nil : signal
    // Any process of the pod counts: a command whose child was killed usually fails because of it.
    self.oomKilled = outOfMemoryKills > 0 && (signal == SIGKILL || (signal == 0 && code != 0))
    self.cpuMicroseconds = cpuMicroseconds
    self.peakMemoryBytes = peakMemoryBytes
    self.failure = failure
    if let failure {
      reason = failure.description
    } else if spawnerDied {
      reason = "killed: its spawner died"
    } else if oomKilled {
      reason = "killed: out of memory (limit \(Self.binary(memoryLimit)))"
    } else if signal != 0 {
      reason = "killed by \(Self.name(ofSignal: signal))"
    } else {
      reason = "exited with \(code)"
    }
  }

  static func name(ofSignal signal: Int32) -> String {
    switch signal {
    case SIGHUP: "SIGHUP"
    case SIGINT: "SIGINT"
    case SIGQUIT: "SIGQUIT"
    case SIGILL: "SIGILL"
    case SIGTRAP: "SIGTRAP"
    case SIGABRT: "SIGABRT"
    case SIGBUS: "SIGBUS"
    case SIGFPE: "SIGFPE"
    case SIGKILL: "SIGKILL"
    case SIGSEGV: "SIGSEGV"
    case SIGPIPE: "SIGPIPE"
    case SIGALRM: "SIGALRM"
    case SIGTERM: "SIGTERM"
    case SIGUSR1: "SIGUSR1"
    case SIGUSR2: "SIGUSR2"
    case SIGSYS: "SIGSYS"
    case SIGXCPU: "SIGXCPU"
    case SIGXFSZ: "SIGXFSZ"
    default: "signal \(signal)"
    }
  }

  /// Bytes as people write limits: 128Mi, 1536Ki, 2Gi.
  static func binary(_ bytes: UInt64) -> String {
    for (shift, unit) in [(30, "Gi"), (20, "Mi"), (10, "Ki")] as [(UInt64, String)]
    where bytes >= 1 << shift && bytes % (1 << shift) == 0 {
      return "\(bytes >> shift)\(unit)"
    }
    return "\(bytes)"
  }
}
