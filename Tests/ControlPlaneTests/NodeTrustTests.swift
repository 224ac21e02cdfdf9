import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Synchronization
import Testing

@testable import ControlPlane

/// What the control plane makes of nodes that miss a command, refuse one, or seem to be silent.
@Suite("Trust in nodes")
struct NodeTrustTests {
  @Test("a clock that is set, or a machine that slept, loses no node")
  func clockSteps() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    for hours in [1, -2, 24] {
      cluster.clock.step(milliseconds: Int64(hours) * 3_600_000)
      for _ in 0..<3 {
        cluster.clock.advance(milliseconds: 100)
        await cluster.plane.orchestrator.tick(at: cluster.clock.now, lossesCount: true)
      }
      #expect(await cluster.plane.orchestrator.nodes["w1"]?.session == .joined)
    }
    _ = worker
  }

  @Test("a pod whose end its worker did not hear of is told again when it is back, and ends")
  func lostStop() async throws {
    let cluster = try await TestCluster()
    let first = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one", scale: .object(["min": .int(1)]))
    #expect(try await cluster.serves("greet", "greet-00001"))
    let running = first.running
    let uid = try #require(running.first?.uid)
    await first.deaf()
    await cluster.plane.orchestrator.drain(uid, reason: "Deleted", message: nil)
    #expect(await cluster.plane.orchestrator.pods[uid]?.stopSent == true)
    let back = try await TestWorker("w1", cluster, running: running)
    #expect(await eventually { back.stopped == [uid] })
    #expect(await eventually { await cluster.plane.orchestrator.pods[uid]?.detail.life == .gone })
    _ = first
  }

  @Test("a worker that takes no pod is passed over, and its word is no failed start")
  func refusals() async throws {
    let cluster = try await TestCluster()
    let stopping = try await TestWorker("w1", cluster, behaviour: .refuse)
    try await cluster.deploy("greet", code: "one", scale: .object(["min": .int(1)]))
    #expect(await eventually { stopping.started.count == 1 })
    let other = try await TestWorker("w2", cluster)
    #expect(try await cluster.serves("greet", "greet-00001"))
    #expect(await eventually { await cluster.pods("greet", .ready).allSatisfy { $0.node == "w2" } })
    #expect(await cluster.plane.orchestrator.functions["default/greet"]?.failure == nil)
    #expect(stopping.started.count == 1, "it is not asked again at once")
    _ = other
  }

  @Test("where every worker refuses, callers are told that there is no room")
  func onlyRefusals() async throws {
    let cluster = try await TestCluster()
    let stopping = try await TestWorker("w1", cluster, behaviour: .refuse)
    let news = try await cluster.plane.orchestrator.subscribe(gateway: "g")
    try await cluster.deploy("greet", code: "one", scale: .object(["min": .int(1)]))
    let told = Mutex<CallErrorCode?>(nil)
    let listening = Task {
      for await case .startFailed(let failure) in news { told.withLock { $0 = $0 ?? failure.code } }
    }
    // Time passes until the patience is over; no node is asked more often than its pause allows.
    let passed = Mutex(0)
    let answered = await eventually {
      cluster.clock.advance(milliseconds: 100)
      passed.withLock { $0 += 100 }
      await stopping.heartbeat()
      await cluster.plane.orchestrator.tick(at: cluster.clock.now, lossesCount: false)
      return told.withLock { $0 != nil }
    }
    #expect(answered && told.withLock { $0 } == .noCapacity)
    let (asked, most) = (stopping.started.count, passed.withLock { $0 } / 500 + 2)
    #expect(asked >= 1 && asked <= most, "\(asked) of at most \(most)")
    listening.cancel()
  }

  @Test("a pod that runs although its end was told is stopped")
  func overtaken() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one", scale: .object(["min": .int(1)]))
    #expect(try await cluster.serves("greet", "greet-00001"))
    let report = try #require(worker.running.first)
    var (ended, again) = (report, report)
    (ended.detail.life, again.detail.life) = (.gone, .starting)
    await worker.report(ended)
    #expect(await cluster.plane.orchestrator.pods[report.uid]?.detail.life == .gone)
    await worker.report(again)
    #expect(await eventually { worker.stopped == [report.uid] })
  }
}
