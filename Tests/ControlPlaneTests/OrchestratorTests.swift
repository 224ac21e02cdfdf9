import ClusterAPI
import ClusterModel
import ClusterTestSupport
import StateStore
import Synchronization
import Testing

@testable import ControlPlane

@Suite("Orchestrator")
struct OrchestratorTests {
  @Test("a deployed function gets a revision, which serves once its first pod was ready")
  func deploy() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    let status = try await cluster.function("greet").status
    #expect(status?.conditions.first { $0.type == "Ready" }?.status == "True")
    #expect(worker.started.count == 1)
    #expect(worker.started.first?.spec.number == 1)
  }

  @Test("gateways hear of tokens behind the snapshot and in order; an old list that comes late is passed over")
  func credentials() async throws {
    let cluster = try await TestCluster()
    let orchestrator = cluster.plane.orchestrator
    func list(_ names: String...) -> [InvokeCredential] {
      names.map { InvokeCredential(id: $0, hash: [], scope: .everything) }
    }
    var early = try await orchestrator.subscribe(gateway: "g1").makeAsyncIterator()
    guard case .snapshot = await early.next() else { return #expect(Bool(false), "a feed begins with a snapshot") }
    await orchestrator.use(list("a", "b"), version: 2)
    await orchestrator.use(list("a"), version: 1)
    await orchestrator.use(list("b"), version: 3)
    #expect(await early.next() == .credentials(list("a", "b")))
    #expect(await early.next() == .credentials(list("b")))
    var late = try await orchestrator.subscribe(gateway: "g2").makeAsyncIterator()
    guard case .snapshot = await late.next() else { return #expect(Bool(false), "a feed begins with a snapshot") }
    #expect(await late.next() == .credentials(list("b")))
  }

  @Test("who may call is the function's, not its revision's: it holds at once and starts no pod")
  func auth() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    #expect(await cluster.plane.orchestrator.route(namespace: "default", function: "greet")?.needsToken == nil)
    for (value, needed) in [("token", true), ("none", nil)] as [(String, Bool?)] {
      let written = try await cluster.plane.resources.patch(
        .function, namespace: "default", name: "greet", subresource: nil,
        patch: .object(["spec": .object(["auth": .string(value)])]))
      let generation = written.at(path: "metadata.generation")?.intValue
      let told = await eventually {
        await cluster.plane.orchestrator.route(namespace: "default", function: "greet")?.needsToken == needed
      }
      #expect(told)
      #expect(try await eventually { try await cluster.function("greet").status?.observedGeneration == generation })
    }
    #expect(try await cluster.function("greet").status?.latestRevision == "greet-00001")
    #expect(worker.started.count == 1)
    let wrong = await #expect(throws: APIStatus.self) {
      _ = try await cluster.plane.resources.patch(
        .function, namespace: "default", name: "greet", subresource: nil,
        patch: .object(["spec": .object(["auth": .string("tokn")])]))
    }
    #expect(wrong?.message.contains("did you mean \"token\"?") == true)
  }

  @Test("a wish for pods starts exactly as many as are missing, within the maximum, at once")
  func want() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one", scale: .object(["max": .int(4)]))
    #expect(try await cluster.serves("greet", "greet-00001"))
    let wish = PodsWanted(
      gateway: "g", namespace: "default", function: "greet", revision: nil, pods: 3, reason: "3 queued")
    try await cluster.plane.orchestrator.want(wish)
    #expect(await eventually { await cluster.pods("greet", .ready).count == 3 })
    var more = wish
    more.pods = 50
    try await cluster.plane.orchestrator.want(more)
    try await cluster.plane.orchestrator.want(more)
    #expect(await eventually { await cluster.pods("greet", .ready).count == 4 })
    #expect(worker.started.count == 4)
  }

  @Test("one wish starts all of its pods, also more than are created at once")
  func largeWish() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one", scale: .object(["max": .int(1000)]))
    #expect(try await cluster.serves("greet", "greet-00001"))
    let pods = 2 * Orchestrator.startsPerTurn + 30
    try await cluster.plane.orchestrator.want(
      PodsWanted(gateway: "g", namespace: "default", function: "greet", revision: nil, pods: pods, reason: "queued"))
    #expect(await cluster.pods("greet", .wanted, .placed, .starting, .ready).count == pods)
    _ = worker
  }

  @Test("an idle pod is stopped once every gateway gave it up, but never below the minimum")
  func idle() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    let first = try await cluster.plane.orchestrator.subscribe(gateway: "g1")
    let second = try await cluster.plane.orchestrator.subscribe(gateway: "g2")
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    let pod = try #require(await cluster.pods("greet", .ready).first)
    try await cluster.plane.orchestrator.podIdle(uid: pod.uid, gateway: "g1", why: .idle)
    #expect(await cluster.pods("greet", .ready).count == 1, "the second gateway may still use it")
    try await cluster.plane.orchestrator.podIdle(uid: pod.uid, gateway: "g2", why: .idle)
    #expect(await cluster.pods("greet", .draining).count == 1)
    #expect(worker.stopped.isEmpty, "the first gateway has not answered that it drains")
    try await cluster.plane.orchestrator.podIdle(uid: pod.uid, gateway: "g1", why: .idle)
    #expect(await eventually { worker.stopped == [pod.uid] })
    _ = try await cluster.plane.resources.patch(
      .function, namespace: "default", name: "greet", subresource: .scale,
      patch: .object(["spec": .object(["replicas": .int(1)])]))
    #expect(await eventually { await cluster.pods("greet", .ready).count == 1 })
    let kept = try #require(await cluster.pods("greet", .ready).first)
    try await cluster.plane.orchestrator.podIdle(uid: kept.uid, gateway: "g1", why: .idle)
    #expect(await cluster.pods("greet", .ready).count == 1)
    // One that did not end a cancelled call is of no use, however few there are.
    try await cluster.plane.orchestrator.podIdle(uid: kept.uid, gateway: "g1", why: .stuck)
    #expect(await eventually { await cluster.pods("greet", .ready).map(\.uid).contains { $0 != kept.uid } })
    #expect(await cluster.pods("greet", .draining).map(\.uid) == [kept.uid])
    _ = (first, second)
  }

  @Test("a pod that one gateway gave up and another uses stays, and is offered again when the first wishes for pods")
  func idleAtOneGateway() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    let plane = cluster.plane.orchestrator
    let first = try await plane.subscribe(gateway: "g.1")
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    let pod = try #require(await cluster.pods("greet", .ready).first)
    var leaving: Task<Void, Never>? = Task { [second = try await plane.subscribe(gateway: "g.2")] in
      for await _ in second {}
    }
    try await plane.podIdle(uid: pod.uid, gateway: "g.2", why: .idle)
    #expect(await cluster.pods("greet", .ready).map(\.uid) == [pod.uid])
    try await plane.want(
      PodsWanted(gateway: "g.2", namespace: "default", function: "greet", revision: nil, pods: 1, reason: "1 queued"))
    try await plane.podIdle(uid: pod.uid, gateway: "g.1", why: .idle)
    #expect(await cluster.pods("greet", .ready).map(\.uid) == [pod.uid], "it was offered to the second again")
    #expect(worker.started.count == 1)
    // The gateway that kept it goes away: nobody is left who has a use for it.
    leaving?.cancel()
    leaving = nil
    #expect(await eventually { await cluster.pods("greet", .draining).map(\.uid) == [pod.uid] })
    try await plane.podIdle(uid: pod.uid, gateway: "g.1", why: .idle)
    #expect(await eventually { worker.stopped == [pod.uid] })
    _ = first
  }

  @Test("what two processes of one gateway run is added up, and forgotten with the session of the one that left")
  func figures() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    var usage = FunctionUsage(namespace: "default", function: "greet")
    usage.inFlight = 2
    usage.calls = 5
    let plane = cluster.plane
    let stay = try await plane.orchestrator.subscribe(gateway: "g.1")
    let leaving = Task { [feed = try await plane.orchestrator.subscribe(gateway: "g.2")] in for await _ in feed {} }
    await plane.usage.report([usage], gateway: "g.1")
    await plane.usage.report([usage], gateway: "g.2")
    #expect(try await cluster.function("greet").status?.figures?.inFlight == 4)
    leaving.cancel()
    #expect(try await eventually { try await cluster.function("greet").status?.figures?.inFlight == 2 })
    #expect(try await cluster.function("greet").status?.figures?.calls == 10)
    _ = (stay, worker)
  }

  @Test("a redeploy drains the old pods only after the new revision proved itself")
  func redeploy() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    let feed = try await cluster.plane.orchestrator.subscribe(gateway: "g1")
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    worker.behave(.hold)
    try await cluster.deploy("greet", code: "two")
    #expect(await eventually { worker.started.count == 2 })
    #expect(await cluster.pods("greet", .ready).map(\.revision) == ["greet-00001"])
    var report = try #require(worker.running.first { $0.detail.revision == "greet-00002" })
    report.detail.life = .ready
    report.detail.everReady = true
    await worker.report(report)
    #expect(try await cluster.serves("greet", "greet-00002"))
    #expect(await eventually { await cluster.pods("greet", .draining).map(\.revision) == ["greet-00001"] })
    _ = feed
  }

  @Test("three failed starts reject a revision; the old one keeps serving and gateways are told")
  func failedRevision() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    let feed = try await cluster.plane.orchestrator.subscribe(gateway: "g1")
    worker.behave(.fail("ImportError: no module named yaml"))
    try await cluster.deploy("greet", code: "two")
    var attempts: [Int] = []
    for await update in feed {
      guard case .startFailed(let failure) = update else { continue }
      attempts.append(failure.attempts)
      if failure.attempts == Limits.startAttempts { break }
    }
    #expect(attempts == [1, 2, 3])
    #expect(
      try await eventually {
        try await cluster.function("greet").status?.conditions.contains { $0.reason == "RevisionFailed" } ?? false
      })
    let function = try await cluster.function("greet")
    #expect(function.status?.servingRevision == "greet-00001")
    #expect(function.status?.conditions.first?.message.contains("no module named yaml") == true)
  }

  @Test("putting an old spec back makes its revision serve again, without a new number")
  func rollback() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    try await cluster.deploy("greet", code: "two")
    #expect(try await cluster.serves("greet", "greet-00002"))
    try await cluster.deploy("greet", code: "one")
    #expect(try await cluster.serves("greet", "greet-00001"))
    #expect(try await cluster.function("greet").status?.lastRevisionNumber == 2)
    _ = worker
  }

  @Test("a node that falls silent is lost, its pods are replaced, and on return none runs twice")
  func nodeLoss() async throws {
    let cluster = try await TestCluster()
    let first = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one", scale: .object(["min": .int(2)]))
    #expect(await eventually { await cluster.pods("greet", .ready).count == 2 })
    let second = try await TestWorker("w2", cluster)
    let lost = first.running
    cluster.clock.advance(milliseconds: 2500)
    await second.heartbeat()
    await cluster.plane.orchestrator.tick(at: cluster.clock.now, lossesCount: true)
    cluster.clock.advance(milliseconds: 1000)
    await second.heartbeat()
    await cluster.plane.orchestrator.tick(at: cluster.clock.now, lossesCount: true)
    #expect(await eventually { await cluster.pods("greet", .ready).count { $0.node == "w2" } == 2 })
    let back = try await TestWorker("w1", cluster, running: lost)
    #expect(await eventually { back.kept == [] })
    #expect(back.running.isEmpty)
  }

  @Test("a pod that a new worker starts again is a later start for gateways, whatever the worker counts")
  func startedAgain() async throws {
    let cluster = try await TestCluster()
    let first = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one", scale: .object(["max": .int(2)]))
    #expect(try await cluster.serves("greet", "greet-00001"))
    let news = try await cluster.plane.orchestrator.subscribe(gateway: "g")
    first.behave(.hold)
    try await cluster.plane.orchestrator.want(
      PodsWanted(
        gateway: "g", namespace: "default", function: "greet", revision: nil, pods: 2, reason: "2 queued"))
    #expect(await eventually { await cluster.pods("greet", .starting).count == 1 })
    // It was started twice more before its worker died.
    var report = try #require(first.running.first { $0.detail.life == .starting })
    report.detail.restarts = 2
    let uid = report.uid
    await first.report(report)
    await first.vanish()
    _ = try await TestWorker("w1", cluster)
    #expect(await eventually { await cluster.plane.orchestrator.pods[uid]?.detail.life == .ready })
    await cluster.plane.orchestrator.drain(uid, reason: "Idle", message: nil)
    var incarnations: [Int] = []
    for await case .endpoint(let endpoint) in news where endpoint.uid == uid {
      incarnations.append(endpoint.incarnation)
      if endpoint.state == .draining { break }
    }
    #expect(incarnations == incarnations.sorted(), "gateways pass over what counts back")
    #expect(incarnations.last == 3)
  }

  @Test("while the server's own timer was late, silence declares nobody lost")
  func lateTimer() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    cluster.clock.advance(milliseconds: 10_000)
    await cluster.plane.orchestrator.tick(at: cluster.clock.now, lossesCount: false)
    #expect(await cluster.plane.orchestrator.nodes["w1"]?.session == .joined)
    _ = worker
  }

  @Test("a revision whose proof could not be written serves once it can be")
  func lateProof() async throws {
    let durable = FailingStore(MemoryStore(boot: 0))
    let cluster = try await TestCluster(durable: durable)
    let worker = try await TestWorker("w1", cluster, behaviour: .hold)
    try await cluster.deploy("greet", code: "one", scale: .object(["min": .int(1)]))
    #expect(await eventually { worker.running.count == 1 })
    durable.fails.withLock { $0 = .max }
    var report = try #require(worker.running.first)
    report.detail.life = .ready
    report.detail.everReady = true
    await worker.report(report)
    #expect(await eventually { durable.refused.withLock { $0 } > 2 }, "it is tried again")
    #expect(try await cluster.function("greet").status?.servingRevision == nil)
    durable.fails.withLock { $0 = 0 }
    #expect(try await cluster.serves("greet", "greet-00001"))
  }

  @Test(
    "a function that is changed while its revision is written gets a revision of the change, and none that is not stored"
  )
  func changedMeanwhile() async throws {
    let durable = FailingStore(MemoryStore(boot: 0))
    let cluster = try await TestCluster(durable: durable)
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one", scale: .object(["min": .int(1)]))
    #expect(try await cluster.serves("greet", "greet-00001"))
    let resources = cluster.plane.resources
    durable.before.withLock { before in
      before = { keys in
        guard keys.contains(where: { $0.hasPrefix("/revisions/") || $0.contains("greet-00002") }) else { return }
        durable.before.withLock { $0 = nil }
        _ = try? await resources.patch(
          .function, namespace: "default", name: "greet", subresource: nil,
          patch: .object(["metadata": .object(["labels": .object(["a": .string("b")])])]))
      }
    }
    try await cluster.deploy("greet", code: "two", scale: .object(["min": .int(1)]))
    #expect(try await cluster.serves("greet", "greet-00002"))
    let stored = try await resources.list(.revision, namespace: "default", options: ListOptions()).items
    let names = stored.compactMap { $0.at(path: "metadata.name")?.stringValue }
    #expect(names.sorted() == ["greet-00001", "greet-00002"])
    _ = worker
  }

  @Test("a new server over the same store adopts the pods its workers report")
  func adoption() async throws {
    let durable = MemoryStore(boot: 0)
    let folder = try TemporaryFolder()
    let before = try await TestCluster(durable: durable, boot: 1, folder: folder)
    let worker = try await TestWorker("w1", before)
    try await before.deploy("greet", code: "one", scale: .object(["min": .int(1)]))
    #expect(try await before.serves("greet", "greet-00001"))
    let running = worker.running
    let after = try await TestCluster(durable: durable, boot: 2, folder: folder)
    // At once: a worker that comes back, and a gateway, may be first to speak after the start.
    let feed = try await after.plane.orchestrator.subscribe(gateway: "g1")
    for await update in feed {
      guard case .snapshot(let functions, _) = update else { continue }
      #expect(functions.map(\.key) == ["default/greet"])
      break
    }
    let again = try await TestWorker("w1", after, running: running)
    #expect(await eventually { again.kept?.sorted() == running.map(\.uid).sorted() })
    #expect(await after.pods("greet", .ready).map(\.uid).contains(running.first?.uid ?? ""))
  }

  @Test("a new server starts no pod in place of those its workers are about to bring back")
  func returning() async throws {
    let durable = MemoryStore(boot: 0)
    let folder = try TemporaryFolder()
    let before = try await TestCluster(durable: durable, boot: 1, folder: folder)
    let first = try await TestWorker("w1", before)
    try await before.deploy("greet", code: "one", scale: .object(["min": .int(1), "max": .int(1)]))
    #expect(try await before.serves("greet", "greet-00001"))
    let second = try await TestWorker("w2", before)
    let running = first.running
    let after = try await TestCluster(durable: durable, boot: 2, folder: folder)
    let orchestrator = after.plane.orchestrator
    await orchestrator.tick(at: after.clock.now, lossesCount: true)
    #expect(await after.pods("greet", .wanted, .placed).isEmpty, "spec.scale.min waits for w1 and w2")
    // A request that waits is not told that there is no room, and its pod gives way to the one that comes back.
    let wish = PodsWanted(
      gateway: "g", namespace: "default", function: "greet", revision: nil, pods: 1, reason: "1 queued")
    try await orchestrator.want(wish)
    after.clock.advance(milliseconds: 5000)
    await orchestrator.tick(at: after.clock.now, lossesCount: true)
    #expect(await after.pods("greet", .wanted).count == 1)
    let again = try await TestWorker("w1", after, running: running)
    #expect(await eventually { again.kept == running.map(\.uid) })
    #expect(await after.pods("greet", .ready).map(\.uid) == running.map(\.uid))
    #expect(await after.pods("greet", .wanted, .placed, .starting).isEmpty)
    #expect(again.started.isEmpty)
    // The other way round: placed on the worker that came first, drained when the older one is back.
    let third = try await TestCluster(durable: durable, boot: 3, folder: folder)
    try await third.plane.orchestrator.want(wish)
    let early = try await TestWorker("w2", third)
    #expect(await eventually { early.started.count == 1 })
    _ = try await TestWorker("w1", third, running: running)
    #expect(await third.pods("greet", .wanted, .placed, .starting, .ready).map(\.uid) == running.map(\.uid))
    _ = second
  }

  @Test("without room the wish is answered with every node's reason")
  func noCapacity() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster, memory: 64 << 20)
    let feed = try await cluster.plane.orchestrator.subscribe(gateway: "g1")
    try await cluster.deploy("greet", code: "one")
    #expect(await eventually { await cluster.pods("greet", .wanted).count == 1 })
    cluster.clock.advance(milliseconds: 5000)
    await worker.heartbeat()
    await cluster.plane.orchestrator.tick(at: cluster.clock.now, lossesCount: true)
    // Who asks again before it is tried again hears the same: nothing of the function is at fault.
    try await cluster.plane.orchestrator.want(
      PodsWanted(gateway: "g1", namespace: "default", function: "greet", revision: nil, pods: 1, reason: "waits"))
    var heard = 0
    for await update in feed {
      guard case .startFailed(let failure) = update else { continue }
      #expect(failure.code == .noCapacity)
      #expect(failure.message.contains("w1 memory: needs 128Mi, 64Mi free"))
      heard += 1
      if heard == 2 { break }
    }
  }
}
