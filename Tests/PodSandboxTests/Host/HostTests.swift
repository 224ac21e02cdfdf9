import Foundation
@testable import PodSandbox
import Testing

@Suite("The host")
struct HostTests {
  @Test func `v1 controllers are found where they are mounted, the own group below`() {
    let layout = CgroupLayout(
      mountinfo: """
        24 1 0:21 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory
        25 1 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
        26 1 0:23 /docker/abc /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
        27 1 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
        28 1 8:1 / / rw - ext4 /dev/vda rw
        """,
      ownGroups: "4:memory:/a/b\n3:cpu,cpuacct:/\n2:pids:/docker/abc/x\n0::/\n", controllers: { _ in "" })
    #expect(layout.version == .v1)
    #expect(layout.own[.memory] == "/sys/fs/cgroup/memory/a/b")
    #expect(layout.own[.cpu] == "/sys/fs/cgroup/cpu,cpuacct")
    #expect(layout.own[.pids] == "/sys/fs/cgroup/pids/x")
    // Controllers of one hierarchy are one folder.
    #expect(Cgroup(version: .v1, folders: layout.own).distinct.count == 3)
  }

  @Test func `v2 is used when it has the controllers`() {
    let layout = CgroupLayout(
      mountinfo: "30 1 0:25 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate",
      ownGroups: "0::/system.slice/apus.service\n", controllers: { _ in "cpuset cpu io memory hugetlb pids\n" })
    #expect(layout.version == .v2)
    #expect(layout.own[.memory] == "/sys/fs/cgroup/system.slice/apus.service")
    #expect(Cgroup(version: .v2, folders: layout.own).distinct.count == 1)
  }

  @Test func `a host without groups is said to have none`() {
    let layout = CgroupLayout(mountinfo: "garbage\n1 2 3\n- - -\n", ownGroups: "::\nx", controllers: { _ in nil })
    #expect(layout.version == .none)
    #expect(layout.own.isEmpty)
  }

  @Test func `this host can run pods and its limits were verified`() {
    let host = HostCapabilities.probe()
    #expect(host.canRunPods, "\(host.findings)")
    #expect(Set(host.enforceable).isSuperset(of: ["memory", "cpu", "pids"]))
    for finding in host.findings {
      #expect(!finding.line.isEmpty)
      #expect(finding.level == .good || !finding.advice.isEmpty)
    }
  }

  @Test func `what is missing is named with what to do`() {
    let host = HostCapabilities(
      namespaces: ["mnt", "pid"], userNamespaces: false, privilege: .bounded, seccomp: false, kernel: "4.19",
      cgroups: CgroupLayout(mountinfo: "", ownGroups: "", controllers: { _ in nil }), enforceable: [], hasSwap: false,
      interpreters: [Interpreter(name: "node", path: "/usr/bin/node", version: "16.1")])
    #expect(!host.canRunPods)
    let bad = host.findings.filter { $0.level != .good }.map(\.subject)
    #expect(bad == ["kernel", "namespaces", "privileges", "cgroups", "seccomp", "images", "node"])
    #expect(host.findings.allSatisfy { $0.level == .good || !$0.advice.isEmpty })
  }

  @Test func `who insists on full isolation runs where every guarantee is given, and is told which is not`() {
    var host = HostCapabilities(
      namespaces: ["mnt", "pid", "net", "ipc", "uts", "cgroup"], userNamespaces: false, privilege: .root, seccomp: true,
      kernel: "6.15", cgroups: CgroupLayout(mountinfo: "", ownGroups: "", controllers: { _ in nil }),
      enforceable: ["memory", "cpu", "pids"], hasSwap: false,
      interpreters: [Interpreter(name: "node", path: nil, version: nil)],
      egressLack: .init(("no libslirp", "install it")))
    // What functions run on and what they reach is no guarantee of isolation.
    #expect(host.refusal(of: .full) == nil && host.refusal(of: .any) == nil)
    host.kernel = "6.12"
    #expect(host.absentGuarantees.map(\.subject) == ["images"])
    #expect(host.refusal(of: .full)?.why.contains("images: functions of runtime image cannot run") == true)
    #expect(host.refusal(of: .any) == nil)
    host.kernel = "10.0"
    host.enforceable = ["memory", "cpu"]
    let refusal = host.refusal(of: .full)
    #expect(refusal?.why.contains("cgroups") == true && refusal?.next.contains("pids cannot be limited") == true)
    host.enforceable = ["memory", "cpu", "pids"]
    host.hasSwap = HostCapabilities.hasSwap("Filename\t\t\t\tType\n/dev/vdb partition\t1048572\t0\t-2\n")
    #expect(host.refusal(of: .full)?.next.contains("swapoff") == true)
    host.enforceable.append("swap")
    #expect(host.refusal(of: .full) == nil)
    host.enforceable = []
    #expect(!HostCapabilities.hasSwap("Filename\t\t\t\tType\n") && !HostCapabilities.hasSwap(nil))
    host.seccomp = false
    #expect(host.absentGuarantees.map(\.subject) == ["cgroups", "seccomp"])
  }

  @Test func `an end is told in words`() {
    func exit(_ status: Int32, kills: UInt64 = 0, limit: UInt64 = 128 << 20, died: Bool = false) -> SandboxExit {
      SandboxExit(
        ticket: 1, slot: 2, waitStatus: status, outOfMemoryKills: kills, cpuMicroseconds: 0, peakMemoryBytes: 0,
        memoryLimit: limit, spawnerDied: died)
    }
    #expect(exit(0).reason == "exited with 0")
    #expect(exit(3 << 8).exitCode == 3)
    #expect(exit(9).reason == "killed by SIGKILL")
    #expect(exit(9, kills: 1).reason == "killed: out of memory (limit 128Mi)")
    #expect(exit(1 << 8, kills: 1, limit: 1536 << 10).reason == "killed: out of memory (limit 1536Ki)")
    // A child was killed, the command coped.
    #expect(!exit(0, kills: 1).oomKilled)
    #expect(exit(11).reason == "killed by SIGSEGV")
    #expect(exit(9, died: true).reason == "killed: its spawner died")
    #expect(SandboxExit.binary(1000) == "1000")
    #expect(SandboxExit.binary(2 << 30) == "2Gi")
  }

}
