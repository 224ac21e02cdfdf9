import Glibc

/// When each part of a start was done, in nanoseconds since the start was asked for.
package struct SandboxTimings: Sendable, Equatable {
  /// The cgroups, mounts and message were ready and on their way to the spawner.
  package var preparedNs: UInt64
  /// The pod's process existed in its namespaces.
  package var clonedNs: UInt64
  /// The command was executed.
  package var executedNs: UInt64
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

  init(ticket: UInt64, slot: Int, pidfd: CInt, timings: SandboxTimings, cgroup: Cgroup?) {
    self.ticket = ticket
    self.slot = slot
    self.pidfd = pidfd
    self.timings = timings
    self.cgroup = cgroup
  }

  deinit {
    close(pidfd)
  }
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
  /// CPU time of all its processes, in microseconds.
  package var cpuMicroseconds: UInt64
  /// Peak memory in bytes: of the cgroup where there is one, else of the largest process.
  package var peakMemoryBytes: UInt64
  /// For people: "exited with 3", "killed by SIGKILL", "killed: out of memory (limit 128Mi)".
  package var reason: String
}

extension SandboxExit {
  /// Decides what an end means; pure.
  init(
    ticket: UInt64, slot: Int, waitStatus: Int32, outOfMemoryKills: UInt64, cpuMicroseconds: UInt64,
    peakMemoryBytes: UInt64, memoryLimit: UInt64, spawnerDied: Bool = false
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
    if spawnerDied {
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
