import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Testing

@testable import WorkerAgent

@Suite("Worker agent")
struct WorkerAgentTests {
  @Test func `it says hello, keeps what it is told, and beats`() async throws {
    let bench = try WorkerBench()
    #expect(await eventually { !bench.server.hellos.isEmpty })
    let hello = try #require(bench.server.hellos.first)
    #expect((hello.name, hello.milliCPU, hello.memory, hello.pods) == ("n1", 2000, 1 << 30, 100))
    #expect((hello.labels, hello.host, hello.running) == (["zone": "a"], "host-1", []))
    #expect(await eventually { bench.server.messages.filter { $0 == .heartbeat }.count >= 3 })
    try await bench.leave()
  }

  @Test func `a pod becomes ready with its endpoint and the times of its start`() async throws {
    let bench = try WorkerBench()
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, uid))
    let detail = try #require(bench.server.latest(uid)?.detail)
    let socket = try #require(detail.endpoint?.socket)
    #expect(socket.hasPrefix("\(bench.runDirectory)/0-") && socket.hasSuffix(".s"))
    #expect(detail.endpoint?.host == "host-1")
    #expect(FileManager.default.fileExists(atPath: socket))
    #expect(detail.startup?.ready != nil && detail.startup?.placed != nil)
    #expect(bench.sandboxes.pods.first?.order.listener ?? -1 >= 0)
    try await bench.leave()
  }

  @Test func `the same start twice is one pod`() async throws {
    let bench = try WorkerBench()
    let assignment = try Assignments.make()
    let uid = await bench.start(assignment)
    bench.server.send(.start(assignment))
    #expect(await bench.becomes(.ready, uid))
    bench.server.send(.start(assignment))
    let other = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, other))
    #expect(bench.sandboxes.pods.count == 2)
    try await bench.leave()
  }

  @Test func `a pod is drained, stopped and gone, and nothing of it is left`() async throws {
    let bench = try WorkerBench()
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, uid))
    let socket = try #require(bench.server.latest(uid)?.detail.endpoint?.socket)
    bench.server.send(.drain(uid: uid))
    #expect(await bench.becomes(.draining, uid))
    #expect(bench.sandboxes.alive.count == 1)
    bench.server.send(.stop(uid: uid, graceMilliseconds: 1000))
    #expect(await bench.becomes(.gone, uid))
    #expect(bench.server.latest(uid)?.detail.failed == false)
    #expect(await eventually { await bench.packages.held.values.allSatisfy { $0 == 0 } })
    #expect(!FileManager.default.fileExists(atPath: socket))
    // A gateway that has not heard of the end meets nobody there, and not the next pod of the slot.
    #expect(Set((0..<100).map { _ in SocketPath.new(in: bench.runDirectory, slot: 0) } + [socket]).count == 101)
    try await bench.leave()
  }

  @Test func `a pod that ignores SIGTERM is killed after the grace`() async throws {
    let bench = try WorkerBench()
    bench.sandboxes.behave(.stubborn)
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, uid))
    bench.server.send(.stop(uid: uid, graceMilliseconds: 50))
    #expect(await bench.becomes(.gone, uid))
    #expect(bench.server.latest(uid)?.detail.exitCode == 137)
    try await bench.leave()
  }

  @Test func `a crash restarts the pod in place, tells an event, and its lines are shipped`() async throws {
    let bench = try WorkerBench()
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, uid))
    let first = try #require(bench.sandboxes.pods.first)
    first.write("all is well", to: .stdout)
    first.write(#"{"call":"c9","stream":"stdout","line":"in a call"}"#, to: nil)
    first.write("Traceback: boom", to: .stderr)
    first.end(PodExit(code: 1))
    #expect(await eventually { bench.server.latest(uid)?.detail.restarts == 1 && bench.server.life(uid) == .ready })
    #expect(bench.sandboxes.alive.count == 1)
    #expect(await eventually { bench.server.events.contains { $0.reason == "Crashed" } })
    let event = bench.server.events.first { $0.reason == "Crashed" }
    #expect(event?.message.hasPrefix("exited with code 1; last lines written:") == true)
    #expect(event?.message.contains("Traceback: boom") == true)
    #expect(event?.object.uid == uid)
    #expect(await eventually { bench.logs.lines.count == 3 })
    let records = bench.logs.records()
    #expect(records.first { $0.call == "c9" }?.msg == "in a call")
    #expect(records.allSatisfy { $0.function == "greet" && $0.pod == "greet-00001-abcde" && $0.node == "n1" })
    #expect(bench.logs.sources.first?.hasPrefix("n1/") == true)
    try await bench.leave()
  }

  @Test func `a pod that dies before it was ready is gone with the last lines it wrote`() async throws {
    let bench = try WorkerBench()
    bench.sandboxes.behave(.dies(2))
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.gone, uid))
    let detail = try #require(bench.server.latest(uid)?.detail)
    #expect((detail.reason, detail.failed, detail.everReady) == ("StartFailed", true, false))
    #expect(detail.message?.hasSuffix("it will not work") == true)
    #expect(bench.sandboxes.pods.count == 1)
    try await bench.leave()
  }

  @Test func `a sandbox, a package or a secret that cannot be had fails the start with its cause`() async throws {
    let bench = try WorkerBench()
    bench.sandboxes.behave(.refused("no namespaces here"))
    let one = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.gone, one))
    #expect(bench.server.latest(one)?.detail.message == "no namespaces here")
    await bench.packages.fail("the digest does not match")
    let two = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.gone, two))
    #expect(bench.server.latest(two)?.detail.message == "preparing its code: the digest does not match")
    await bench.packages.fail(nil)
    let three = await bench.start(try Assignments.make(spec: .object(["secrets": .array([.string("db")])])))
    #expect(await bench.becomes(.gone, three))
    #expect(bench.server.latest(three)?.detail.message?.contains("there is no secret db") == true)
    #expect(await eventually { await bench.packages.held.values.allSatisfy { $0 == 0 } })
    try await bench.leave()
  }

  @Test func `only the secrets a function names reach its pod`() async throws {
    let bench = try WorkerBench(
      secrets: SimulatedSecrets(all: ["db": ["user": [1]], "token": ["value": [2]], "other": ["value": [3]]]))
    let uid = await bench.start(
      try Assignments.make(spec: .object(["secrets": .array([.string("db"), .string("token")])])))
    #expect(await bench.becomes(.ready, uid))
    #expect(bench.sandboxes.pods.first?.order.secrets == ["db/user": [1], "token": [2]])
    try await bench.leave()
  }

  @Test func `a pod that does not wake in time is killed and failed`() async throws {
    let bench = try WorkerBench()
    bench.sandboxes.behave(.hold)
    let uid = await bench.start(
      try Assignments.make(spec: .object(["probes": .object(["startup": .string("100ms")])])))
    #expect(await bench.becomes(.gone, uid))
    #expect(bench.server.latest(uid)?.detail.message == "it was not ready within 100ms")
    #expect(bench.sandboxes.alive.isEmpty)
    try await bench.leave()
  }

  @Test func `a node that is full refuses with a reason`() async throws {
    let bench = try WorkerBench(pods: 1)
    let one = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, one))
    let two = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.gone, two))
    #expect(bench.server.latest(two)?.detail.reason == "Refused")
    try await bench.leave()
  }

  @Test func `leaving drains and stops every pod, says goodbye, and closes the engine`() async throws {
    let bench = try WorkerBench()
    let one = await bench.start(try Assignments.make())
    let two = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, one))
    #expect(await bench.becomes(.ready, two))
    bench.sandboxes.pods.first?.write("the last line", to: .stdout)
    try await bench.leave()
    #expect(bench.server.life(one) == .gone && bench.server.life(two) == .gone)
    #expect(bench.server.lives(one).contains(.draining))
    #expect(bench.server.messages.last == .goodbye)
    #expect(bench.server.closed.last == true)
    #expect(bench.sandboxes.closed == 1)
    #expect(bench.logs.records().map(\.msg) == ["the last line"])
  }
}
