import ClusterTestSupport
import Foundation
@testable import PodSandbox
import Testing

@Suite("Stems and zygotes", .timeLimit(.minutes(2)))
struct StemTests {
  private static func code(_ files: [String: String]) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    chmod(folder.path, 0o755)
    for (name, text) in files {
      try text.write(toFile: "\(folder.path)/\(name)", atomically: true, encoding: .utf8)
      chmod("\(folder.path)/\(name)", 0o755)
    }
    return folder
  }

  @Test(arguments: PodWay.allCases)
  func `a pod has the code, host name, environment, secrets and limits it is bound to`(_ way: PodWay) async throws {
    let script = """
      #!/bin/sh
      hostname; pwd; echo "$GREETING"; cat /var/openfaas/secrets/key; echo; ulimit -n
      echo $(( $(stat -f -c %b /tmp) * $(stat -f -c %S /tmp) / 1024 ))
      """
    // A root of python has no shell tools: its pod tells the same in its own words.
    let tool = """
      import os, resource, socket
      size = os.statvfs("/tmp")
      print(socket.gethostname(), os.getcwd(), os.environ["GREETING"], open("/var/openfaas/secrets/key").read(), sep="\\n")
      print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], "apus-tmp", size.f_blocks * size.f_frsize // 1024)
      raise SystemExit(0)
      """
    let folder = try Self.code(["run": script, "handler.py": tool])
    try await withPodHost { host in
      var user: UInt32 = 0
      let done = try await Self.run(host, way, folder.path) {
        user = $0.stem.hostUID
        $0.bind.hostname = "bound-pod"
        $0.bind.secrets = [SandboxSecret(path: "key", bytes: Array("s3cret".utf8))]
        $0.limits.openFiles = 100
        $0.limits.tmpBytes = 4 << 20
        // The stem was made with others.
        $0.stem.limits = SandboxLimits()
      }
      #expect(user != 0)
      let words = done.out.split(whereSeparator: { $0.isWhitespace })
      #expect(words.prefix(5) == ["bound-pod", "/function", "hello", "there", "s3cret"], "\(done.out)\(done.err)")
      #expect(words.dropFirst(5).first == "100")
      #expect(words.contains("4096"), "\(done.out)")
    }
  }

  /// The script `run`, or in a zygote's pod the module `handler`.
  private static func run(
    _ host: PodHost, _ way: PodWay, _ code: String, edit: (inout SandboxSpec) -> Void
  ) async throws -> PodHost.Finished {
    guard way == .zygote else {
      let arguments = way == .warm ? ["/bin/sh", "-c", "cd /function; GREETING='hello there' ./run"] : ["./run"]
      return try await host.run(arguments, way: way, code: code, edit: edit)
    }
    let (out, err, control) = (try Captured(), try Captured(), try Captured())
    defer { for pipe in [out, err, control] { pipe.closeWriter() } }
    var spec = try await PodHost.spec([])
    spec.stem.origin = .zygote(try await host.zygote())
    spec.stem.stdout = out.writer
    spec.stem.stderr = err.writer
    spec.stem.control = control.writer
    spec.bind.codePath = code
    edit(&spec)
    let listener = try ListeningSocket()
    spec.stem.listener = listener.fd
    let stem = try await host.spawner.prepare(spec.stem)
    for pipe in [out, err, control] { pipe.closeWriter() }
    let sandbox = try host.spawner.bind(stem, spec.bind)
    let exit = try await host.exit(of: sandbox)
    return PodHost.Finished(exit: exit, out: await out.all(), err: await err.all())
  }

  @Test func `a stem that nobody wants ends when it is let go, and leaves nothing`() async throws {
    try await withPodHost { host in
      let zygote = try await host.zygote()
      for origin in [StemSpec.Origin.root(try await TestRoots.path(.exec)), .zygote(zygote)] {
        let stem = try await host.spawner.prepare(StemSpec(slot: TestSlots.take(), origin: origin))
        #expect(host.spawner.runningCount == 1)
        stem.discard()
        _ = try await host.exit(of: stem.sandbox)
        #expect(host.spawner.runningCount == 0)
        #expect(throws: SandboxError.self) { try host.spawner.bind(stem, BindSpec(hostname: "late")) }
      }
    }
  }

  @Test func `what a bound stem cannot become is said by its end`() async throws {
    try await withPodHost { host in
      let spec = try await PodHost.spec([])
      let stem = try await host.spawner.prepare(spec.stem)
      var bind = spec.bind
      bind.arguments = ["/no/such/program"]
      let sandbox = try host.spawner.bind(stem, bind)
      let exit = try await host.exit(of: sandbox)
      #expect(exit.failure == .failed(step: .exec, errno: ENOENT, command: "/no/such/program"))
      #expect(exit.reason.contains("was not found in the pod"))
    }
  }

  @Test func `a zygote that stopped ends when it is retired, and who waits for its pod is told`() async throws {
    try await withPodHost { host in
      let zygote = try await host.zygote()
      let process = try #require(try Self.children(of: host.spawner).first)
      kill(process, SIGSTOP)
      let start = Task { try await host.spawner.prepare(StemSpec(slot: TestSlots.take(), origin: .zygote(zygote))) }
      host.spawner.retire(zygote)
      await #expect(throws: SandboxError.self) { _ = try await start.value }
      #expect(await eventually { !FileManager.default.fileExists(atPath: "/proc/\(process)") })
      #expect(try await host.shell("echo goes on").out == "goes on\n")
    }
  }

  @Test func `what a zygote made and did not tell of becomes nothing, and ends`() async throws {
    let folder = try Self.code(["handler.py": "import time\ntime.sleep(600)\n"])
    try await withPodHost { host in
      for round in 0..<30 {
        let zygote = try await host.zygote()
        let process = try #require(try Self.children(of: host.spawner).last)
        let starts = (0..<8).map { _ in
          Task { () -> Sandbox? in
            let listener = try ListeningSocket()
            defer { withExtendedLifetime(listener) {} }
            var spec = try await PodHost.spec([])
            spec.stem.origin = .zygote(zygote)
            spec.stem.listener = listener.fd
            spec.bind.codePath = folder.path
            return try? await host.spawner.start(spec)
          }
        }
        // In the midst of it: killed, or retired.
        if round.isMultiple(of: 2) { kill(process, SIGKILL) } else { host.spawner.retire(zygote) }
        var made = 0
        for start in starts {
          guard let sandbox = try await start.value else { continue }
          made += 1
          host.spawner.signal(sandbox, SIGKILL)
          _ = try await host.exit(of: sandbox)
        }
        // Nobody is left but those that the host was told of.
        #expect(
          await eventually { (try? Self.children(of: host.spawner))?.isEmpty == true },
          "round \(round), \(made) made")
      }
    }
  }

  @Test func `a zygote that owes something for too long is found`() async {
    var state = SpawnerState()
    let (idle, slow, new) = (Zygote(ticket: 1), Zygote(ticket: 2), Zygote(ticket: 3))
    state.zygotes = [1: idle, 2: slow, 3: new]
    let patience = SpawnerState.zygotePatienceNs
    let result: Result<Sandbox, SandboxError> = await withCheckedContinuation { continuation in
      state.waiting[9] = .init(
        slot: 0, memoryLimit: 0, command: "", zygote: 2, askedNs: 1000, preparedNs: 0, untilBound: false,
        continuation: continuation)
      #expect(state.stuckZygotes(now: 1000 + patience).isEmpty)
      #expect(state.stuckZygotes(now: 1001 + patience).map(\.ticket) == [2])
      // It makes pods, if not yet this one.
      state.heard[2] = 5000
      #expect(state.stuckZygotes(now: 1001 + patience).isEmpty)
      continuation.resume(returning: .failure(.spawnerGone("")))
    }
    #expect(throws: SandboxError.self) { _ = try result.get() }
    let served: Result<Void, SandboxError> = await withCheckedContinuation { continuation in
      state.waiting = [:]
      state.heard[3] = 7000
      state.zygotesWaiting[3] = continuation
      #expect(state.stuckZygotes(now: 7000 + patience).isEmpty)
      #expect(state.stuckZygotes(now: 7001 + patience).map(\.ticket) == [3])
      continuation.resume(returning: .success(()))
    }
    #expect(throws: Never.self) { try served.get() }
  }

  @Test func `a zygote's end hurts no pod, and a retired one ends`() async throws {
    let folder = try Self.code(["handler.py": "def handle(event, context):\n    return 'x'\n"])
    try await withPodHost { host in
      let zygote = try await host.zygote()
      let (sandbox, _, listener) = try await Self.waiting(host, zygote, folder.path)
      defer { withExtendedLifetime(listener) {} }
      host.spawner.retire(zygote)
      #expect(!zygote.isAlive)
      await #expect(throws: SandboxError.self) {
        _ = try await host.spawner.prepare(StemSpec(slot: TestSlots.take(), origin: .zygote(zygote)))
      }
      #expect(host.spawner.signal(sandbox, 0), "its pod lives")
      let next = try await host.zygote()
      #expect(next.isAlive)
      _ = host.spawner.signal(sandbox, SIGTERM)
      let exit = try await host.exit(of: sandbox)
      #expect(exit.exitCode == 0, "\(exit.reason)")
    }
  }

  @Test(
    arguments: [
      ("", ""), ("import atexit\natexit.register(print, 'at exit')", "at exit\nleft\n"),
      ("import threading, time\nthreading.Thread(target=time.sleep, args=(0.1,)).start()", "left\n"),
      ("import weakref\nkept = weakref.finalize(handle, print, 'final')", "final\nleft\n"),
      ("import logging, sys\nlogging.basicConfig(stream=sys.stdout)", "left\n"),
      ("sys.stdout.buffer.write(b'kept')", "kept"),
      ("sys.stdout = sys.stdout._plain", "left\n"), ("sys.__stdout__.write('now')", "nowleft\n"),
      ("print('whole')", "whole\n"),
      ("import signal\nsignal.signal(signal.SIGUSR1, handle)", "left\n"),
    ])
  func `a pod at rest ends at once unless there is something to do`(what: String, said: String) async throws {
    let own = """
      import sys, apus_serve
      def handle(event, context): return 'x'
      whole = apus_serve.leave
      def leave():
        import atexit
        run = atexit._run_exitfuncs
        atexit._run_exitfuncs = lambda: (run(), print('left'))
        whole()
      apus_serve.leave = leave
      \(what)
      """
    let folder = try Self.code(["handler.py": own])
    try await withPodHost { host in
      let (sandbox, out, listener) = try await Self.waiting(host, try await host.zygote(), folder.path)
      defer { withExtendedLifetime(listener) {} }
      _ = host.spawner.signal(sandbox, SIGTERM)
      let exit = try await host.exit(of: sandbox)
      #expect(exit.exitCode == 0, "\(exit.reason)")
      #expect(await out.all() == said)
    }
  }

  @Test(arguments: [PodWay.start, .zygote])
  func `who has no descriptor left for a start says so, and makes the next one when it has`(_ way: PodWay) async throws
  {
    let folder = try Self.code(["handler.py": "print('made')\nraise SystemExit(0)\n", "run": "#!/bin/sh\necho made\n"])
    try await withPodHost { host in
      let zygote = way == .zygote ? try await host.zygote() : nil
      let maker = zygote == nil ? host.spawner.processID : try Self.children(of: host.spawner).last ?? 0
      let own: (inout SandboxSpec) -> Void = { if let zygote { $0.stem.origin = .zygote(zygote) } }
      try await Self.limitDescriptors(of: maker, to: 1)
      await #expect(
        performing: {
          _ = try await Self.run(host, way, folder.path, edit: own)
        }, throws: { error in "\(error)".contains("open files") })
      try await Self.limitDescriptors(of: maker, to: 1024)
      let done = try await Self.run(host, way, folder.path, edit: own)
      #expect(done.out == "made\n", "\(done.exit.reason) \(done.err)")
    }
  }

  /// The host's processes whose parent is a spawner.
  private static func children(of spawner: Spawner) throws -> [pid_t] {
    let own = spawner.processID
    return try String(contentsOfFile: "/proc/\(own)/task/\(own)/children", encoding: .utf8).split(separator: " ")
      .compactMap { pid_t($0) }
  }

  private static func limitDescriptors(of process: pid_t, to count: Int) async throws {
    let done = try await Command.run("prlimit", ["--pid", "\(process)", "--nofile=\(count):"])
    try #require(done.isSuccess, "\(done.output)")
  }

  /// A pod of a zygote that waits for its first call, what it writes to stdout, and its socket.
  private static func waiting(
    _ host: PodHost, _ zygote: Zygote, _ code: String
  ) async throws -> (Sandbox, Captured, ListeningSocket) {
    let (out, control, listener) = (try Captured(), try Captured(), try ListeningSocket())
    defer { for pipe in [out, control] { pipe.closeWriter() } }
    var spec = try await PodHost.spec([])
    spec.stem.origin = .zygote(zygote)
    spec.stem.stdout = out.writer
    spec.stem.control = control.writer
    spec.stem.listener = listener.fd
    spec.bind.codePath = code
    let stem = try await host.spawner.prepare(spec.stem)
    for pipe in [out, control] { pipe.closeWriter() }
    let sandbox = try host.spawner.bind(stem, spec.bind)
    #expect(
      await eventually { control.soFar.wholeMatch(of: /w?s[0-9a-f]{16}w?1/) != nil && (try? waits(sandbox)) == true })
    return (sandbox, out, listener)
  }

  /// Process 1 of the pod and its child sleep.
  private static func waits(_ sandbox: Sandbox) throws -> Bool {
    let first = try sandbox.process
    let children = CgroupFiles.read("/proc/\(first)/task/\(first)/children") ?? ""
    let processes = ["\(first)"] + children.split(separator: " ").map(String.init)
    return processes.count == 2
      && processes.allSatisfy { process in
        (CgroupFiles.read("/proc/\(process)/stat") ?? "").split(separator: ")").last?.hasPrefix(" S") == true
      }
  }

  @Test(arguments: [true, false])
  func `forks of one zygote have random numbers of their own`(lean: Bool) async throws {
    let tool = "import random, sys\nsys.stdout.write(str(random.random()))\nraise SystemExit(0)\n"
    let folder = try Self.code(["handler.py": tool])
    try await withPodHost { host in
      let zygote = try await host.zygote(lean: lean)
      var seen: Set<String> = []
      for _ in 0..<4 {
        let done = try await Self.run(host, .zygote, folder.path) { $0.stem.origin = .zygote(zygote) }
        #expect(Double(done.out) != nil, "\(done.out)\(done.err)")
        seen.insert(done.out)
      }
      #expect(seen.count == 4, "\(seen)")
    }
  }

  @Test func `a pod's own forks do what modules want done after a fork`() async throws {
    // The hooks of a zygote's modules are kept from the fork that makes the pod: one of them forgets other threads.
    let tool = """
      import os, sys, threading
      mine = threading.main_thread().native_id == threading.get_native_id()
      ended = threading.Event()
      threading.Thread(target=ended.wait).start()
      child = os.fork()
      if child == 0: os._exit(threading.active_count())
      ended.set()
      sys.stdout.write(f"{mine} {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")
      raise SystemExit(0)

      """
    let folder = try Self.code(["handler.py": tool])
    try await withPodHost { host in
      _ = try await host.zygote()  // else the number of the next one's thread is that of the pod's by chance
      let done = try await Self.run(host, .zygote, folder.path) { _ in }
      #expect(done.out == "True 1", "\(done.err)")
    }
  }

  @Test func `what a zygote loaded stands side by side, where large pages can be`() async throws {
    // Mappings without a file that are whole large pages.
    let tool = """
      import sys
      spans = [line.split()[0].split('-') for line in open('/proc/self/maps') if len(line.split()) == 5]
      large = 2 << 20
      found = [start for start, end in spans if int(start, 16) % large == 0 and int(end, 16) % large == 0]
      sys.stdout.write(str(len(found)))
      raise SystemExit(0)

      """
    let folder = try Self.code(["handler.py": tool])
    try await withPodHost { host in
      _ = try await host.zygote()
      let done = try await Self.run(host, .zygote, folder.path) { _ in }
      #expect(Int(done.out) ?? 0 > 0, "\(done.out)\(done.err)")
    }
  }

  @Test func `process 1 of a zygote's pod keeps nothing of the interpreter`() async throws {
    try await withPodHost { host in
      let stem = try await host.spawner.prepare(
        StemSpec(slot: TestSlots.take(), origin: .zygote(try await host.zygote())))
      let pid = try stem.sandbox.process
      @Sendable func mappings() -> [Substring] {
        (try? String(contentsOfFile: "/proc/\(pid)/maps", encoding: .utf8))?.split(separator: "\n") ?? []
      }
      #expect(await eventually { !mappings().isEmpty && !mappings().contains { $0.contains("python3") } })
      #expect(!mappings().contains { $0.hasSuffix("[heap]") })
      #expect(host.spawner.signal(stem.sandbox, 0), "and lives")
      stem.discard()
      _ = try await host.exit(of: stem.sandbox)
    }
  }
}

/// A listening unix socket that goes with its folder.
final class ListeningSocket {
  let fd: CInt
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let path = "\(folder.path)/pod.s"
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let fd = fd
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, size) == 0 && listen(fd, 8) == 0 }
    }
    try #require(bound)
  }

  deinit { close(fd) }
}
