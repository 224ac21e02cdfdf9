import Glibc

/// How a user who is not root makes pods: as root of a user namespace, in which the user's subordinate ids are the pods'.
/// unshare(1) of util-linux and newuidmap(1) of shadow make it; only what they need is looked at here.
package enum UserNamespace {
  private static let program = "/usr/bin/unshare"

  /// What there is of it on a host.
  struct Facts: Sendable, Equatable {
    /// The user's name; nil when it has none.
    var name: String?
    /// The user's number.
    var user: UInt32
    /// user.max_user_namespaces.
    var namespacesMax: UInt64
    /// Switches of distributions that forbid them to users who are not root, by the name of sysctl, each set so that it does.
    var forbiddenBy: [String]
    /// Programs that are not there: unshare, newuidmap, newgidmap.
    var absent: [String]
    /// /etc/subuid.
    var subordinateUsers: String
    /// /etc/subgid.
    var subordinateGroups: String
    /// One was made just now.
    var works: Bool

    /// How unshare(1) is told to make it; without ids for pods where the user has none.
    var flags: [String] {
      var flags = ["--user", "--mount", "--map-root-user"]
      for (name, table) in [("users", subordinateUsers), ("groups", subordinateGroups)] {
        guard let range = subordinates(in: table) else { continue }
        flags.append("--map-\(name)=\(range.first),\(HostUsers.first),\(range.count)")
      }
      return flags
    }

    /// What is missing, and what to do about it; nil when one can be made. Pure.
    var lack: (what: String, advice: String)? {
      if namespacesMax == 0 {
        return ("the kernel makes no user namespaces", "sysctl user.max_user_namespaces=10000, as root")
      }
      if let name = forbiddenBy.first {
        return (
          "user namespaces are root's alone here (\(name))", "sysctl \(name)=\(Facts.switches[name] ?? 0), as root"
        )
      }
      if !absent.isEmpty {
        return (
          "\(absent.joined(separator: ", ")) not found", "apt-get install uidmap util-linux (2.38 or newer), as root"
        )
      }
      for (table, text) in [("/etc/subuid", subordinateUsers), ("/etc/subgid", subordinateGroups)]
      where subordinates(in: text)?.count ?? 0 < UInt64(HostUsers.subordinates) {
        return (
          "\(table) gives \(name ?? "\(user)") fewer than \(HostUsers.subordinates) ids for pods",
          "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \(name ?? "\(user)"), as root"
        )
      }
      return works
        ? nil
        : (
          "no user namespace could be made",
          "see what unshare \(flags.joined(separator: " ")) true says; it is to be of util-linux 2.38 or newer"
        )
    }

    /// The largest range that a table of `user:first:count` gives to the user.
    private func subordinates(in table: String) -> (first: UInt64, count: UInt64)? {
      HostUsers.subordinates(in: table).filter { $0.user == name || $0.user == "\(user)" }
        .map { ($0.first, min($0.count, UInt64(HostUsers.subordinates))) }
        .max { $0.1 < $1.1 }
    }

    /// Of Debian's older kernels, and of Ubuntu's from 23.10 on; with the value that allows.
    static let switches: [String: UInt64] = [
      "kernel.unprivileged_userns_clone": 1, "kernel.apparmor_restrict_unprivileged_userns": 0,
    ]

    /// Looks at this host and makes one for a moment. Blocks for some tens of milliseconds.
    static func probe() -> Facts {
      func has(_ program: String) -> Bool { ProgramRun.find(program, in: RootPlanner.commandPath) != nil }
      var facts = Facts(
        name: getpwuid(geteuid()).map { String(cString: $0.pointee.pw_name) }, user: geteuid(),
        namespacesMax: CgroupFiles.number("/proc/sys/user/max_user_namespaces") ?? 0,
        forbiddenBy: switches.filter { name, allowed in
          let value = CgroupFiles.number("/proc/sys/" + name.split(separator: ".").joined(separator: "/"))
          return value.map { $0 != allowed } ?? false
        }.keys.sorted(),
        absent: ["unshare", "newuidmap", "newgidmap"].filter { !has($0) },
        subordinateUsers: CgroupFiles.read("/etc/subuid") ?? "",
        subordinateGroups: CgroupFiles.read("/etc/subgid") ?? "",
        works: false)
      facts.works = ProgramRun.run(program, facts.flags + ["--", "/bin/true"])?.exitCode == 0
      return facts
    }
  }

  /// What this user lacks for one, and what to do about it; nil when one was made just now. Blocks as a run of a program does.
  package static func lack() -> (what: String, advice: String)? { Facts.probe().lack }

  /// Goes on as `executable` with `arguments`, as root of a new user namespace and with mounts of its own, in this same
  /// process; descriptors and environment stay. Returns what is missing for it, and what to do about that, when there is
  /// something.
  package static func enter(executable: String, arguments: [String]) -> (what: String, advice: String) {
    let facts = Facts.probe()
    if let lack = facts.lack { return lack }
    let words = [program] + facts.flags + ["--", executable] + arguments
    let copies: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for copy in copies { free(copy) } }
    execv(program, copies)
    return ("\(program) cannot be run: \(SandboxError.text(errno))", "look at \(program)")
  }
}
