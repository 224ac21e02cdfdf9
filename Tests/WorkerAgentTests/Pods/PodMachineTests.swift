import ClusterModel
import Testing

@testable import WorkerAgent

/// A machine and a clock that only moves when told.
struct MachineScript {
  var machine: PodMachine
  var now = Moment(wall: Timestamp(milliseconds: 1_700_000_000_000), uptime: 1_000_000_000)

  init(readiness: Bool = false, liveness: Bool = false, port: Bool = false) {
    machine = PodMachine(
      function: "greet", revision: "greet-00001",
      plan: PodMachine.Plan(
        startupMilliseconds: 10_000, graceMilliseconds: 5000, hasReadiness: readiness, hasLiveness: liveness,
        servesPort: port, memoryLimit: "128Mi",
        endpoint: PodEndpoint(socket: "/run/1.s", host: "h", worker: nil), wantedAt: now.wall), at: now)
  }

  mutating func pass(_ milliseconds: Int64) {
    now.wall = now.wall.advanced(milliseconds: milliseconds)
    now.uptime += milliseconds * 1_000_000
  }

  mutating func on(_ event: PodMachine.Event, start: Int? = nil) -> [PodMachine.Action] {
    machine.handle(event, start: start, at: now)
  }

  /// Runs the events of a start that works.
  mutating func becomeReady() {
    _ = on(.begin)
    _ = on(.prepared)
    _ = on(.sandboxed)
    _ = on(.awake)
  }
}

@Suite("Pod machine")
struct PodMachineTests {
  @Test func `a start goes from assigned to ready, with its times`() {
    var script = MachineScript()
    #expect(script.machine.detail.life == .placed)
    script.pass(3)
    #expect(script.on(.begin) == [.report, .prepare])
    script.pass(4)
    #expect(script.on(.prepared) == [.listen, .report, .armStartup(milliseconds: 10_000), .startSandbox])
    #expect(script.machine.detail.endpoint?.socket == "/run/1.s")
    script.pass(2)
    #expect(script.on(.sandboxed) == [.awaitWake])
    let sandboxed = script.now.uptime
    script.pass(5)
    script.machine.marked(StartMarks(stood: 1, began: sandboxed + 1_500_000))
    #expect(script.on(.awake) == [.disarm, .report])
    let detail = script.machine.detail
    #expect(detail.life == .ready)
    #expect(detail.everReady == true)
    #expect(detail.startup?.placed == 3)
    #expect(detail.startup?.prepared == 4)
    #expect(detail.startup?.sandboxed == 2)
    #expect(detail.startup?.started == 1.5)
    #expect(detail.startup?.ready == 3.5)
    #expect(detail.history.map(\.life) == [.placed, .starting, .ready])
  }

  @Test func `what the sandbox tells of a start divides its time and never adds to it`() {
    /// Marks in milliseconds since the start was prepared; what comes of them when 4 ms are waited for each event.
    let cases: [(stood: Int64?, began: Int64?, phases: [Double])] = [
      (nil, nil, [4, 4, 0]),  // the word that it runs was overtaken
      (-50, 5, [4, 1, 3]),  // made ahead
      (3, 6, [3, 3, 2]),  // made on the spot
      (3, 2, [3, 0, 5]),  // clocks of two processors that differ
      (9, 12, [4, 4, 0]),
    ]
    for given in cases {
      var script = MachineScript()
      _ = script.on(.begin)
      _ = script.on(.prepared)
      let begun = script.now.uptime
      script.machine.marked(
        StartMarks(
          stood: given.stood.map { begun + $0 * 1_000_000 }, began: given.began.map { begun + $0 * 1_000_000 }))
      for event in [PodMachine.Event.sandboxed, .awake] {
        script.pass(4)
        _ = script.on(event)
      }
      let startup = script.machine.detail.startup
      #expect([startup?.sandboxed, startup?.started, startup?.ready] == given.phases, "\(given)")
      #expect(startup?.total == 8)
    }
  }

  @Test(arguments: [false, true])
  func `requests may wait in the socket of a pod that starts, unless it is to be probed first`(port: Bool) {
    for readiness in [false, true] {
      var script = MachineScript(readiness: readiness, port: port)
      _ = script.on(.begin)
      #expect(script.on(.prepared) == [.listen, .report, .armStartup(milliseconds: 10_000), .startSandbox])
      #expect((script.machine.detail.endpoint == nil) == readiness)
      _ = script.on(.sandboxed)
      _ = script.on(.awake)
      _ = script.on(.probed)
      #expect(script.machine.detail.endpoint != nil)
    }
  }

  @Test func `readiness is probed after the control byte`() {
    var script = MachineScript(readiness: true, liveness: true)
    _ = script.on(.begin)
    _ = script.on(.prepared)
    _ = script.on(.sandboxed)
    #expect(script.on(.awake) == [.probeReadiness])
    #expect(script.machine.detail.life == .starting)
    #expect(script.on(.probed) == [.disarm, .report, .watchLiveness])
  }

  @Test func `a pod that ends before it was ready is gone as failed, with its last lines`() {
    var script = MachineScript()
    _ = script.on(.begin)
    _ = script.on(.prepared)
    _ = script.on(.sandboxed)
    let actions = script.on(.exited(PodExit(code: 3), lastLines: "no module named x"))
    let message = "exited with code 3 before it was ready; last lines written:\nno module named x"
    #expect(actions == [.event(reason: "StartFailed", message: message, warning: true), .disarm, .clean])
    #expect(script.on(.cleaned) == [.report, .finish])
    let detail = script.machine.detail
    #expect(detail.life == .gone)
    #expect(detail.failed == true)
    #expect(detail.reason == "StartFailed")
    #expect(detail.message == message)
    #expect(detail.exitCode == 3)
    #expect(detail.everReady == false)
  }

  @Test func `a pod that ran out of memory before it was ready is named so`() {
    var script = MachineScript()
    _ = script.on(.begin)
    _ = script.on(.prepared)
    _ = script.on(.sandboxed)
    let actions = script.on(.exited(PodExit(signal: 9, outOfMemory: true), lastLines: ""))
    let message = "memory limit 128Mi reached before it was ready"
    #expect(actions.first == .event(reason: "OOMKilled", message: message, warning: true))
  }

  @Test func `a crash of a ready pod starts it again at once, a second one later`() {
    var script = MachineScript()
    script.becomeReady()
    script.pass(100)
    let actions = script.on(.exited(PodExit(signal: 11), lastLines: "boom"))
    #expect(actions.first == .report)
    #expect(actions.suffix(2) == [.disarm, .clean])
    #expect(script.machine.detail.life == .starting)
    #expect(script.machine.detail.reason == "Crashed")
    #expect(script.machine.detail.restarts == 1)
    #expect(script.machine.detail.endpoint == nil)
    #expect(script.on(.cleaned) == [.report, .prepare])
    _ = script.on(.prepared)
    _ = script.on(.sandboxed)
    _ = script.on(.awake)
    #expect(script.machine.detail.life == .ready)
    _ = script.on(.exited(PodExit(code: 1), lastLines: ""))
    #expect(script.on(.cleaned) == [.armRestart(milliseconds: 100)])
    #expect(script.on(.restartDue) == [.report, .prepare])
    #expect(script.machine.detail.restarts == 2)
  }

  @Test func `a healthy run forgives earlier crashes`() {
    var script = MachineScript()
    script.becomeReady()
    for _ in 0..<4 {
      script.pass(RestartBackoff.healthyRun)
      _ = script.on(.exited(PodExit(code: 1), lastLines: ""))
      #expect(script.on(.cleaned) == [.report, .prepare])
      _ = script.on(.prepared)
      _ = script.on(.sandboxed)
      _ = script.on(.awake)
    }
  }

  @Test func `a memory limit reached while ready is OOMKilled`() {
    var script = MachineScript()
    script.becomeReady()
    let actions = script.on(.exited(PodExit(signal: 9, outOfMemory: true), lastLines: "x"))
    #expect(script.machine.detail.reason == "OOMKilled")
    #expect(script.machine.detail.message == "memory limit 128Mi reached; last lines written:\nx")
    let events = actions.compactMap { if case .event(let reason, _, _) = $0 { reason } else { nil } }
    #expect(events == ["OOMKilled"])
  }

  @Test func `the third crash in a row is a crash loop`() {
    var script = MachineScript()
    script.becomeReady()
    var reasons: [String] = []
    for _ in 0..<3 {
      let actions = script.on(.exited(PodExit(code: 1), lastLines: ""))
      reasons += actions.compactMap { if case .event(let reason, _, _) = $0 { reason } else { nil } }
      if script.on(.cleaned).contains(where: { if case .armRestart = $0 { true } else { false } }) {
        _ = script.on(.restartDue)
      }
      _ = script.on(.prepared)
      _ = script.on(.sandboxed)
      _ = script.on(.awake)
    }
    #expect(reasons == ["Crashed", "Crashed", "Crashed", "CrashLoop"])
  }

  @Test func `restarts that fail to start end the pod after three`() {
    var script = MachineScript()
    script.becomeReady()
    _ = script.on(.exited(PodExit(code: 1), lastLines: ""))
    _ = script.on(.cleaned)
    for attempt in 1...PodMachine.failedRestartsMaximum {
      #expect(script.machine.phase != .gone, "attempt \(attempt)")
      _ = script.on(.prepared)
      _ = script.on(.sandboxed)
      _ = script.on(.exited(PodExit(code: 1), lastLines: ""))
      _ = script.on(.cleaned)
      _ = script.on(.restartDue)
    }
    #expect(script.machine.phase == .gone)
    #expect(script.machine.detail.reason == "StartFailed")
    #expect(script.machine.detail.failed == true)
  }

  @Test func `a pod that is not ready in time is killed and failed`() {
    var script = MachineScript()
    _ = script.on(.begin)
    _ = script.on(.prepared)
    _ = script.on(.sandboxed)
    #expect(script.on(.startupExpired) == [.disarm, .kill])
    let actions = script.on(.exited(PodExit(signal: 9), lastLines: "thinking"))
    #expect(actions.suffix(2) == [.disarm, .clean])
    _ = script.on(.cleaned)
    #expect(script.machine.detail.message == "it was not ready within 10s; last lines written:\nthinking")
    #expect(script.machine.detail.failed == true)
  }

  @Test func `a stop sends SIGTERM, then SIGKILL after the grace, then cleans up`() {
    var script = MachineScript()
    script.becomeReady()
    #expect(script.on(.stop(graceMilliseconds: 700)) == [.report, .disarm, .terminate, .armGrace(milliseconds: 700)])
    #expect(script.machine.detail.life == .draining)
    #expect(script.on(.graceExpired) == [.kill])
    #expect(script.on(.exited(PodExit(signal: 9), lastLines: "")) == [.disarm, .clean])
    #expect(script.on(.cleaned) == [.report, .finish])
    #expect(script.machine.detail.failed == false)
    #expect(script.machine.detail.reason == "Stopped")
  }

  @Test func `a draining pod takes its stop and is not started again when it ends by itself`() {
    var script = MachineScript()
    script.becomeReady()
    #expect(script.on(.drain) == [.report])
    #expect(script.on(.drain).isEmpty)
    _ = script.on(.exited(PodExit(code: 0), lastLines: ""))
    #expect(script.on(.cleaned) == [.report, .finish])
    #expect(script.machine.detail.failed == false)
  }

  @Test func `a stop while the sandbox starts waits for it and kills it`() {
    var script = MachineScript()
    _ = script.on(.begin)
    _ = script.on(.prepared)
    #expect(script.on(.stop(graceMilliseconds: 1000)).isEmpty)
    #expect(script.on(.sandboxed) == [.disarm, .kill])
    _ = script.on(.exited(PodExit(signal: 9), lastLines: ""))
    #expect(script.on(.cleaned) == [.report, .finish])
    #expect(script.machine.detail.failed == false)
  }

  @Test func `a stop in the back-off ends the pod at once`() {
    var script = MachineScript()
    script.becomeReady()
    for _ in 0..<2 {
      _ = script.on(.exited(PodExit(code: 1), lastLines: ""))
      if script.on(.cleaned) == [.armRestart(milliseconds: 100)] { break }
      _ = script.on(.prepared)
      _ = script.on(.sandboxed)
      _ = script.on(.awake)
    }
    #expect(script.machine.phase == .waiting)
    #expect(script.on(.stop(graceMilliseconds: 0)) == [.disarm, .report, .finish])
  }

  @Test func `a failed liveness probe leaves routing first, then restarts`() {
    var script = MachineScript(liveness: true)
    script.becomeReady()
    let actions = script.on(.livenessFailed("no answer within 1s"))
    #expect(actions.first == .report)
    #expect(actions.suffix(3) == [.disarm, .terminate, .armGrace(milliseconds: 5000)])
    #expect(script.machine.detail.life == .starting)
    #expect(script.machine.detail.reason == "Unhealthy")
    _ = script.on(.exited(PodExit(signal: 15), lastLines: ""))
    #expect(script.on(.cleaned) == [.report, .prepare])
  }

  @Test func `late events of an earlier start are ignored`() {
    var script = MachineScript()
    script.becomeReady()
    _ = script.on(.exited(PodExit(code: 1), lastLines: ""), start: 1)
    _ = script.on(.cleaned, start: 1)
    _ = script.on(.prepared, start: 2)
    _ = script.on(.sandboxed, start: 2)
    #expect(script.on(.exited(PodExit(code: 1), lastLines: ""), start: 1).isEmpty)
    #expect(script.on(.awake, start: 1).isEmpty)
    #expect(script.machine.phase == .waking)
  }
}
