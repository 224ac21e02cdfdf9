import CLinux
import ClusterTestSupport
import Foundation
import PodSandbox
import Testing

@Suite("A pod's life", .timeLimit(.minutes(2)))
struct PodLifeTests {
  @Test func `a command's output and exit code come back`() async throws {
    try await withPodHost { host in
      let done = try await host.shell("echo out; echo err >&2; exit 3")
      #expect(done.out == "out\n")
      #expect(done.err == "err\n")
      #expect(done.exit.exitCode == 3)
      #expect(done.exit.signal == nil)
      #expect(done.exit.reason == "exited with 3")
      #expect(!done.exit.oomKilled)
      #expect(done.exit.cpuMicroseconds > 0)
    }
  }

  @Test func `a pod has its own user, host name, folders and exactly the given environment`() async throws {
    try await withPodHost { host in
      var user: UInt32 = 0
      let script = "id -u; id -g; id -G; whoami; hostname; pwd; env | sort; cat /proc/self/cgroup | tr = -"
      let done = try await host.shell(script) { user = $0.stem.hostUID }
      let lines = done.out.split(separator: "\n").map(String.init)
      try #require(lines.count > 8)
      #expect(lines[0...2] == ["\(user)", "\(user)", "\(user)"])
      #expect(lines[3] == "function")
      #expect(lines[4] == "pod-under-test")
      #expect(lines[5] == "/")
      #expect(lines.contains("GREETING=hello there"))
      let names = lines.filter { $0.contains("=") }.map { $0.prefix { $0 != "=" } }
      #expect(names.sorted() == ["GREETING", "HOME", "PATH", "PWD"])
      #expect(!done.out.contains("apus"))
    }
  }

  @Test func `a pod sees the given descriptors at their numbers and no others`() async throws {
    try await withPodHost { host in
      let frames = try Captured()
      let control = try Captured()
      let script = "echo log >&4; printf r >&5; ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0"
      let done = try await host.shell(script) {
        $0.stem.frames = frames.writer
        $0.stem.control = control.writer
      }
      frames.closeWriter()
      control.closeWriter()
      // One more is ls's own view of the folder; 3 was not given.
      #expect(done.out == "0 1 2 3 4 5 /dev/null\n" || done.out == "0 1 2 4 5 6 /dev/null\n")
      #expect(await frames.all() == "log\n")
      #expect(await control.all().wholeMatch(of: /s[0-9a-f]{16}r/) != nil)
    }
  }

  @Test func `a listener bound before the start is served inside, its requests wait in the backlog`() async throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/pod.s"
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) == 0 && listen(listener, 8) == 0 }
    }
    try #require(bound)
    let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(client) }
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(client, $0, size) == 0 }
    }
    try #require(connected)
    let root = try await TestRoots.path(.python)
    try await withPodHost { host in
      let code = "import socket;s=socket.socket(fileno=3);c,_=s.accept();c.sendall(b'from the pod')"
      let done = try await host.run(["/usr/bin/python3", "-S", "-c", code]) {
        $0.stem.origin = .root(root)
        $0.stem.listener = listener
      }
      #expect(done.exit.exitCode == 0, "\(done.err)")
      var buffer = [UInt8](repeating: 0, count: 64)
      let count = read(client, &buffer, buffer.count)
      #expect(String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self) == "from the pod")
    }
  }

  @Test func `a root and code on a mount that is shared, as all are where systemd is, make a pod`() async throws {
    let folder = try TemporaryFolder("apus-shared")
    chmod(folder.path, 0o755)
    try #require(mount("apus-test", folder.path, "tmpfs", 0, "mode=0755") == 0)
    defer { umount2(folder.path, Int32(MNT_DETACH)) }
    try #require(mount(nil, folder.path, nil, UInt(MS_SHARED), nil) == 0)
    let builder = RootBuilder(folder: "\(folder.path)/roots", logger: quiet)
    let root = try await builder.root(for: RootRequest(kind: .exec)).path
    let code = "\(folder.path)/code"
    mkdir(code, 0o755)
    try "here\n".write(toFile: "\(code)/file", atomically: true, encoding: .utf8)
    try await withPodHost { host in
      let mounts = try Self.mounts(mentioning: folder.path)
      let done = try await host.shell("cat /function/file; grep -c shared: /proc/self/mountinfo") {
        $0.stem.origin = .root(root)
        $0.bind.codePath = code
      }
      #expect(done.out == "here\n0\n", "\(done.exit.reason) \(done.err)")
      #expect(try Self.mounts(mentioning: folder.path) == mounts)
    }
  }

  /// The host's mounts at a folder or below it; others come and go with other tests.
  private static func mounts(mentioning folder: String) throws -> [Substring] {
    try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8).split(separator: "\n")
      .filter { $0.contains(folder) }
  }

  @Test func `SIGTERM reaches the command, handled or not`() async throws {
    try await withPodHost { host in
      let out = try Captured()
      defer { out.closeWriter() }
      let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"
      var spec = try await PodHost.spec(["/bin/sh", "-c", script])
      spec.stem.stdout = out.writer
      let polite = try await host.spawner.start(spec)
      out.closeWriter()
      #expect(await eventually { out.soFar.contains("up") })
      #expect(host.spawner.signal(polite, SIGTERM))
      let left = try await host.exit(of: polite)
      #expect(left.exitCode == 7)
      #expect(await out.all() == "up\nbye\n")

      let plain = try await host.spawner.start(try await PodHost.spec(["/bin/sleep", "600"]))
      host.spawner.signal(plain, SIGTERM)
      let killed = try await host.exit(of: plain)
      #expect(killed.signal == SIGTERM)
      #expect(killed.reason == "killed by SIGTERM")
      #expect(!host.spawner.signal(plain, SIGTERM))
    }
  }

  @Test func `SIGKILL ends a pod with everything in it`() async throws {
    try await withPodHost { host in
      let out = try Captured()
      defer { out.closeWriter() }
      // Orphans that ignore SIGTERM and hold the pipe open.
      let script = "for i in 1 2 3; do (trap '' TERM; setsid sleep 600 2>/dev/null || sleep 600) & done; echo up; wait"
      var spec = try await PodHost.spec(["/bin/sh", "-c", script])
      spec.stem.stdout = out.writer
      let pod = try await host.spawner.start(spec)
      out.closeWriter()
      #expect(await eventually { out.soFar.contains("up") })
      host.spawner.signal(pod, SIGKILL)
      #expect(try await host.exit(of: pod).reason == "killed by SIGKILL")
      // The pipe reads as closed only when no process of the pod is left.
      #expect(await out.all() == "up\n")
    }
  }

  @Test func `what the command leaves behind ends with it`() async throws {
    try await withPodHost { host in
      let done = try await host.shell("sleep 600 & sleep 600 & echo started")
      #expect(done.exit.exitCode == 0)
      #expect(done.out == "started\n")
    }
  }

  @Test func `a command that cannot run is named with what to do`() async throws {
    try await withPodHost { host in
      await #expect(throws: SandboxError.failed(step: .exec, errno: ENOENT, command: "/no/such")) {
        _ = try await host.spawner.start(try await PodHost.spec(["/no/such"]))
      }
      await #expect(throws: SandboxError.failed(step: .exec, errno: EACCES, command: "/etc/hosts")) {
        _ = try await host.spawner.start(try await PodHost.spec(["/etc/hosts"]))
      }
      var spec = try await PodHost.spec(["true"])
      spec.stem.origin = .root("/no/such/root")
      await #expect(throws: SandboxError.host(doing: "opening the root folder /no/such/root", errno: ENOENT)) {
        _ = try await host.spawner.start(spec)
      }
      spec = try await PodHost.spec([])
      await #expect(throws: SandboxError.invalidSpec("the command is empty")) { _ = try await host.spawner.start(spec) }
      // Nothing of these stays.
      #expect(try await host.shell("exit 0").exit.exitCode == 0)
    }
  }

  @Test func `code stands read-only at slash function, which is the working directory`() async throws {
    let folder = try TemporaryFolder()
    try "print me".write(toFile: "\(folder.path)/handler.txt", atomically: true, encoding: .utf8)
    chmod(folder.path, 0o755)
    chmod("\(folder.path)/handler.txt", 0o644)
    try await withPodHost { host in
      let script =
        "pwd; cat handler.txt; (echo x > new) 2>/dev/null; echo $?; (echo x > handler.txt) 2>/dev/null; echo $?"
      let done = try await host.shell(script) {
        $0.bind.codePath = folder.path
      }
      #expect(done.out == "/function\nprint me2\n2\n")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["handler.txt"])
    }
  }

  @Test func `secrets are files for the pod's user alone, on a memory of their own`() async throws {
    try await withPodHost { host in
      let script = """
        cd /var/openfaas/secrets; stat -c '%n %a %u' token db/password; cat token db/password; wc -c < big
        (echo x > token) 2>/dev/null; echo $?; (echo x > other) 2>/dev/null; echo $?
        stat -f -c %T .
        """
      var user: UInt32 = 0
      let done = try await host.shell(script) {
        user = $0.stem.hostUID
        $0.bind.secrets = [
          SandboxSecret(path: "token", bytes: Array("abc\n".utf8)),
          SandboxSecret(path: "/var/openfaas/secrets/db/password", bytes: Array("öö\n".utf8)),
          SandboxSecret(path: "big", bytes: [UInt8](repeating: 7, count: 1 << 20)),
        ]
      }
      #expect(
        done.out == "token 400 \(user)\ndb/password 400 \(user)\nabc\nöö\n1048576\n2\n2\ntmpfs\n", "\(done.err)")
      for path in ["../x", "/etc/passwd", "a/b/c", ".hidden", "a/../b", "", "a//b", "a\nb"] {
        var spec = try await PodHost.spec(["true"])
        spec.bind.secrets = [SandboxSecret(path: path, bytes: [1])]
        await #expect(throws: SandboxError.self) { _ = try await host.spawner.start(spec) }
      }
    }
  }

  @Test func `loopback is up in every pod and connections reach a server inside`() async throws {
    let root = try await TestRoots.path(.python)
    try await withPodHost { host in
      let forwarder = try PortForwarder()
      defer { forwarder.stop() }
      let control = try Captured()
      defer { control.closeWriter() }
      let code = """
        import socket,os
        s=socket.create_server(('127.0.0.1',8080)); os.write(5,b'r')
        while True:
          c,_=s.accept(); c.sendall(b'hi'); c.close()
        """
      var spec = try await PodHost.spec(["/usr/bin/python3", "-S", "-c", code])
      spec.stem.origin = .root(root)
      spec.stem.control = control.writer
      let pod = try await host.spawner.start(spec)
      control.closeWriter()
      #expect(await eventually { control.soFar.hasSuffix("r") })
      for _ in 0..<20 {
        let fd = try await forwarder.connect(to: pod, port: 8080)
        defer { close(fd) }
        #expect(apus_wait_readable(fd, 5000) == 1)
        var buffer = [UInt8](repeating: 0, count: 8)
        #expect(read(fd, &buffer, 8) == 2)
      }
      await #expect(throws: PortForwarder.Failure.refused) { _ = try await forwarder.connect(to: pod, port: 8081) }
      host.spawner.signal(pod, SIGKILL)
      _ = try await host.exit(of: pod)
      await #expect(throws: PortForwarder.Failure.self) { _ = try await forwarder.connect(to: pod, port: 8080) }
    }
  }
}
