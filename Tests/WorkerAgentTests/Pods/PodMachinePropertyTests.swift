import ClusterModel
import ClusterTestSupport
import Testing

@testable import WorkerAgent

/// A world in which a machine's actions come true, or not, in random order.
private struct World {
  var script: MachineScript
  var generator: SeededGenerator
  var preparing: Set<Int> = []
  var sandboxing: Set<Int> = []
  var alive: Int?
  var waking = false
  var probing = false
  var cleaning: Set<Int> = []
  var timers: [PodMachine.Event: Int] = [:]
  var lives: [PodLife] = [.placed]
  var finished = false
  var faults: [String] = []

  init(seed: UInt64) {
    generator = SeededGenerator(seed: seed)
    script = MachineScript(readiness: seed % 2 == 0, liveness: seed % 3 == 0, port: seed % 5 == 0)
  }

  mutating func give(_ event: PodMachine.Event, start: Int? = nil) {
    script.pass(Int64.random(in: 0...3000, using: &generator))
    for action in script.on(event, start: start) { obey(action) }
    let life = script.machine.detail.life
    if life != lives.last {
      if let last = lives.last, !last.canBecome(life) { faults.append("\(last) became \(life)") }
      lives.append(life)
    }
  }

  private mutating func obey(_ action: PodMachine.Action) {
    if finished { faults.append("\(action) after the end") }
    let start = script.machine.start
    switch action {
    case .prepare: preparing.insert(start)
    case .cancelPreparation: preparing = []
    case .startSandbox:
      if alive != nil || !sandboxing.isEmpty { faults.append("two processes at once") }
      sandboxing.insert(start)
    case .awaitWake: waking = true
    case .probeReadiness: probing = true
    case .terminate, .kill: if alive == nil { faults.append("\(action) without a process") }
    case .clean:
      if alive != nil || !sandboxing.isEmpty { faults.append("cleaning while a process lives") }
      cleaning.insert(start)
    case .armStartup: timers[.startupExpired] = start
    case .armGrace: timers[.graceExpired] = start
    case .armRestart: timers[.restartDue] = start
    case .disarm:
      timers[.startupExpired] = nil
      timers[.restartDue] = nil
      waking = false
      probing = false
    case .report:
      let detail = script.machine.detail
      if detail.life == .ready, detail.endpoint == nil { faults.append("ready without an endpoint") }
      if detail.life == .ready, alive == nil { faults.append("ready without a process") }
    case .finish:
      finished = true
      if alive != nil || !sandboxing.isEmpty || !cleaning.isEmpty { faults.append("finished with something left") }
    case .event, .listen, .watchLiveness: break
    }
  }

  /// One thing that can happen now, chosen at random; false when only time or an order can move the pod.
  mutating func step(orders: Bool) -> Bool {
    var choices: [() -> (PodMachine.Event, Int?)] = []
    if let start = preparing.first {
      choices.append { (.prepared, start) }
      choices.append { (.prepareFailed("no package"), start) }
    }
    if let start = sandboxing.first {
      choices.append { (.sandboxed, start) }
      choices.append { (.sandboxed, start) }
      choices.append { (.sandboxFailed("no room"), start) }
    }
    if let start = alive {
      choices.append { (.exited(PodExit(code: 1), lastLines: "x"), start) }
      choices.append { (.exited(PodExit(signal: 9, outOfMemory: true), lastLines: ""), start) }
      if waking { choices.append { (.awake, start) } }
      if probing { choices.append { (.probed, start) } }
      choices.append { (.livenessFailed("slow"), start) }
    }
    if let start = cleaning.first { choices.append { (.cleaned, start) } }
    for (event, start) in timers.sorted(by: { "\($0)" < "\($1)" }) { choices.append { (event, start) } }
    if orders {
      choices.append { (.drain, nil) }
      choices.append { (.stop(graceMilliseconds: 500), nil) }
      choices.append { (.awake, 0) }
    }
    guard let choice = choices.randomElement(using: &generator) else { return false }
    let (event, start) = choice()
    happened(event, start)
    give(event, start: start)
    return true
  }

  private mutating func happened(_ event: PodMachine.Event, _ start: Int?) {
    switch event {
    case .prepared, .prepareFailed: if let start { preparing.remove(start) }
    case .sandboxed:
      if let start { sandboxing.remove(start) }
      alive = start
    case .sandboxFailed: if let start { sandboxing.remove(start) }
    case .exited: alive = nil
    case .cleaned: if let start { cleaning.remove(start) }
    case .awake where start != 0: waking = false
    case .probed: probing = false
    case .startupExpired, .graceExpired, .restartDue: timers[event] = nil
    default: break
    }
  }
}

@Suite("Pod machine, whatever happens")
struct PodMachinePropertyTests {
  @Test func `one process at a time, legal steps, nothing left at the end, and every stop ends`() {
    let base = UInt64.random(in: 0...UInt64(UInt32.max))
    var gone = 0
    for seed in base..<base + 3000 {
      var world = World(seed: seed)
      world.give(.begin)
      for _ in 0..<80 where !world.finished {
        _ = world.step(orders: Int.random(in: 0..<10, using: &world.generator) == 0)
      }
      world.give(.stop(graceMilliseconds: 10))
      var steps = 0
      while !world.finished, steps < 200, world.step(orders: false) { steps += 1 }
      if !world.finished { world.faults.append("a stop did not end the pod: \(world.script.machine.phase)") }
      #expect(world.faults.isEmpty, "seed \(seed): \(world.faults.prefix(3))")
      if world.finished { gone += 1 }
      if !world.faults.isEmpty { return }
    }
    #expect(gone == 3000)
  }
}
