import CLinux
import Glibc

/// The control groups of one pod, one folder for each hierarchy.
package struct Cgroup: Sendable, Equatable {
  let version: CgroupLayout.Version
  /// Folder by controller; controllers of one hierarchy share theirs.
  private(set) var folders: [CgroupLayout.Controller: String]

  /// Each folder once, in a fixed order.
  var distinct: [String] {
    var seen: [String] = []
    for controller in CgroupLayout.Controller.allCases {
      if let folder = folders[controller], !seen.contains(folder) { seen.append(folder) }
    }
    return seen
  }

  /// What the spawner needs to put a process in: v1 the open `tasks` files, v2 the folder. The caller closes them.
  func openForJoining() throws(SandboxError) -> [CInt] {
    var opened: [CInt] = []
    for folder in distinct {
      let path = version == .v2 ? folder : "\(folder)/tasks"
      let fd = open(path, version == .v2 ? O_RDONLY | O_DIRECTORY | O_CLOEXEC : O_WRONLY | O_CLOEXEC)
      guard fd >= 0 else {
        let code = errno
        for fd in opened { close(fd) }
        throw .host(doing: "opening \(path)", errno: code)
      }
      opened.append(fd)
    }
    return opened
  }

  /// Memory that its processes use now, in bytes, /tmp included; nil where no group counts it.
  package func memoryBytes() -> UInt64? {
    let file = version == .v2 ? "memory.current" : "memory.usage_in_bytes"
    return folders[.memory].flatMap { CgroupFiles.number("\($0)/\(file)") }
  }

  /// Processes the kernel killed here for reaching the memory limit.
  package func outOfMemoryKills() -> UInt64 {
    guard let memory = folders[.memory] else { return 0 }
    let file = version == .v2 ? "memory.events" : "memory.oom_control"
    return CgroupFiles.number("\(memory)/\(file)", key: "oom_kill") ?? 0
  }

  /// Kills every process in it and waits until they are gone, at most two seconds. Blocks.
  package func killAll() {
    for folder in distinct { Self.killAll(in: folder) }
  }

  /// Removes it. False when something is still inside; then try again after it ended.
  package func destroy() -> Bool {
    var gone = true
    for folder in distinct where rmdir(folder) != 0 && errno != ENOENT { gone = false }
    return gone
  }

  /// Removes all but the group that counts memory, which is the one that is dear to remove; what is left, if anything.
  func destroyButMemory() -> Cgroup? {
    var left = self
    for folder in distinct where folder != folders[.memory] && (rmdir(folder) == 0 || errno == ENOENT) {
      left.folders = left.folders.filter { $0.value != folder }
    }
    return left.folders.isEmpty ? nil : left
  }

  private static let killRounds = 20
  private static let killWaitMs: CInt = 100

  static func killAll(in folder: String) {
    try? CgroupFiles.write("1", to: "\(folder)/cgroup.kill")
    // A round per generation: what forked while we read the list is in the next one.
    for _ in 0..<killRounds {
      guard let text = CgroupFiles.read("\(folder)/cgroup.procs", atMost: 1 << 20) else { return }
      let processes = text.split(separator: "\n").compactMap { pid_t($0) }.filter { $0 > 1 && $0 != getpid() }
      if processes.isEmpty { return }
      for process in processes {
        let pidfd = apus_pidfd_open(process)
        guard pidfd >= 0 else { continue }
        _ = apus_pidfd_signal(pidfd, SIGKILL)
        _ = apus_wait_readable(pidfd, killWaitMs)
        close(pidfd)
      }
    }
  }
}
