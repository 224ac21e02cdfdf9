import Foundation
@testable import PodSandbox
import Testing

@Suite("A user's namespace")
struct UserNamespaceTests {
  @Test func `slots have users of their own, under root each enough for an image's`() {
    let users = HostUsers(uidMap: "         0          0 4294967295\n", gidMap: "         0          0 4294967295\n")
    #expect(users.owner == nil && users.slots == 60_000)
    #expect(users.user(ofSlot: 0) == 362_800_000)
    #expect(users.user(ofSlot: 1) == 362_865_536)
    #expect(users.user(ofSlot: 59_999) == 362_800_000 + 59_999 * 65_536)
    #expect(users.egressUser(ofSlot: 0) == 362_865_535)
  }

  @Test func `in a user namespace a slot has two users, as far as ids are mapped`() {
    let users = HostUsers(uidMap: "0 1000 1\n362800000 100000 65536\n", gidMap: "0 1000 1\n362800000 100000 10\n")
    #expect(users.owner == 1000)
    #expect(users.slots == 5)
    #expect(users.user(ofSlot: 4) == 362_800_008 && users.egressUser(ofSlot: 4) == 362_800_009)
    let whole = HostUsers(
      uidMap: "0 1000 1\n362800000 100000 131072\n", gidMap: "0 1000 1\n362800000 100000 131072\n")
    #expect(whole.slots == 60_000)
    // Of another kind of namespace: root is somebody, and nobody is there for pods.
    let foreign = HostUsers(uidMap: "0 100000 65536\n", gidMap: "0 100000 65536\n")
    #expect(foreign.owner == 100_000 && foreign.slots == 0)
    // Where nothing can be read nothing is claimed to be mapped.
    #expect(HostUsers(uidMap: "", gidMap: "").owner == nil)
  }

  @Test func `who was given ids of pods is named`() {
    #expect(HostUsers.stranger(in: "ada:100000:65536\nbob:362734464:65536\n\nx:y:z\n") == nil)
    #expect(HostUsers.stranger(in: "ada:100000:65536\neve:362734465:65536\n") == "eve")
    #expect(HostUsers.stranger(in: "eve:3000000000:1\n") == "eve")
    #expect(HostUsers.stranger(in: "eve:1:18446744073709551615\n") == "eve")
  }

  private static let facts = UserNamespace.Facts(
    name: "ada", user: 1000, namespacesMax: 9000, forbiddenBy: [], absent: [],
    subordinateUsers: "bob:100000:65536\nada:165536:65536\n", subordinateGroups: "1000:165536:65536\n", works: true)

  @Test func `what a user lacks is named, with the command that gives it`() throws {
    #expect(Self.facts.lack == nil)
    #expect(
      Self.facts.flags == [
        "--user", "--mount", "--map-root-user", "--map-users=165536,362800000,65536",
        "--map-groups=165536,362800000,65536",
      ])
    func lack(_ change: (inout UserNamespace.Facts) -> Void) throws -> (what: String, advice: String) {
      var facts = Self.facts
      change(&facts)
      return try #require(facts.lack)
    }
    #expect(try lack { $0.namespacesMax = 0 }.advice.contains("user.max_user_namespaces"))
    let ubuntu = try lack { $0.forbiddenBy = ["kernel.apparmor_restrict_unprivileged_userns"] }
    #expect(ubuntu.advice == "sysctl kernel.apparmor_restrict_unprivileged_userns=0, as root")
    #expect(try lack { $0.absent = ["newuidmap"] }.advice.contains("apt-get install uidmap"))
    let few = try lack { $0.subordinateGroups = "ada:165536:1000\n" }
    #expect(few.what == "/etc/subgid gives ada fewer than 65536 ids for pods" && few.advice.contains("usermod"))
    #expect(try lack { $0.subordinateUsers = "bob:1:65536\nada:x:y\nada\n" }.what.hasPrefix("/etc/subuid"))
    #expect(try lack { $0.works = false }.advice.contains("--map-users=165536,362800000,65536"))
  }

  @Test func `of control groups those are used that were delegated`() {
    let all = CgroupLayout(
      mountinfo: """
        24 1 0:21 / /g/memory rw - cgroup cgroup rw,memory
        25 1 0:22 / /g/pids rw - cgroup cgroup rw,pids
        """, ownGroups: "4:memory:/ada\n3:pids:/\n", controllers: { _ in nil })
    let part = all.delegated { $0 == "/g/memory/ada" }
    #expect(part.version == .v1 && part.own == [.memory: "/g/memory/ada"])
    let none = all.delegated { _ in false }
    #expect(
      none.version == .none && none.own.isEmpty && CgroupTree(instance: "x", layout: none).expectedDescriptors == 0)
  }

  @Test("on cgroup v2 the processes of the only group make room for pods below it")
  func room() async throws {
    let table = try #require(CgroupFiles.read("/proc/self/mountinfo", atMost: 1 << 22))
    let line = table.split(separator: "\n").map { $0.split(separator: " ") }.first {
      $0.count > 9 && $0.contains("cgroup2")
    }
    let mount = String(try #require(line)[4])
    let name = "apus-room-\(UInt32.random(in: 0 ... .max))"
    let own = "\(mount)/\(name)"
    try #require(mkdir(own, 0o755) == 0)
    let sleeper = try startSleeper()
    defer {
      kill(sleeper, SIGKILL)
      waitpid(sleeper, nil, 0)
      rmdir("\(own)/apus-daemons")
      rmdir(own)
    }
    try CgroupFiles.write("\(sleeper)", to: "\(own)/cgroup.procs")
    // Its mount is a folder that hands nothing down, as the top of a hierarchy does not for who is not its owner.
    let layout = CgroupLayout(
      mountinfo: "30 1 0:25 / \(own) rw - cgroup2 cgroup2 rw", ownGroups: "0::/\n",
      controllers: { _ in "memory pids cpu" })
    // What it has of controllers is nothing that pods could be held by: nobody is moved for that.
    CgroupTree.makeRoom(layout)
    #expect(CgroupFiles.read("\(own)/cgroup.procs") == "\(sleeper)\n")
    CgroupTree.makeRoom(layout, available: { _ in ["memory"] })
    #expect(CgroupFiles.read("\(own)/cgroup.procs") == "")
    #expect(CgroupFiles.read("\(own)/apus-daemons/cgroup.procs") == "\(sleeper)\n")
    // A second time nothing is left to do.
    CgroupTree.makeRoom(layout, available: { _ in ["memory"] })
    #expect(CgroupFiles.read("\(own)/apus-daemons/cgroup.procs") == "\(sleeper)\n")
  }
}

/// Starts a process that does nothing until it is killed.
private func startSleeper() throws -> pid_t {
  var pid = pid_t()
  let words: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/sleep"), strdup("1000"), nil]
  defer { words.forEach { free($0) } }
  let code = posix_spawn(&pid, "/bin/sleep", nil, nil, words, environ)
  try #require(code == 0)
  return pid
}
