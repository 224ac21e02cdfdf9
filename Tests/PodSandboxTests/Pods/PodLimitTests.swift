import ClusterTestSupport
import Foundation
@testable import PodSandbox
import Testing

@Suite("What a pod may use", .timeLimit(.minutes(2)))
struct PodLimitTests {
  /// Runs what takes too much, in a pod with these limits that came one of the ways; a stem is made with others.
  private func take(
    _ what: String, _ way: PodWay, _ edit: (inout SandboxLimits) -> Void
  ) async throws -> PodHost.Finished {
    let code = try await Self.greedy()
    var finished: PodHost.Finished?
    try await withPodHost { host in
      finished = try await host.run(["/function/greedy", what], way: way, code: code.path) { edit(&$0.limits) }
    }
    return try #require(finished)
  }

  private static func greedy() async throws -> TemporaryFolder {
    let code = try TemporaryFolder()
    chmod(code.path, 0o755)
    try await compile(TestPaths.source("greedy.c"), to: "\(code.path)/greedy")
    return code
  }

  /// The number and the word that it printed last.
  private static func said(_ done: PodHost.Finished) throws -> (Int, String) {
    let words = try #require(done.out.split(separator: "\n").last, "\(done.exit.reason) \(done.err)").split(
      separator: " ")
    try #require(words.count == 2, "\(done.out)")
    return (try #require(Int(words[0])), String(words[1]))
  }

  @Test(arguments: PodWay.allCases)
  func `a pod that eats memory is killed and the reason names the limit`(_ way: PodWay) async throws {
    let done = try await take("memory", way) { $0.memoryBytes = 48 << 20 }
    #expect(done.exit.oomKilled)
    #expect(done.exit.reason == "killed: out of memory (limit 48Mi)")
    #expect(done.exit.peakMemoryBytes > 40 << 20)
  }

  @Test(arguments: PodWay.allCases)
  func `tmp ends at its bytes and at its files`(_ way: PodWay) async throws {
    let bytes = try Self.said(try await take("bytes", way) { $0.tmpBytes = 8 << 20 })
    #expect(bytes.1 == "ENOSPC" && (7 << 20...8 << 20).contains(bytes.0), "\(bytes)")
    let files = try Self.said(try await take("files", way) { $0.tmpInodes = 100 })
    #expect(files.1 == "ENOSPC" && (91..<100).contains(files.0), "\(files)")
  }

  @Test(arguments: PodWay.allCases)
  func `what is in tmp counts as memory`(_ way: PodWay) async throws {
    let done = try await take("bytes", way) {
      $0.memoryBytes = 32 << 20
      $0.tmpBytes = 256 << 20
    }
    #expect(done.exit.reason == "killed: out of memory (limit 32Mi)", "\(done.out)")
  }

  @Test(arguments: PodWay.allCases)
  func `a fork bomb stays within its processes and ends with its pod`(_ way: PodWay) async throws {
    let said = try Self.said(try await take("forks", way) { $0.pids = 40 })
    #expect(said == (39, "EAGAIN"))
  }

  @Test(arguments: PodWay.allCases)
  func `open files and core dumps are bounded`(_ way: PodWay) async throws {
    let done = try await take("descriptors", way) { $0.openFiles = 77 }
    #expect(done.out.split(separator: "\n").last == "77 77 0 0", "\(done.out)\(done.err)")
  }

  @Test(arguments: PodWay.allCases)
  func `cpu time is limited to the quota`(_ way: PodWay) async throws {
    let code = try await Self.greedy()
    try await withPodHost { host in
      let started = ContinuousClock.now
      let pod = try await host.begin(["/function/greedy", "processor"], way: way, code: code.path) {
        $0.limits.cpuMillis = 200
      }
      // In each period its share is used up.
      let statistics = "\(try #require(pod.sandbox.cgroup?.folders[.cpu]))/cpu.stat"
      #expect(await eventually { (CgroupFiles.number(statistics, key: "nr_throttled") ?? 0) >= 3 })
      host.spawner.signal(pod.sandbox, SIGKILL)
      let exit = try await host.exit(of: pod.sandbox)
      // 20 % of a core: a second of wall time gives about 0.2 s, more only by one period, and what a zygote's fork cost.
      let wall = started.duration(to: .now).components
      let allowed = 0.2 * Double(wall.seconds * 1_000_000 + wall.attoseconds / 1_000_000_000_000) + 60_000
      #expect(Double(exit.cpuMicroseconds) < allowed)
    }
  }

  @Test func `a stem's share of the processor is the least until it is a pod's`() async throws {
    try await withPodHost { host in
      var spec = try await PodHost.spec(["/bin/sleep", "600"])
      spec.limits.cpuMillis = 500
      spec.stem.limits = SandboxLimits()
      spec.stem.quiet = true
      let stem = try await host.spawner.prepare(spec.stem)
      let folder = try #require(stem.sandbox.cgroup?.folders[.cpu])
      let (file, least, own): (String, UInt64, UInt64) =
        host.spawner.cgroups.layout.version == .v2
        ? ("\(folder)/cpu.weight", 1, 50) : ("\(folder)/cpu.shares", 2, 512)
      #expect(CgroupFiles.number(file) == least)
      let pod = try host.spawner.bind(stem, spec.bind)
      #expect(CgroupFiles.number(file) == own)
      host.spawner.signal(pod, SIGKILL)
      _ = try await host.exit(of: pod)
    }
  }

  @Test func `root and code cannot be written, tmp can`() async throws {
    try await withPodHost { host in
      let script = """
        for f in /x /usr/x /etc/x /dev/x /proc/x /runtime/x; do (: > $f) 2>/dev/null && echo wrote $f; done
        echo ok > /tmp/x; cat /tmp/x; echo y > /dev/shm/y && cat /tmp/y
        """
      let done = try await host.shell(script)
      #expect(done.out == "ok\ny\n")
    }
  }
}
