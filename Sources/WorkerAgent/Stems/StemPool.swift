import ClusterModel
import Glibc
import Logging
import Synchronization

/// Stems by kind: taken in microseconds when a pod is wanted, made again a moment later, and never more than the plan
/// and the machine's memory allow. One task for each kind that lacks some; nothing runs when none does.
final class StemPool: Sendable {
  /// How long filling may give way to pods that start, milliseconds: longer than a burst takes, and one that never gets
  /// ready does not keep the pools empty.
  static let givingWayMaximum: Int64 = 600
  /// How long an interpreter may take until it waits, milliseconds.
  static let warmingMaximum: Int64 = 30_000

  private struct State {
    var plan: StemPlan
    var ready: [StemKind: [WaitingStem]] = [:]
    var filling: [StemKind: Task<Void, Never>] = [:]
    var closed = false
  }

  private let engine: any SandboxEngine
  private let controls: PipeLoop
  private let runFolder: String
  private let slots: PodTable
  private let logger: Logger
  private let state: Mutex<State>

  /// An empty pool whose stems take slots from `slots` and have their sockets in `runFolder`.
  init(
    engine: any SandboxEngine, controls: PipeLoop, runFolder: String, slots: PodTable, nodeMemory: Int64,
    logger: Logger
  ) {
    self.engine = engine
    self.controls = controls
    self.runFolder = runFolder
    self.slots = slots
    self.logger = logger
    state = Mutex(State(plan: StemPlan(nodeMemory: nodeMemory), closed: !engine.makesStems))
  }

  /// A stem for a pod that is started now, or nil when none waits; either way the pool learns of the pod.
  func take(_ kind: StemKind) -> WaitingStem? {
    state.withLock { state -> WaitingStem? in
      guard !state.closed else { return nil }
      state.plan.used(kind, at: Moment.now().uptime)
      startFilling(kind, &state)
      return state.ready[kind]?.popLast()
    }
  }

  /// Makes one stem of each of these ahead of the first pod.
  func expect(_ kinds: [StemKind]) {
    state.withLock { state in
      for kind in kinds { state.plan.expect(kind, at: Moment.now().uptime) }
    }
    adjust()
  }

  /// Follows the plan: fills what lacks, ends what is too much. It looks at the machine's memory: asked every few seconds,
  /// and not on the way of a pod that starts.
  func adjust() {
    let free = FreeMemory.thousandths()
    let surplus = state.withLock { state -> [WaitingStem] in
      guard !state.closed else { return [] }
      let targets = state.plan.targets(at: Moment.now().uptime, freeThousandths: free)
      var surplus: [WaitingStem] = []
      for (kind, stems) in state.ready {
        let excess = stems.count - targets[kind, default: 0]
        guard excess > 0 else { continue }
        surplus += stems.prefix(excess)
        state.ready[kind]?.removeFirst(excess)
      }
      for (kind, target) in targets where state.ready[kind, default: []].count < target {
        startFilling(kind, &state)
      }
      return surplus
    }
    for stem in surplus { end(stem) }
  }

  /// Stems that wait now, by the name of their kind.
  var waiting: [String: Int] {
    state.withLock { state in
      Dictionary(
        state.ready.lazy.filter { !$0.value.isEmpty }.map { ($0.key.name, $0.value.count) }, uniquingKeysWith: +)
    }
  }

  /// Ends every stem and makes no more.
  func close() async {
    let (stems, tasks) = state.withLock { state in
      state.closed = true
      defer { (state.ready, state.filling) = ([:], [:]) }
      return (state.ready.values.flatMap(\.self), Array(state.filling.values))
    }
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
    for stem in stems { end(stem) }
  }

  // MARK: filling

  private func startFilling(_ kind: StemKind, _ state: inout State) {
    guard state.filling[kind] == nil else { return }
    // Ends by itself when the kind is full; cancelled by `close`.
    state.filling[kind] = Task { await self.fill(kind) }
  }

  private func fill(_ kind: StemKind) async {
    var backoff = Backoff()
    // Let the pods that emptied the pool have the processor first.
    var gaveWay: Int64 = 0
    repeat {
      try? await NamedWait.stemRefill.wait()
      gaveWay += NamedWait.stemRefillMilliseconds
    } while gaveWay < Self.givingWayMaximum && slots.isStarting && !Task.isCancelled
    while !Task.isCancelled, lacks(kind) {
      do {
        // None can be made now: the next pod of the kind asks again.
        guard let stem = try await make(kind) else { return state.withLock { $0.filling[kind] = nil } }
        backoff.succeeded()
        keep(stem)
      } catch {
        logger.warning("making a stem failed", metadata: ["kind": "\(kind.name)", "error": "\(error)"])
        try? await NamedWait.stemRetry(milliseconds: max(100, backoff.failed())).wait()
      }
    }
  }

  /// Whether another one is to be made; who takes one after the answer "no" starts the filling anew.
  private func lacks(_ kind: StemKind) -> Bool {
    let free = FreeMemory.thousandths()
    return state.withLock { state in
      let target = state.plan.targets(at: Moment.now().uptime, freeThousandths: free)[kind, default: 0]
      let lacks = !state.closed && state.ready[kind, default: []].count < target
      if !lacks { state.filling[kind] = nil }
      return lacks
    }
  }

  private func make(_ kind: StemKind) async throws -> WaitingStem? {
    guard let slot = slots.takeSlot() else { return nil }
    let socket = SocketPath.new(in: runFolder, slot: slot)
    var stem: WaitingStem?
    defer {
      if stem == nil {
        unlink(socket)
        slots.giveSlot(slot)
      }
    }
    let listener = try Descriptors.listen(at: socket)
    do {
      stem = try await make(kind, slot: slot, socket: socket, listener: listener)
    } catch {
      Glibc.close(listener)
      throw error
    }
    if stem == nil { Glibc.close(listener) }
    return stem
  }

  private func make(_ kind: StemKind, slot: Int, socket: String, listener: CInt) async throws -> WaitingStem? {
    let pipes = try StartPipes(controls: controls, isPort: kind.servesPort)
    defer { pipes.closeOurCopies() }
    let place = StemPlace(
      slot: slot, stdout: pipes.stdout, stderr: pipes.stderr, listener: kind.servesPort ? -1 : listener,
      frames: pipes.frames, control: pipes.control)
    do {
      guard let pod = try await engine.makeStem(kind, at: place) else {
        pipes.closeReaders()
        return nil
      }
      let stem = WaitingStem(
        kind: kind, slot: slot, socket: socket, listener: listener, pipes: pipes, pod: pod)
      if kind.warmth != .sandbox { try await warm(stem) }
      return stem
    } catch {
      pipes.closeReaders()
      throw error
    }
  }

  /// Waits until its interpreter waits.
  private func warm(_ stem: WaitingStem) async throws {
    do {
      try await within(milliseconds: Self.warmingMaximum) {
        for await _ in stem.pipes.warm { return }
        throw WorkerError.failed("its interpreter ended before it waited")
      }
    } catch {
      stem.pod.discard()
      _ = await stem.pod.exit()
      throw error
    }
  }

  private func keep(_ stem: WaitingStem) {
    let kept = state.withLock { state in
      if !state.closed { state.ready[stem.kind, default: []].append(stem) }
      return !state.closed
    }
    guard kept else { return end(stem) }
    // Ends with the stem: one that dies in the pool is replaced.
    Task {
      _ = await stem.pod.exit()
      self.died(stem)
    }
  }

  private func died(_ stem: WaitingStem) {
    let wasHere = state.withLock { state in
      let before = state.ready[stem.kind, default: []].count
      state.ready[stem.kind]?.removeAll { $0 === stem }
      return state.ready[stem.kind, default: []].count < before
    }
    guard wasHere else { return }
    end(stem)
    adjust()
  }

  /// Ends a stem nobody took; its slot is free once its process is gone.
  private func end(_ stem: WaitingStem) {
    stem.discard()
    unlink(stem.socket)
    // Ends with the stem's process.
    Task {
      _ = await stem.pod.exit()
      self.slots.giveSlot(stem.slot)
    }
  }
}

/// How much memory the machine has free.
enum FreeMemory {
  /// MemAvailable of /proc/meminfo in thousandths of MemTotal; 1000 where it cannot be read.
  static func thousandths() -> Int {
    guard let bytes = Descriptors.contents(of: "/proc/meminfo") else { return 1000 }
    return thousandths(meminfo: String(decoding: bytes, as: UTF8.self))
  }

  /// The same from the file's text.
  static func thousandths(meminfo text: String) -> Int {
    var figures: [Substring: Int] = [:]
    for line in text.split(separator: "\n").prefix(8) {
      let words = line.split(whereSeparator: { $0 == ":" || $0 == " " })
      if words.count >= 2, let figure = Int(words[1]) { figures[words[0]] = figure }
    }
    guard let total = figures["MemTotal"], let free = figures["MemAvailable"], total > 0 else { return 1000 }
    return free * 1000 / total
  }
}
