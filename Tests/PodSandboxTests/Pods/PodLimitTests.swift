import ClusterTestSupport
import Foundation
@testable import PodSandbox
import Testing

@Suite("What a pod may use", .timeLimit(.minutes(2)))
struct PodLimitTests {
  @Test func `a pod that eats memory is killed and the reason names the limit`() async throws {
    let root = try await TestRoots.path(.python)
    try await withPodHost { host in
      let done = try await host.run(["/usr/bin/python3", "-S", "-c", "x=[]\nwhile True: x.append(bytearray(1<<20))"]) {
        $0.stem.origin = .root(root)
        $0.limits.memoryBytes = 48 << 20
      }
      #expect(done.exit.oomKilled)
      #expect(done.exit.reason == "killed: out of memory (limit 48Mi)")
      #expect(done.exit.peakMemoryBytes > 40 << 20)
    }
  }

  @Test func `filling tmp counts as memory and stops at its own limits`() async throws {
    try await withPodHost { host in
      let fill = """
        head -c 4000000 /dev/zero > /tmp/a && echo fits
        head -c 9000000 /dev/zero > /tmp/b; stat -c %s /tmp/b | awk '{print ($1 < 5000000)}'
        """
      let bytes = try await host.shell(fill) {
        $0.limits.tmpBytes = 8 << 20
      }
      #expect(bytes.out == "fits\n1\n")
      #expect(bytes.err.contains("No space left"))
      let create = "i=0; while [ $i -lt 200 ]; do (: > /tmp/f$i) 2>/dev/null || break; i=$((i+1)); done; echo $i"
      let inodes = try await host.shell(create) {
        $0.limits.tmpInodes = 100
      }
      let count = try #require(Int(inodes.out.trimmingCharacters(in: .whitespacesAndNewlines)))
      #expect(count > 90 && count < 100)
    }
  }

  @Test func `a fork bomb stays within its processes and ends with its pod`() async throws {
    let root = try await TestRoots.path(.python)
    try await withPodHost { host in
      let code = """
        import os,time
        n=0
        try:
          while n<10000:
            if os.fork()==0: time.sleep(600)
            n+=1
        except BlockingIOError: pass
        print(n,flush=True); time.sleep(600)
        """
      let out = try Captured()
      defer { out.closeWriter() }
      var spec = try await PodHost.spec(["/usr/bin/python3", "-S", "-c", code])
      spec.stem.origin = .root(root)
      spec.stem.stdout = out.writer
      spec.limits.pids = 40
      let pod = try await host.spawner.start(spec)
      out.closeWriter()
      #expect(await eventually { out.soFar == "39\n" }, "\(out.soFar)")
      let group = try #require(pod.cgroup?.folders[.pids])
      #expect(CgroupFiles.number("\(group)/pids.current") == 41)
      host.spawner.signal(pod, SIGKILL)
      _ = try await host.exit(of: pod)
      #expect(await out.all() == "39\n")
    }
  }

  @Test func `open files and core dumps are bounded`() async throws {
    try await withPodHost { host in
      let done = try await host.shell("ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc") { $0.limits.openFiles = 77 }
      #expect(done.out == "77\n77\n0\n0\n")
    }
  }

  @Test func `cpu time is limited to the quota`() async throws {
    try await withPodHost { host in
      let started = ContinuousClock.now
      let script = "while :; do :; done & trap 'kill $!; wait; exit 0' TERM; wait"
      let pod = try await host.spawner.start(
        {
          var spec = try await PodHost.spec(["/bin/sh", "-c", script])
          spec.limits.cpuMillis = 200
          return spec
        }())
      // In each period its share is used up.
      let statistics = "\(try #require(pod.cgroup?.folders[.cpu]))/cpu.stat"
      #expect(await eventually { (CgroupFiles.number(statistics, key: "nr_throttled") ?? 0) >= 3 })
      host.spawner.signal(pod, SIGTERM)
      let exit = try await host.exit(of: pod)
      // 20 % of a core: a second of wall time gives about 0.2 s, more only by one period.
      let wall = started.duration(to: .now).components
      let allowed = 0.2 * Double(wall.seconds * 1_000_000 + wall.attoseconds / 1_000_000_000_000) + 60_000
      #expect(exit.cpuMicroseconds > 0 && Double(exit.cpuMicroseconds) < allowed)
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
