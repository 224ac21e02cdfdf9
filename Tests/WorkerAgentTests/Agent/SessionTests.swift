import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Testing

@testable import WorkerAgent

@Suite("Worker sessions")
struct SessionTests {
  @Test func `pods live on without a server, and the next hello names them`() async throws {
    let bench = try WorkerBench()
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, uid))
    bench.server.disconnect(refusing: true)
    #expect(await eventually { bench.server.refusals >= 2 })
    #expect(bench.sandboxes.alive.count == 1)
    bench.server.refuse(false)
    #expect(await eventually { bench.server.hellos.count == 2 })
    let running = bench.server.hellos.last?.running ?? []
    #expect(running.map(\.uid) == [uid])
    #expect(running.first?.detail.life == .ready)
    #expect(bench.server.hellos[0].session != bench.server.hellos[1].session)
    #expect(bench.sandboxes.pods.count == 1)
    try await bench.leave()
  }

  @Test func `what the server does not keep is stopped, the rest untouched`() async throws {
    let bench = try WorkerBench()
    let kept = await bench.start(try Assignments.make())
    let other = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, kept))
    #expect(await bench.becomes(.ready, other))
    bench.server.keepOnOpen(false)
    bench.server.disconnect()
    #expect(await eventually { bench.server.hellos.count == 2 })
    bench.server.send(.keep(uids: [kept, "unknown"]))
    #expect(await bench.becomes(.gone, other))
    #expect(bench.sandboxes.alive.map(\.order.slot) == [0])
    bench.server.send(.drain(uid: kept))
    #expect(await bench.becomes(.draining, kept))
    try await bench.leave()
  }

  @Test func `an end nobody heard of is told to the next session`() async throws {
    let bench = try WorkerBench()
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, uid))
    bench.server.disconnect(refusing: true)
    #expect(await eventually { bench.server.refusals >= 1 })
    bench.server.send(.drain(uid: uid))
    // Three failed starts in a row end a pod that was ready before.
    bench.sandboxes.behave(.dies(1))
    bench.sandboxes.pods.first?.end(PodExit(code: 1))
    #expect(await eventually { bench.sandboxes.pods.count == 4 && bench.sandboxes.alive.isEmpty })
    bench.server.refuse(false)
    #expect(await bench.becomes(.gone, uid))
    #expect(bench.server.latest(uid)?.detail.failed == true)
    try await bench.leave()
  }

  @Test func `commands of an older epoch are ignored`() async throws {
    let bench = try WorkerBench()
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, uid))
    bench.server.disconnect()
    #expect(await eventually { bench.server.epoch == 2 })
    bench.server.send(.stop(uid: uid, graceMilliseconds: 0), epoch: 1)
    let other = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, other))
    #expect(bench.server.life(uid) == .ready)
    try await bench.leave()
  }

  @Test func `a server that was put back to an earlier state is obeyed`() async throws {
    let bench = try WorkerBench()
    let uid = await bench.start(try Assignments.make())
    #expect(await bench.becomes(.ready, uid))
    for epoch in [40, 3] as [UInt64] {
      bench.server.count(from: epoch)
      bench.server.disconnect()
      #expect(await eventually { bench.server.epoch == epoch + 1 })
    }
    bench.server.send(.stop(uid: uid, graceMilliseconds: 0))
    #expect(await bench.becomes(.gone, uid))
    try await bench.leave()
  }

  @Test func `a pod that is stopped while its package comes holds it no longer than that`() async throws {
    let bench = try WorkerBench()
    await bench.packages.stall()
    let assignment = try Assignments.make()
    let digest = try #require(assignment.spec.template.source?.digest)
    let uid = await bench.start(assignment)
    #expect(await eventually { await bench.packages.held[digest] == 1 })
    bench.server.send(.stop(uid: uid, graceMilliseconds: 0))
    #expect(await bench.becomes(.gone, uid))
    await bench.packages.letGo()
    #expect(await eventually { await bench.packages.held[digest] == 0 })
    try await bench.leave()
  }

  @Test func `a session whose first command is not keep is ended and dialled again`() async throws {
    let bench = try WorkerBench()
    #expect(await eventually { bench.server.epoch == 1 })
    bench.server.keepOnOpen(false)
    bench.server.disconnect()
    #expect(await eventually { bench.server.epoch == 2 })
    bench.server.send(.ping)
    bench.server.send(.drain(uid: "x"))
    bench.server.keepOnOpen(true)
    #expect(await eventually { bench.server.epoch >= 3 })
    #expect(bench.server.closed.contains(false))
    try await bench.leave()
  }

  @Test func `the outbox keeps the newest report of each pod and every end`() {
    let outbox = Outbox()
    func report(_ uid: String, _ life: PodLife) -> PodReport {
      PodReport(
        uid: uid, name: uid, namespace: "default", detail: PodDetail(function: "f", revision: "f-1", life: life))
    }
    outbox.put(report("a", .starting))
    outbox.put(report("b", .gone))
    outbox.put(report("a", .ready))
    #expect(outbox.take() == [.pod(report("a", .ready)), .pod(report("b", .gone))])
    // The session may have died before b's end was heard: the next one is told again.
    outbox.put(report("a", .draining))
    _ = outbox.open()
    #expect(outbox.take() == [.pod(report("a", .draining)), .pod(report("b", .gone)), .heartbeat])
    for index in 0..<Outbox.eventsMaximum + 5 {
      outbox.put(
        ReportedEvent(
          object: ObjectReference(.pod, namespace: nil, name: "p"), reason: "R\(index)", message: "", warning: false))
    }
    let events = outbox.take()
    #expect(events.count == Outbox.eventsMaximum)
    if case .event(let first)? = events.first { #expect(first.reason == "R5") }
  }
}
