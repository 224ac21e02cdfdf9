import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Logging
import StateStore
import Synchronization
import Testing

@testable import ControlPlane

/// Schedules over the queue of calls: what is durable, what is told.
@Suite("Schedules: service") struct ScheduleServiceTests {
  private typealias Stage = CallServiceTests.Stage

  /// A schedule service of one function, over a store the test keeps.
  private final class Desk: Sendable {
    let stage: CallServiceTests.Stage
    let calls: CallService
    let schedules: ScheduleService
    let overlay = SoftOverlay()
    let soft = MemoryStore(boot: 1)
    let functions: Mutex<(version: Int64, list: [ScheduledFunction])>

    init(_ stage: CallServiceTests.Stage, _ store: any StateStore, _ functions: [ScheduledFunction]) async throws {
      self.stage = stage
      calls = try await stage.service(store)
      self.functions = Mutex((0, functions))
      var logger = Logger(label: "test")
      logger.logLevel = .critical
      let list = Mutex<(@Sendable () -> (Int64, [ScheduledFunction]))?>(nil)
      schedules = ScheduleService(
        calls: calls, overlay: overlay, events: EventRecorder(soft: soft, logs: nil, logger: logger), logger: logger,
        functions: { version in
          guard let now = list.withLock({ $0?() }), now.0 != version else { return nil }
          return (version: now.0, functions: now.1)
        })
      list.withLock { $0 = { [weak self] in self?.functions.withLock { ($0.version, $0.list) } ?? (0, []) } }
      try await schedules.prepare()
    }

    func set(_ functions: [ScheduledFunction]) { self.functions.withLock { $0 = ($0.version + 1, functions) } }

    var ids: [String] { calls.board.withLock { $0.entries.keys.sorted() } }

    var events: [String] {
      get async throws {
        try await soft.listAll(prefix: "").items.compactMap {
          try? JSONDecoder().decode(Event.self, from: Data($0.value)).message
        }
      }
    }

    func status(_ function: String = "default/f") -> ScheduleStatus? { overlay.entry(function)?.schedules.first }
  }

  private func function(
    _ name: String = "f", cron: String = "@every 10s", _ change: (inout ScheduleSpec) -> Void = { _ in }
  ) -> ScheduledFunction {
    var spec = ScheduleSpec(
      name: "tick", cron: cron,
      call: ScheduledCall(method: "PUT", path: "/run?a=b", contentType: "application/json", body: "{}"))
    change(&spec)
    return ScheduledFunction(namespace: "default", name: name, uid: "u-\(name)", serves: true, schedules: [spec])
  }

  @Test func `a run is a call with its schedule's name and time, and is shown in the status`() async throws {
    let stage = try Stage()
    let desk = try await Desk(stage, MemoryStore(boot: 0), [function()])
    await desk.schedules.tick()
    #expect(desk.ids.isEmpty && desk.status()?.nextScheduleTime != nil)
    stage.clock.advance(milliseconds: 10_000)
    await desk.schedules.tick()
    await desk.schedules.tick()
    let id = try #require(desk.ids.first)
    #expect(desk.ids.count == 1)
    let name = CallRecords.name("default", "f", id)
    let call = try #require(try await CallRecords.call(name, in: desk.calls.store))
    #expect(call.head.method == "PUT" && call.head.path == "/run?a=b" && call.body == Array("{}".utf8))
    #expect(call.head.headers.contains(CallHeader("x-apus-schedule", "tick")) && call.head.owner == nil)
    #expect(call.head.headers.contains(CallHeader("x-apus-scheduled-time", stage.clock.now.description)))
    #expect(call.head.headers.contains(CallHeader("content-type", "application/json")))
    let status = try #require(desk.status())
    #expect(status.lastScheduleTime == stage.clock.now && status.lastCall == id && status.runs == 1)
    #expect(status.nextScheduleTime == stage.clock.now.advanced(milliseconds: 10_000) && status.missed == 0)
    #expect(desk.calls.metricsText().contains("apus_schedule_runs_total{function=\"default/f\"} 1\n"))
  }

  @Test func `a restart doubles no run and forgets none, at whatever moment it comes`() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 9)
    var store = try stage.open()
    var times: [String: Int] = [:]
    var missed = 0
    let begin = stage.clock.now
    var desk = try await Desk(stage, store, [function(cron: "@every 1s")])
    await desk.schedules.tick()
    for _ in 0..<15 {
      for _ in 0..<Int.random(in: 0...5, using: &random) {
        stage.clock.advance(milliseconds: Int64.random(in: 100...1200, using: &random))
        await desk.schedules.tick()
      }
      for id in desk.ids { times[id, default: 0] = 1 }
      missed = desk.status()?.missed ?? missed
      // As kill -9 does; time passes without a server.
      await store.close()
      stage.clock.advance(milliseconds: Int64.random(in: 0...4000, using: &random))
      store = try stage.open()
      desk = try await Desk(stage, store, [function(cron: "@every 1s")])
      await desk.schedules.tick()
      for id in desk.ids { times[id, default: 0] = 1 }
      missed = desk.status()?.missed ?? missed
    }
    let seconds = stage.clock.now.milliseconds / 1000 - begin.milliseconds / 1000
    #expect(times.count == desk.status()?.runs, "every run is one call, and no two are the same")
    #expect(Int64(times.count + missed) == seconds, "each second was run or is counted as missed")
    await store.close()
  }

  @Test func `a run that is queued already is noted, not queued again`() async throws {
    let stage = try Stage()
    let store = MemoryStore(boot: 0)
    let desk = try await Desk(stage, store, [function()])
    await desk.schedules.tick()
    stage.clock.advance(milliseconds: 10_000)
    let key = ScheduleBoard.Key(namespace: "default", function: "f", uid: "u-f", name: "tick")
    try await desk.calls.enqueue(stage.call(ScheduleService.callID(key, stage.clock.now)))
    await desk.schedules.tick()
    #expect(desk.ids.count == 1 && desk.status()?.runs == 1)
    let kept = try await store.listAll(prefix: ScheduleService.prefix).items
    #expect(kept.count == 1 && String(decoding: kept[0].value, as: UTF8.self).contains(#""runs":1"#))
  }

  @Test func `missed runs are an event, a count and a metric`() async throws {
    let stage = try Stage()
    let store = try stage.open()
    let before = try await Desk(stage, store, [function()])
    await before.schedules.tick()
    await store.close()
    stage.clock.advance(milliseconds: 45_000)
    let again = try stage.open()
    let after = try await Desk(stage, again, [function()])
    await after.schedules.tick()
    #expect(after.status()?.missed == 3 && after.status()?.runs == 1)
    #expect(try await after.events == ["schedule \"tick\" missed 3 runs: no server ran at their time"])
    #expect(after.calls.metricsText().contains("apus_schedule_missed_total{function=\"default/f\"} 3\n"))
    await again.close()
  }

  @Test func `Forbid looks at the call itself`() async throws {
    let open = Mutex(true)
    let stage = try Stage { _, _ in
      while open.withLock({ $0 }), !Task.isCancelled { await Task.yield() }
      return .answered(CallAnswer(status: 200))
    }
    let desk = try await Desk(stage, MemoryStore(boot: 0), [function { $0.concurrencyPolicy = .forbid }])
    let running = Task { await desk.calls.run() }
    await desk.schedules.tick()
    for _ in 0..<3 {
      stage.clock.advance(milliseconds: 10_000)
      await desk.schedules.tick()
    }
    #expect(desk.ids.count == 1 && desk.status()?.skipped == 2 && desk.status()?.missed == 0)
    open.withLock { $0 = false }
    let first = try #require(desk.ids.first)
    #expect(await eventually { !desk.calls.isOpen(first) })
    stage.clock.advance(milliseconds: 10_000)
    await desk.schedules.tick()
    #expect(desk.ids.count == 2)
    #expect(try await desk.events.first?.contains("concurrencyPolicy Forbid") == true)
    running.cancel()
    await running.value
  }

  @Test func `a store that fails costs no run`() async throws {
    let stage = try Stage()
    let store = FailingStore(MemoryStore(boot: 0))
    let desk = try await Desk(stage, store, [function()])
    await desk.schedules.tick()
    stage.clock.advance(milliseconds: 10_000)
    store.fails.withLock { $0 = 1 }
    await desk.schedules.tick()
    #expect(desk.ids.isEmpty && desk.status()?.runs == 0)
    stage.clock.advance(milliseconds: 1000)
    await desk.schedules.tick()
    #expect(desk.ids.count == 1 && desk.status()?.runs == 1 && desk.status()?.missed == 0)
  }

  @Test func `schedules that go take what was kept of them along`() async throws {
    let stage = try Stage()
    let store = MemoryStore(boot: 0)
    let desk = try await Desk(stage, store, [function(), function("g")])
    await desk.schedules.tick()
    #expect(try await store.listAll(prefix: ScheduleService.prefix).items.count == 2)
    desk.set([function("g")])
    await desk.schedules.tick()
    let left = try await store.listAll(prefix: ScheduleService.prefix).items
    #expect(left.map(\.key) == ["schedules/default/g/u-g/tick"])
    #expect(desk.overlay.entry("default/f")?.schedules.isEmpty == true && desk.status("default/g") != nil)
  }

  @Test func `the control plane knows which functions have schedules, and shows them in the status`() async throws {
    let cluster = try await TestCluster()
    try await cluster.deploy("f", code: "one")
    _ = try await cluster.plane.resources.patch(
      .function, namespace: "default", name: "f", subresource: nil,
      patch: .object(["spec": .object(["schedule": .array([.object(["cron": .string("@hourly")])])])]))
    let orchestrator = cluster.plane.orchestrator
    #expect(await eventually { await orchestrator.schedules(since: 0)?.functions.count == 1 })
    let found = try #require(await orchestrator.schedules(since: -1))
    #expect(found.functions[0].schedules[0].name == "default" && !found.functions[0].serves)
    #expect(await orchestrator.schedules(since: found.version) == nil)
    var status = ScheduleStatus(name: "default")
    status.runs = 7
    cluster.plane.usage.overlay.update("default/f") { [status] in $0.schedules = [status] }
    #expect(try await cluster.function("f").status?.schedules == [status])
    _ = try await cluster.plane.resources.delete(.function, namespace: "default", name: "f", uid: nil)
    #expect(await eventually { await orchestrator.schedules(since: found.version)?.functions.isEmpty == true })
  }
}
