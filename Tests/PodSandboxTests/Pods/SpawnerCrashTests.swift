import CLinux
import ClusterTestSupport
import Foundation
@testable import PodSandbox
import Testing

@Suite("Deaths", .timeLimit(.minutes(2)))
struct SpawnerCrashTests {
  @Test func `the death of the spawner kills every pod and is told to all`() async throws {
    let host = try await PodHost.launch()
    var pods: [Sandbox] = []
    for _ in 0..<5 { pods.append(try await host.spawner.start(try await PodHost.spec(["/bin/sleep", "600"]))) }
    kill(host.spawner.processID, SIGKILL)
    for pod in pods {
      let exit = try await host.exit(of: pod)
      #expect(exit.reason == "killed: its spawner died")
      #expect(exit.signal == SIGKILL)
      #expect(apus_wait_readable(pod.pidfd, 0) == 1, "the pod's process is gone by then")
    }
    await #expect(throws: SandboxError.self) {
      _ = try await host.spawner.start(try await PodHost.spec(["/bin/sleep", "600"]))
    }
    await host.spawner.shutdown()
    #expect(host.groupFolders == [])
  }

  @Test func `shutdown kills every pod and a second one is harmless`() async throws {
    let host = try await PodHost.launch()
    let pod = try await host.spawner.start(try await PodHost.spec(["/bin/sleep", "600"]))
    await host.spawner.shutdown()
    await host.spawner.shutdown()
    #expect(apus_wait_readable(pod.pidfd, 0) == 1)
    #expect(kill(host.spawner.processID, 0) != 0)
    #expect(host.groupFolders == [])
  }

  @Test func `a worker killed with -9 leaves no pod, and a sweep removes its groups and sockets`() async throws {
    let folder = try TemporaryFolder()
    let notes = "\(folder.path)/notes"
    let instance = PodHost.newInstance()
    await #expect(processExitsWith: .signal(SIGKILL)) { [notes = notes as String, instance = instance as String] in
      let spawner = try await Spawner.launch(executable: TestPaths.spawner, instance: instance, logger: quiet)
      for _ in 0..<3 { _ = try await spawner.start(try await PodHost.spec(["/bin/sleep", "601"])) }
      // The spawner's children as the host sees them: the pods' first processes.
      let own = spawner.processID
      let pods = try String(contentsOfFile: "/proc/\(own)/task/\(own)/children", encoding: .utf8)
      try "\(own) \(pods)".write(toFile: notes, atomically: true, encoding: .utf8)
      kill(getpid(), SIGKILL)
    }
    let pids = try String(contentsOfFile: notes, encoding: .utf8).split(whereSeparator: \.isWhitespace)
      .compactMap { pid_t($0) }
    #expect(pids.count == 4)
    #expect(await eventually { pids.allSatisfy { kill($0, 0) != 0 } }, "spawner and pods are gone")

    // What stays are empty groups; the next worker of the instance removes them.
    let run = try TemporaryFolder("apus-run")
    try "".write(toFile: "\(run.path)/12.s", atomically: true, encoding: .utf8)
    let swept = Leftovers.sweep(instance: instance, runDirectory: run.path)
    #expect(swept.cgroups >= 3)
    #expect(swept.sockets == 1)
    #expect(!FileManager.default.fileExists(atPath: run.path))
    let again = Leftovers.sweep(instance: instance, runDirectory: run.path)
    #expect(again.isEmpty)
    let layout = CgroupLayout.current()
    for mount in Set(layout.mounts.values) { #expect(CgroupTree.find(instance: instance, below: mount) == []) }
  }

  @Test func `a hundred starts leak no descriptor, mount or group`() async throws {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryFolder()
      chmod(folder.path, 0o755)
      let host = try await PodHost.launch()
      let spawner = host.spawner.processID
      @Sendable func descriptors(_ pid: Int32) -> Int { CgroupFiles.names(in: "/proc/\(pid)/fd").count }
      @Sendable func mounts(_ pid: Int32) -> Int {
        (CgroupFiles.read("/proc/\(pid)/mountinfo", atMost: 1 << 22) ?? "").split(separator: "\n").count
      }
      func one() async throws {
        let done = try await host.shell("cat /var/openfaas/secrets/a; exit 4") {
          $0.bind.codePath = folder.path
          $0.bind.secrets = [SandboxSecret(path: "a", bytes: [65])]
        }
        try #require(done.exit.exitCode == 4 && done.out == "A")
        _ = try? await host.spawner.start(try await PodHost.spec(["/no/such"]))
      }
      for _ in 0..<5 { try await one() }
      let before = (descriptors(getpid()), descriptors(spawner), mounts(getpid()), mounts(spawner))
      for _ in 0..<100 { try await one() }
      // A reading thread of a finished pipe may need a moment to close it.
      let closed = await eventually { descriptors(getpid()) <= before.0 }
      #expect(closed, "own descriptors \(before.0) → \(descriptors(getpid()))")
      // So may the spawner, which is told of an end and cleans up after it.
      let spawnerClosed = await eventually { descriptors(spawner) <= before.1 }
      #expect(spawnerClosed, "spawner's descriptors \(before.1) → \(descriptors(spawner))")
      let unmounted = await eventually { mounts(getpid()) <= before.2 && mounts(spawner) <= before.3 }
      #expect(unmounted, "mounts \(before.2) → \(mounts(getpid())), spawner's \(before.3) → \(mounts(spawner))")
      let removed = await eventually { host.groupFolders.flatMap { CgroupFiles.folders(in: $0) } == [] }
      #expect(removed, "groups \(host.groupFolders.flatMap { CgroupFiles.folders(in: $0) })")
      let ended = await eventually { host.spawner.runningCount == 0 }
      #expect(ended, "\(host.spawner.runningCount) pods run")
      await host.spawner.shutdown()
      #expect(host.groupFolders == [])
    }
  }

  @Test func `fifty starts at once all run`() async throws {
    try await withPodHost { host in
      try await withThrowingTaskGroup(of: String.self) { group in
        for number in 0..<50 {
          group.addTask { try await host.shell("echo \(number)").out }
        }
        var seen: Set<String> = []
        for try await text in group { seen.insert(text) }
        #expect(seen == Set((0..<50).map { "\($0)\n" }))
      }
    }
  }

  @Test func `the start of a trivial native pod takes milliseconds`() async throws {
    let folder = try TemporaryFolder()
    chmod(folder.path, 0o755)
    let source = "\(folder.path)/true.c"
    try "int main(void) { return 0; }\n".write(toFile: source, atomically: true, encoding: .utf8)
    try await compile(source, to: "\(folder.path)/true")
    let root = try await TestRoots.path(.native)
    try await withPodHost { host in
      var times: [UInt64] = []
      for _ in 0..<60 {
        var spec = try await PodHost.spec(["/function/true"])
        spec.stem.origin = .root(root)
        spec.bind.codePath = folder.path
        let pod = try await host.spawner.start(spec)
        times.append(pod.timings.stoodNs)
        _ = try await host.exit(of: pod)
      }
      times.sort()
      print("pod start, native: min \(times[0] / 1000) µs, p50 \(times[30] / 1000) µs, p90 \(times[54] / 1000) µs")
      #expect(times[30] < 100_000_000, "far above anything measured: something waits")
    }
  }

  @Test func `on cgroup v2 a pod is born in its group and the whole group can be killed`() async throws {
    // Hosts with v1 controllers usually mount a v2 tree without controllers beside them: joining works the same.
    let mount = "/sys/fs/cgroup/unified"
    var layout = CgroupLayout(mountinfo: "", ownGroups: "", controllers: { _ in nil })
    layout.version = .v2
    let place = FileManager.default.fileExists(atPath: mount) ? mount : "/sys/fs/cgroup"
    layout.own = [.memory: place, .cpu: place, .pids: place]
    layout.mounts = layout.own
    let instance = PodHost.newInstance()
    let spawner = try await Spawner.launch(
      executable: TestPaths.spawner, instance: instance, layout: layout, logger: quiet)
    let spec = try await PodHost.spec(["/bin/sleep", "600"])
    let pod = try await spawner.start(spec)
    let group = try #require(pod.cgroup?.folders[.memory])
    #expect(group.hasPrefix("\(place)/apus/\(instance)/\(spec.stem.slot)-"))
    #expect(CgroupFiles.read("\(group)/cgroup.procs")?.split(separator: "\n").count == 2)
    pod.cgroup?.killAll()
    var exits = spawner.exits.makeAsyncIterator()
    let exit = await exits.next()
    #expect(exit?.slot == spec.stem.slot)
    #expect(exit?.signal == SIGKILL)
    await spawner.shutdown()
    #expect(!FileManager.default.fileExists(atPath: "\(place)/apus/\(instance)"))
  }
}
