/// What a pod may use; every field has a bound that the kernel enforces.
package struct SandboxLimits: Sendable, Equatable {
  /// Memory of all the pod's processes together with its /tmp, in bytes.
  package var memoryBytes: UInt64
  /// CPU time a second, in thousandths of one core.
  package var cpuMillis: UInt32
  /// Processes and threads at once.
  package var pids: UInt32
  /// Size of /tmp, in bytes.
  package var tmpBytes: UInt64
  /// Files and folders in /tmp.
  package var tmpInodes: UInt64
  /// Open descriptors of one process; never above the worker's own hard limit.
  package var openFiles: UInt32

  /// The platform's defaults: 128Mi, one core, 64 processes, /tmp of 64Mi and 8,192 files, 1,024 descriptors.
  package init(
    memoryBytes: UInt64 = 128 << 20, cpuMillis: UInt32 = 1000, pids: UInt32 = 64, tmpBytes: UInt64 = 64 << 20,
    tmpInodes: UInt64 = 8192, openFiles: UInt32 = 1024
  ) {
    self.memoryBytes = memoryBytes
    self.cpuMillis = cpuMillis
    self.pids = pids
    self.tmpBytes = tmpBytes
    self.tmpInodes = tmpInodes
    self.openFiles = openFiles
  }
}

/// One secret file of a pod, mode 0400 and owned by the pod's user.
package struct SandboxSecret: Sendable, Equatable {
  /// `name` or `name/key` below /var/openfaas/secrets (a path that starts there is cut): letters, digits, `.`, `-`
  /// and `_`.
  package var path: String
  /// The content, at most 1 MiB; 4 MiB for all secrets of a pod.
  package var bytes: [UInt8]

  /// A secret file.
  package init(path: String, bytes: [UInt8]) {
    self.path = path
    self.bytes = bytes
  }
}

/// What a stem, a pod made ahead, is made of: all that does not depend on the function it will serve.
package struct StemSpec: Sendable {
  /// Where the pod's root, and perhaps its first program, come from.
  package enum Origin: Sendable {
    /// The prepared root folder (see `RootBuilder`).
    case root(String)
    /// A detached mount (see `OverlayRoot`), the caller's to close; one opened for writes may be left writable.
    case mounted(CInt, writable: Bool)
    /// A zygote of the same spawner: its root, and a fork of it as the command.
    case zygote(Zygote)

    /// The zygote's ticket, if it is one.
    var zygote: UInt64? {
      guard case .zygote(let zygote) = self else { return nil }
      return zygote.ticket
    }
  }

  /// The pod's number on this node, 0 …< `slotCount`; its user and cgroup follow from it.
  package var slot: Int
  /// The unprivileged user (and group) that the pod runs as; by default the slot's first of `HostUsers`.
  package var hostUID: UInt32
  /// The unprivileged host group; nil for the number of `hostUID`.
  package var hostGID: UInt32?
  /// Root and way of starting.
  package var origin: Origin
  /// A command that is started ahead and waits for what it will be on descriptor 6; empty: the command comes later.
  package var warmArguments: [String]
  /// The environment of the warm command until then.
  package var warmEnvironment: [String: String]
  /// What it may use while it waits; what `BindSpec` says is written over it.
  package var limits: SandboxLimits
  /// It is made in nobody's name: it gets the processor when nobody else wants it, until it is bound.
  package var quiet: Bool
  /// Becomes descriptor 1; -1 for /dev/null. All descriptors stay the caller's to close, after the stem was made.
  package var stdout: CInt
  /// Becomes descriptor 2; -1 for /dev/null.
  package var stderr: CInt
  /// The listening socket, becomes descriptor 3; -1 for none.
  package var listener: CInt
  /// The framed log pipe, becomes descriptor 4; -1 for none.
  package var frames: CInt
  /// The control pipe, becomes descriptor 5; -1 for none. A warm command writes `w` to it when it waits.
  package var control: CInt
  /// The system call filter; off only in tests that prove it matters.
  package var seccomp: Bool
  /// It stays in the host's network: what carries the packets of another pod, and nothing of a user's.
  var hostNetwork: Bool
  /// The groups of another pod, which it joins instead of having its own.
  var joins: Cgroup?

  /// A stem without descriptors, of the platform's default limits.
  package init(slot: Int, origin: Origin, limits: SandboxLimits = SandboxLimits()) {
    self.slot = slot
    self.hostUID = HostUsers.current.user(ofSlot: slot)
    self.origin = origin
    self.warmArguments = []
    self.warmEnvironment = [:]
    self.limits = limits
    self.quiet = false
    self.stdout = -1
    self.stderr = -1
    self.listener = -1
    self.frames = -1
    self.control = -1
    self.seccomp = true
    self.hostNetwork = false
    self.joins = nil
  }

  /// Whether a command is started before the pod is bound.
  var isWarm: Bool {
    if case .zygote = origin { return true }
    return !warmArguments.isEmpty
  }
}

/// What makes a stem a function's pod.
package struct BindSpec: Sendable {
  /// Host name inside the pod, at most 63 bytes.
  package var hostname: String
  /// The folder that becomes /function, read-only; nil for none.
  package var codePath: String?
  /// Where the command begins; nil for /function with code and / without. A warm command goes there by itself.
  package var directory: String?
  /// The command; the first is a path, or a name searched in the pod's PATH. Empty for a stem with a warm command.
  package var arguments: [String]
  /// The complete environment of the command.
  package var environment: [String: String]
  /// What the pod may use.
  package var limits: SandboxLimits
  /// Files under /var/openfaas/secrets.
  package var secrets: [SandboxSecret]

  /// What a pod is, with the platform's default limits.
  package init(
    hostname: String, codePath: String? = nil, directory: String? = nil, arguments: [String] = [],
    environment: [String: String] = [:], limits: SandboxLimits = SandboxLimits(), secrets: [SandboxSecret] = []
  ) {
    self.hostname = hostname
    self.codePath = codePath
    self.directory = directory
    self.arguments = arguments
    self.environment = environment
    self.limits = limits
    self.secrets = secrets
  }
}

/// Everything a pod is started with when none was made ahead.
package struct SandboxSpec: Sendable {
  /// What it is made of.
  package var stem: StemSpec
  /// What it is.
  package var bind: BindSpec

  /// A pod's start, with the platform's defaults.
  package init(
    slot: Int, hostUID: UInt32? = nil, hostname: String, rootPath: String, codePath: String? = nil,
    arguments: [String], environment: [String: String] = [:], limits: SandboxLimits = SandboxLimits(),
    stdout: CInt = -1, stderr: CInt = -1, listener: CInt = -1, frames: CInt = -1, control: CInt = -1,
    secrets: [SandboxSecret] = [], seccomp: Bool = true
  ) {
    stem = StemSpec(slot: slot, origin: .root(rootPath), limits: limits)
    if let hostUID { stem.hostUID = hostUID }
    stem.stdout = stdout
    stem.stderr = stderr
    stem.listener = listener
    stem.frames = frames
    stem.control = control
    stem.seccomp = seccomp
    bind = BindSpec(
      hostname: hostname, codePath: codePath, arguments: arguments, environment: environment, limits: limits,
      secrets: secrets)
  }

  /// What it may use; both halves have it.
  package var limits: SandboxLimits {
    get { bind.limits }
    set {
      stem.limits = newValue
      bind.limits = newValue
    }
  }

  /// A pod's start from its two halves.
  package init(stem: StemSpec, bind: BindSpec) {
    self.stem = stem
    self.bind = bind
  }

  /// Slots a node has at most; see `HostUsers` for those it has users for.
  package static let slotCount = 60_000
}
