import CLinux
import Glibc

/// What this host can do for pods, for `apus doctor` and for refusing early with advice.
package struct HostCapabilities: Sendable, Equatable {
  /// One thing that was looked at.
  package struct Finding: Sendable, Equatable {
    /// How much it matters.
    package enum Level: String, Sendable {
      /// As it should be.
      case good
      /// Pods run, with less.
      case degraded
      /// Pods do not run.
      case missing
    }

    /// What it is about, in one or two words.
    package var subject: String
    /// How it stands.
    package var level: Level
    /// One line for people.
    package var line: String
    /// What to do when it is not good; empty otherwise.
    package var advice: String
  }

  /// Namespaces the kernel has, by the names in /proc/self/ns.
  package var namespaces: [String]
  /// Unprivileged user namespaces are allowed.
  package var userNamespaces: Bool
  /// What this process may do.
  package var privilege: Privilege
  /// A user to whom /etc/subuid or /etc/subgid gives ids that pods run as; nil when nobody.
  package var stranger: String?
  /// The kernel has system call filters.
  package var seccomp: Bool
  /// `major.minor` of the kernel.
  package var kernel: String
  /// Which control groups, and where.
  package var cgroups: CgroupLayout
  /// Limits for which a group could be made and set just now: memory, swap, cpu, pids.
  package var enforceable: [String]
  /// Memory may go to swap here; then a limit of memory alone holds nobody to it.
  package var hasSwap: Bool
  /// python3 and node.
  package var interpreters: [Interpreter]
  /// What is missing for functions with `egress: internet`, and what to do about it; nil when nothing is.
  package var egressLack: Lack?

  /// Something that is not there.
  package struct Lack: Sendable, Equatable {
    /// What is missing.
    package var what: String
    /// What to do.
    package var advice: String

    init?(_ found: (what: String, advice: String)?) {
      guard let found else { return nil }
      (what, advice) = found
    }
  }

  /// Whose privileges a worker has here.
  package enum Privilege: Sendable, Equatable {
    /// The host's root.
    case root
    /// Root of a user namespace of this user of the host.
    case mapped(UInt32)
    /// A user of the host, whose workers become root of a user namespace; or cannot, for want of something.
    case user(UInt32, Lack?)
    /// Root without the capabilities that the spawner needs.
    case bounded
  }

  /// All of it as lines with advice.
  package var findings: [Finding] {
    [
      kernelFinding, namespaceFinding, privilegeFinding, cgroupFinding, seccompFinding, userNamespaceFinding,
      imageFinding, egressFinding,
    ]
      + interpreters.map(Self.finding)
  }

  /// Pods can be started here.
  package var canRunPods: Bool { !findings.contains { $0.level == .missing } }

  private static let needed = ["mnt", "pid", "net", "ipc", "uts", "cgroup"]

  private var kernelFinding: Finding {
    let enough = isKernel(atLeast: 5, 12)
    return Finding(
      subject: "kernel", level: enough ? .good : .missing, line: "Linux \(kernel)",
      advice: enough ? "" : "apus needs Linux 5.12 or newer (mount_setattr)")
  }

  private var namespaceFinding: Finding {
    let absent = Self.needed.filter { !namespaces.contains($0) }
    return Finding(
      subject: "namespaces", level: absent.isEmpty ? .good : .missing,
      line: absent.isEmpty ? Self.needed.joined(separator: ", ") : "missing: \(absent.joined(separator: ", "))",
      advice: absent.isEmpty ? "" : "run a kernel with these namespaces compiled in")
  }

  private var privilegeFinding: Finding {
    if let stranger, privilege == .root {
      return Finding(
        subject: "privileges", level: .degraded, line: "root, but \(stranger) may become users of pods",
        advice:
          "give \(stranger) other ids in /etc/subuid and /etc/subgid: those from \(HostUsers.first) on are the pods'")
    }
    let (line, advice) =
      switch privilege {
      case .root: ("root with CAP_SYS_ADMIN", "")
      case .mapped(let owner): ("root of a user namespace of user \(owner)", "")
      case .user(let user, nil): ("user \(user), whose workers are root of a user namespace", "")
      case .user(let user, .some(let lack)):
        (
          "user \(user), who can make no pods: \(lack.what)",
          "\(lack.advice); or run the worker as root (sudo apus up). Pods themselves never are"
        )
      case .bounded:
        (
          "root without CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_SETUID or CAP_MKNOD",
          "run the worker with all capabilities of root; pods themselves have none"
        )
      }
    return Finding(subject: "privileges", level: advice.isEmpty ? .good : .missing, line: line, advice: advice)
  }

  private var cgroupFinding: Finding {
    let wanted = ["memory", "cpu", "pids"] + (hasSwap ? ["swap"] : [])
    let absent = wanted.filter { !enforceable.contains($0) }
    let line =
      cgroups.version == .none
      ? "no control groups" : "\(cgroups.version.rawValue), verified limits: \(enforceable.joined(separator: ", "))"
    return Finding(
      subject: "cgroups", level: absent.isEmpty ? .good : .degraded, line: line,
      advice: absent.isEmpty
        ? ""
        : "\(absent.joined(separator: ", ")) cannot be limited: "
          + (absent == ["swap"]
            ? "switch it off (swapoff -a), or boot with swapaccount=1"
            : "mount these controllers writable, or delegate them to this process's group "
              + "(systemd-run --user --scope -p Delegate=yes apus up)"))
  }

  private var seccompFinding: Finding {
    Finding(
      subject: "seccomp", level: seccomp ? .good : .missing, line: seccomp ? "filters available" : "no filters",
      advice: seccomp ? "" : "run a kernel with CONFIG_SECCOMP_FILTER")
  }

  private var userNamespaceFinding: Finding {
    Finding(
      subject: "user namespaces", level: .good,
      line: userNamespaces ? "allowed on this host, refused inside pods" : "not allowed; root needs none", advice: "")
  }

  private var imageFinding: Finding {
    Finding(
      subject: "images", level: imageLack == nil ? .good : .degraded,
      line: imageLack == nil
        ? "users of images are the pod's own (idmapped mounts)" : "functions of runtime image cannot run",
      advice: imageLack?.advice ?? "")
  }

  /// What is missing for functions of runtime image; nil when nothing is.
  package var imageLack: Lack? {
    if !isKernel(atLeast: 6, 15) {
      return Lack(
        ("Linux \(kernel) is older than 6.15", "run Linux 6.15 or newer: layers are idmapped mounts that hang nowhere"))
    }
    switch privilege {
    case .root, .bounded: return nil
    case .mapped, .user:
      return Lack(
        (
          "only root may map the users of an image's layers",
          "run the worker as root (sudo apus up): only root may map the users of layers"
        ))
    }
  }

  private func isKernel(atLeast major: Int, _ minor: Int) -> Bool {
    let parts = kernel.split(separator: ".").compactMap { Int($0) }
    return parts.count >= 2 && (parts[0], parts[1]) >= (major, minor)
  }

  private var egressFinding: Finding {
    Finding(
      subject: "egress", level: egressLack == nil ? .good : .degraded,
      line: egressLack.map { "pods reach no network: \($0.what)" }
        ?? "pods may reach the internet when their spec asks",
      advice: egressLack?.advice ?? "")
  }

  private static func finding(_ interpreter: Interpreter) -> Finding {
    guard let path = interpreter.path, let version = interpreter.version else {
      return Finding(
        subject: interpreter.name, level: .degraded, line: "not found",
        advice: interpreter.name == "node"
          ? "for node functions install Node 18 or newer" : "for python functions: apt-get install python3 python3-pip")
    }
    let old = interpreter.name == "node" && (Interpreter.major(version) ?? 0) < 18
    return Finding(
      subject: interpreter.name, level: old ? .degraded : .good, line: "\(version) at \(path)",
      advice: old ? "for node functions install Node 18 or newer" : "")
  }
}

extension HostCapabilities {
  /// Looks at this host; makes and removes one control group, runs the interpreters once. Blocks for some tens of
  /// milliseconds.
  package static func probe() -> HostCapabilities {
    let layout = CgroupLayout.current()
    // SETGID 6, SETUID 7, SETPCAP 8, NET_ADMIN 12, SYS_CHROOT 18, SYS_PTRACE 19, SYS_ADMIN 21, MKNOD 27
    let capable = [6, 7, 8, 12, 19, 21, 27].allSatisfy { apus_has_capability($0) == 1 }
    var name = utsname()
    uname(&name)
    let release = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return HostCapabilities(
      namespaces: CgroupFiles.names(in: "/proc/self/ns").sorted(),
      userNamespaces: (CgroupFiles.number("/proc/sys/user/max_user_namespaces") ?? 0) > 0,
      privilege: privilege(capable: capable),
      stranger: ["/etc/subuid", "/etc/subgid"].lazy.compactMap { CgroupFiles.read($0).flatMap(HostUsers.stranger) }
        .first,
      seccomp: apus_has_seccomp_filter() == 1,
      kernel: release.split(separator: ".").prefix(2).joined(separator: "."), cgroups: layout,
      enforceable: enforceable(layout), hasSwap: hasSwap(CgroupFiles.read("/proc/swaps")),
      interpreters: Interpreter.found(),
      egressLack: Lack(EgressNetwork.lack()))
  }

  private static func privilege(capable: Bool) -> Privilege {
    guard geteuid() == 0 else { return .user(geteuid(), Lack(UserNamespace.lack())) }
    guard capable else { return .bounded }
    guard let owner = HostUsers.current.owner else { return .root }
    guard HostUsers.current.slots > 0 else {
      let range = "\(HostUsers.first) to \(HostUsers.first + HostUsers.subordinates - 1)"
      return .user(
        owner,
        Lack(("this user namespace has no ids for pods", "map ids \(range) of users and groups in it to ids of nobody"))
      )
    }
    return .mapped(owner)
  }

  /// Whether the table of swap areas has one below its heading.
  static func hasSwap(_ table: String?) -> Bool { (table ?? "").split(separator: "\n").count > 1 }

  /// Sets real limits on a group made for the purpose and reads them back.
  static func enforceable(_ layout: CgroupLayout) -> [String] {
    guard layout.version != .none else { return [] }
    let tree = CgroupTree(instance: "probe-\(getpid())", layout: layout)
    let limits = SandboxLimits(memoryBytes: 64 << 20, cpuMillis: 500, pids: 32)
    guard let cgroup = try? tree.create(slot: 0, limits: limits) else { return [] }
    defer {
      _ = cgroup.destroy()
      tree.removeIfEmpty(withGroups: true)
    }
    let v2 = layout.version == .v2
    var verified: [String] = []
    func verify(_ name: String, _ controller: CgroupLayout.Controller, _ file: String, _ value: String) {
      guard let folder = cgroup.folders[controller], let text = CgroupFiles.read("\(folder)/\(file)") else { return }
      if CgroupFiles.trimmed(text) == value { verified.append(name) }
    }
    verify("memory", .memory, v2 ? "memory.max" : "memory.limit_in_bytes", "\(64 << 20)")
    verify("swap", .memory, v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes", v2 ? "0" : "\(64 << 20)")
    verify("cpu", .cpu, v2 ? "cpu.max" : "cpu.cfs_quota_us", v2 ? "50000 100000" : "50000")
    verify("pids", .pids, "pids.max", "33")
    return verified
  }
}
