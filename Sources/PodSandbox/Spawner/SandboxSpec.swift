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

/// Everything a pod's process is started with.
package struct SandboxSpec: Sendable {
  /// The pod's number on this node, 0 …< 60,000; its user and cgroup follow from it.
  package var slot: Int
  /// The unprivileged host user (and group) that the pod runs as; `SandboxSpec.user(ofSlot:)` by default.
  package var hostUID: UInt32
  /// The unprivileged host group; `hostUID` by default.
  package var hostGID: UInt32
  /// Host name inside the pod, at most 63 bytes.
  package var hostname: String
  /// The prepared root folder (see `RootBuilder`); not looked at when there is a `rootDescriptor`.
  package var rootPath: String
  /// A detached mount that becomes the root in place of `rootPath` (see `OverlayRoot`); -1 for none, else the caller's
  /// to close, after `start` returned.
  package var rootDescriptor: CInt = -1
  /// Whether the root takes writes; only for a `rootDescriptor` that was opened for them.
  package var rootWritable = false
  /// The absolute path at which the command starts; nil for /function, or the root when there is no code.
  package var directory: String?
  /// The folder that becomes /function, read-only, and the working directory; nil for none.
  package var codePath: String?
  /// The command; the first is a path, or a name searched in the pod's PATH.
  package var arguments: [String]
  /// The complete environment of the command.
  package var environment: [String: String]
  /// What the pod may use.
  package var limits: SandboxLimits
  /// Becomes descriptor 1; -1 for /dev/null. All descriptors stay the caller's to close, after `start` returned.
  package var stdout: CInt
  /// Becomes descriptor 2; -1 for /dev/null.
  package var stderr: CInt
  /// The listening socket, becomes descriptor 3; -1 for none.
  package var listener: CInt
  /// The framed log pipe, becomes descriptor 4; -1 for none.
  package var frames: CInt
  /// The control pipe, becomes descriptor 5; -1 for none.
  package var control: CInt
  /// Files under /var/openfaas/secrets.
  package var secrets: [SandboxSecret]
  /// The system call filter; off only in tests that prove it matters.
  package var seccomp: Bool

  /// A pod's start, with the platform's defaults.
  package init(
    slot: Int, hostUID: UInt32? = nil, hostname: String, rootPath: String, codePath: String? = nil,
    arguments: [String], environment: [String: String] = [:], limits: SandboxLimits = SandboxLimits(),
    stdout: CInt = -1, stderr: CInt = -1, listener: CInt = -1, frames: CInt = -1, control: CInt = -1,
    secrets: [SandboxSecret] = [], seccomp: Bool = true
  ) {
    self.slot = slot
    self.hostUID = hostUID ?? SandboxSpec.user(ofSlot: slot)
    hostGID = hostUID ?? SandboxSpec.user(ofSlot: slot)
    self.hostname = hostname
    self.rootPath = rootPath
    self.codePath = codePath
    self.arguments = arguments
    self.environment = environment
    self.limits = limits
    self.stdout = stdout
    self.stderr = stderr
    self.listener = listener
    self.frames = frames
    self.control = control
    self.secrets = secrets
    self.seccomp = seccomp
  }

  /// Slots a node has.
  package static let slotCount = 60_000
  /// The first host user that belongs to pods.
  package static let firstUser: UInt32 = 200_000

  /// The host user of a slot: 200000 + slot × 65536, so that each pod has 65,536 users to itself.
  package static func user(ofSlot slot: Int) -> UInt32 {
    firstUser &+ UInt32(truncatingIfNeeded: slot) &* 65536
  }
}
