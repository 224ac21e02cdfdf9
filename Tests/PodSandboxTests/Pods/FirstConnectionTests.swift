import CLinux
import ClusterTestSupport
import Foundation
import Testing

@testable import PodSandbox

@Suite("The first connection into a pod")
struct FirstConnectionTests {
  @Test func `a pod is asked first after half of what is expected, then the more rarely the later it is`() {
    let patience = PortPatience(expected: 2_000_000)
    #expect(patience.pause(after: 0, waiting: 1) == 1_000_000)
    #expect(patience.pause(after: 400_000, waiting: 1) == 600_000)
    #expect(patience.pause(after: 1_000_000, waiting: 1) == PortPatience.share)
    #expect(PortPatience().pause(after: 0, waiting: 1) == PortPatience.beginning)
    #expect(PortPatience(expected: 900_000_000).pause(after: 0, waiting: 1) == PortPatience.latestBeginning)
    var waited: UInt64 = 0
    var pauses: [UInt64] = []
    while waited < 1_000_000_000 {
      pauses.append(patience.pause(after: waited, waiting: 1))
      waited += pauses.last ?? 1
    }
    #expect(pauses.dropFirst() == pauses.dropFirst().sorted()[...])
    #expect(pauses.last == PortPatience.longest)
    #expect(pauses.count < 150)
  }

  @Test func `however many wait, asking them takes a tenth of a processor at most`() {
    for waiting in [1, 10, 150] {
      let pause = PortPatience().pause(after: PortPatience.beginning, waiting: waiting)
      // An attempt takes 10 µs.
      #expect(waiting * 10_000 <= pause / 10)
    }
    #expect(PortPatience().pause(after: PortPatience.beginning, waiting: 100_000) == PortPatience.longest)
  }

  @Test func `a crowd is asked at beats, and those that have not begun more rarely`() {
    let patience = PortPatience()
    let begun: UInt64 = 7_000_000_123
    for waited in stride(from: UInt64(0), to: 40_000_000, by: 77_777) {
      let now = begun + waited
      #expect(patience.next(now: now, begun: begun, waiting: 1) == now + patience.pause(after: waited, waiting: 1))
      let beat = patience.next(now: now, begun: begun, waiting: PortPatience.crowd)
      let due = now + patience.pause(after: waited, waiting: PortPatience.crowd)
      #expect(beat % PortPatience.beat == 0 && beat >= due && beat - due < PortPatience.beat)
    }
    #expect(!patience.mayPassOver(0, waiting: PortPatience.crowd - 1))
    #expect((0..<5).map { patience.mayPassOver($0, waiting: 200) } == [true, true, true, false, false])
  }

  /// A pod that says on its control pipe that it runs, and some time later listens, or never.
  private func listener(_ host: PodHost, _ control: Captured, listens: Bool) async throws -> Sandbox {
    let code = """
      import os, socket, time
      os.write(5, b'r')
      time.sleep(\(listens ? 0.05 : 600))
      s = socket.create_server(('127.0.0.1', 8080))
      while True:
        c, _ = s.accept(); c.sendall(b'hi'); c.close()
      """
    var spec = try await PodHost.spec(["/usr/bin/python3", "-S", "-c", code])
    spec.stem.origin = .root(try await TestRoots.path(.python))
    spec.stem.control = control.writer
    return try await host.spawner.start(spec)
  }

  /// A forwarder and such a pod, which is ended afterwards.
  private func withListener(
    listens: Bool = true, _ body: (PortForwarder, Sandbox, Captured) async throws -> Void
  ) async throws {
    try await withPodHost { host in
      let forwarder = try PortForwarder()
      defer { forwarder.stop() }
      let control = try Captured()
      let pod = try await listener(host, control, listens: listens)
      control.closeWriter()
      try await body(forwarder, pod, control)
      host.spawner.signal(pod, SIGKILL)
      _ = try await host.exit(of: pod)
    }
  }

  @Test func `no thread stays in a pod's network`() async throws {
    try await withListener { forwarder, pod, _ in
      close(try await forwarder.firstConnection(to: pod, port: 8080, patience: PortPatience(expected: 1000)))
      close(try await forwarder.listen(in: pod, port: 9090))
      close(try await forwarder.connect(to: pod, port: 8080))
      let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
      let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")
      // A thread that ended meanwhile has none; that of another test may be away for a moment.
      let stays = await eventually {
        tasks.allSatisfy { task in
          let found = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/task/\(task)/ns/net")
          return found == nil || found == own
        }
      }
      #expect(stays)
    }
  }

  @Test func `it comes once something listens`() async throws {
    try await withListener { forwarder, pod, _ in
      let fd = try await forwarder.firstConnection(to: pod, port: 8080, patience: PortPatience(expected: 1000))
      defer { close(fd) }
      #expect(apus_wait_readable(fd, 5000) == 1)
      var buffer = [UInt8](repeating: 0, count: 8)
      #expect(read(fd, &buffer, 8) == 2)
    }
  }

  @Test func `who waits for a pod that never listens is let go when cancelled, and when the forwarder stops`()
    async throws
  {
    try await withListener(listens: false) { forwarder, pod, control in
      let waits = (0..<20).map { _ in
        Task { try await forwarder.firstConnection(to: pod, port: 8080, patience: PortPatience(expected: 1000)) }
      }
      #expect(await eventually { control.soFar.hasSuffix("r") })
      for wait in waits { wait.cancel() }
      for wait in waits {
        await #expect(throws: PortForwarder.Failure.cancelled) { _ = try await wait.value }
      }
      let last = Task { try await forwarder.firstConnection(to: pod, port: 8080, patience: PortPatience()) }
      // A connection that is refused shows that the thread took what came before.
      _ = try? await forwarder.connect(to: pod, port: 8080)
      forwarder.stop()
      await #expect(throws: PortForwarder.Failure.stopped) { _ = try await last.value }
    }
  }
}
