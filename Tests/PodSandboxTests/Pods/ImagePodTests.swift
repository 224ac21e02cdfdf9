import ClusterTestSupport
import Foundation
import PodSandbox
import Testing

/// Pods whose root is an overlay of layers, as those of container images are.
@Suite("Pods of images", .timeLimit(.minutes(2)))
struct ImagePodTests {
  /// Layers of an image over the root with Unix tools: ours on top, then what the test adds.
  private struct Layers {
    let folder: TemporaryFolder
    var paths: [String]

    init(_ add: (String) throws -> Void) async throws {
      folder = try TemporaryFolder("apus-overlay")
      chmod(folder.path, 0o755)
      let (top, own) = ("\(folder.path)/top", "\(folder.path)/own")
      for place in ["", "/proc", "/dev", "/tmp", "/etc", "/function", "/var", "/var/openfaas", "/var/openfaas/secrets"]
      {
        mkdir(top + place, 0o755)
        chmod(top + place, 0o755)
      }
      try Data().write(to: URL(filePath: "\(top)/etc/passwd"))
      mkdir(own, 0o755)
      chmod(own, 0o755)
      try add(own)
      paths = [top, own, try await TestRoots.path(.exec)]
    }
  }

  private func run(
    _ host: PodHost, _ layers: Layers, _ arguments: [String], user: UInt32 = 0, writable: Bool = false,
    edit: (inout SandboxSpec) -> Void = { _ in }
  ) async throws -> PodHost.Finished {
    let slot = TestSlots.take()
    let first = HostUsers.current.user(ofSlot: slot)
    let root = try await OverlayRoot.open(
      layers: layers.paths, firstUser: first, writes: writable ? .init(bytes: 1 << 20, inodes: 64) : nil)
    defer { close(root) }
    return try await host.run(arguments) { spec in
      (spec.stem.slot, spec.stem.hostUID, spec.stem.hostGID) = (slot, first + user, first + user)
      spec.stem.origin = .mounted(root, writable: writable)
      edit(&spec)
    }
  }

  private func shell(
    _ host: PodHost, _ layers: Layers, _ script: String, user: UInt32 = 0, writable: Bool = false,
    edit: (inout SandboxSpec) -> Void = { _ in }
  ) async throws -> String {
    let done = try await run(host, layers, ["/bin/sh", "-c", script], user: user, writable: writable, edit: edit)
    #expect(done.err == "", "\(done.exit.reason)")
    return done.out
  }

  @Test("user n of the image is user n of the slot, and owns what the image says it owns")
  func users() async throws {
    let layers = try await Layers { own in
      try "for 7\n".write(toFile: "\(own)/secret", atomically: true, encoding: .utf8)
      chown("\(own)/secret", 7, 7)
      chmod("\(own)/secret", 0o400)
    }
    try await withPodHost { host in
      let read = "cat /secret 2>/dev/null || echo no; stat -c %u /secret; id -u"
      let seven = try await shell(host, layers, read, user: 7).split(separator: "\n").map(String.init)
      #expect(seven.first == "for 7")
      #expect(seven[1] == seven[2] && (UInt32(seven[1]) ?? 0) % 65536 == HostUsers.current.user(ofSlot: 0) % 65536 + 7)
      let said1 = try await shell(host, layers, read, user: 8)
      #expect(said1.hasPrefix("no"))
      let said2 = try await shell(host, layers, read)
      #expect(said2.hasPrefix("no"), "the image's root has no power over others")
    }
  }

  @Test("a read-only root takes no writes; a writable one does, within its bounds, and for this pod only")
  func writes() async throws {
    let layers = try await Layers { own in
      mkdir("\(own)/data", 0o755)
      try "before".write(toFile: "\(own)/data/file", atomically: true, encoding: .utf8)
    }
    try await withPodHost { host in
      let touch =
        "for f in /new /data/file /etc/new; do (echo x > $f) 2>/dev/null && echo yes || echo no; done; echo x > /tmp/a"
      let said3 = try await shell(host, layers, touch)
      #expect(said3 == "no\nno\nno\n")
      let said4 = try await shell(host, layers, touch + "; cat /data/file", writable: true)
      #expect(said4 == "yes\nyes\nyes\nx\n")
      let said5 = try await shell(host, layers, "cat /data/file; ls /new 2>&1 | wc -l", writable: true)
      #expect(said5 == "before1\n")
      let fill = "dd if=/dev/zero of=/big bs=64k count=64 2>/dev/null; stat -c %s /big"
      let said6 = try await shell(host, layers, fill, writable: true)
      #expect((Int(said6.dropLast()) ?? .max) <= 1 << 20)
      let many =
        "i=0; while [ $i -lt 200 ]; do touch /data/$i || break; i=$((i+1)); done 2>/dev/null; [ $i -lt 100 ] && echo bounded"
      let said7 = try await shell(host, layers, many, writable: true)
      #expect(said7 == "bounded\n")
      #expect(
        try await shell(host, layers, "mount -t tmpfs x /data 2>/dev/null || echo no", user: 0, writable: true)
          == "no\n")
    }
    #expect(try String(contentsOfFile: "\(layers.folder.path)/own/data/file", encoding: .utf8) == "before")
  }

  @Test("links and files where the platform mounts its own do not lead it astray")
  func traps() async throws {
    let layers = try await Layers { own in
      for place in ["proc", "dev", "tmp", "function"] { symlink("/", "\(own)/\(place)") }
      mkdir("\(own)/etc", 0o755)
      symlink("/../../../etc/shadow", "\(own)/etc/passwd")
      mkdir("\(own)/var", 0o755)
      symlink("/etc", "\(own)/var/openfaas")
    }
    try await withPodHost { host in
      let script =
        "[ -d /proc/self ] && [ -c /dev/null ] && [ -d /tmp ] && cat /var/openfaas/secrets/s && grep -c function /etc/passwd"
      let said = try await shell(host, layers, script) {
        $0.bind.secrets = [SandboxSecret(path: "s", bytes: Array("hush\n".utf8))]
      }
      #expect(said == "hush\n1\n")
    }
  }

  @Test("the command starts where it is told, and a folder that is not there is an error with its name")
  func directory() async throws {
    let layers = try await Layers { own in mkdir("\(own)/srv", 0o755) }
    try await withPodHost { host in
      let there = try await shell(host, layers, "pwd") { $0.bind.directory = "/srv" }
      #expect(there == "/srv\n")
      let said8 = try await shell(host, layers, "pwd")
      #expect(said8 == "/\n")
      func refusal(_ directory: String) async -> String? {
        do {
          _ = try await run(host, layers, ["/bin/true"]) { $0.bind.directory = directory }
          return nil
        } catch { return "\(error)" }
      }
      #expect(await refusal("/none")?.contains("working directory") == true)
      #expect(await refusal("srv")?.contains("working directory srv") == true)
    }
  }

  @Test("its limits hold as any pod's do", arguments: [false, true])
  func limits(writable: Bool) async throws {
    let layers = try await Layers { _ in }
    try await compile(TestPaths.source("greedy.c"), to: "\(layers.folder.path)/own/greedy")
    try await withPodHost { host in
      func take(_ what: String, _ edit: (inout SandboxLimits) -> Void) async throws -> PodHost.Finished {
        try await run(host, layers, ["/greedy", what], writable: writable) { edit(&$0.limits) }
      }
      let memory = try await take("memory") { $0.memoryBytes = 48 << 20 }
      #expect(memory.exit.reason == "killed: out of memory (limit 48Mi)")
      #expect(try await take("forks") { $0.pids = 40 }.out == "39 EAGAIN\n")
      #expect(try await take("bytes") { $0.tmpBytes = 8 << 20 }.out == "\(8 << 20) ENOSPC\n")
      #expect(try await take("files") { $0.tmpInodes = 100 }.out.hasSuffix(" ENOSPC\n"))
      #expect(try await take("descriptors") { $0.openFiles = 77 }.out == "77 77 0 0\n")
    }
  }

  @Test("every hostile probe is blocked in a pod of an image too", arguments: [false, true])
  func probes(writable: Bool) async throws {
    let targets = try await Targets()
    let layers = try await Layers { own in
      try FileManager.default.copyItem(atPath: targets.program, toPath: "\(own)/hostile")
    }
    let code = try targets.code()
    try await withPodHost { host in
      let neighbour = try await targets.neighbour(host, code: code.path)
      let done = try await run(host, layers, ["/hostile"] + targets.arguments(neighbour), writable: writable)
      #expect(done.exit.exitCode == 0, "\(done.exit.reason) \(done.err)")
      #expect(host.spawner.signal(neighbour.sandbox, 0), "the neighbour lives")
      #expect(Targets.results(done.out).count >= 110)
      let open = Targets.open(done.out)
      // Nobody else sees what is opened in a root of its own. Writing to it is what a writable one is for.
      let own: Set = writable ? ["watch_code", "write_root", "write_usr", "write_code"] : ["watch_code"]
      #expect(open.subtracting(own) == [], "\(done.out)")
    }
  }
}
