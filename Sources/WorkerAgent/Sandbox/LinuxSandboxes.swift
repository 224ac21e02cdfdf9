import ClusterModel
import Dispatch
import Glibc
import ImageStore
import Logging
import PodSandbox
import Synchronization

/// Pods in PodSandbox's namespaces and control groups, started by one spawner; a spawner that died is started anew.
actor LinuxSandboxes: SandboxEngine {
  /// Roots by what they hold; the same root serves every pod of its kind.
  private struct RootKey: Hashable {
    var kind: RootKind
    var runtime: Runtime
  }

  nonisolated let isolation: [String]
  nonisolated let makesStems = true
  nonisolated let egress: [Egress]
  private let imageLack: HostCapabilities.Lack?
  private let configuration: WorkerConfiguration
  private let roots: RootBuilder
  private let logger: Logger
  private let forwarder: PortForwarder
  private let ends = PodEnds()
  private var spawner: Task<Spawner, any Error>?
  private var preparing: Task<Void, Never>?
  private var prepared: [RootKey: Task<PreparedRoot, any Error>] = [:]
  private var zygotes = Zygotes()
  private var isClosed = false

  /// An engine for a worker; starts one thread (for connections into pods).
  init(configuration: WorkerConfiguration, logger: Logger) throws {
    self.configuration = configuration
    self.logger = logger
    roots = RootBuilder(folder: "\(configuration.dataDirectory)/roots", logger: logger)
    forwarder = try PortForwarder()
    let host = HostCapabilities.probe()
    isolation = host.findings.map { "\($0.subject): \($0.line)" }
    imageLack = host.imageLack
    let carries = host.egressLack == nil && configuration.egressProgram.map { access($0, X_OK) == 0 } ?? false
    egress = carries ? [.none, .cluster, .internet] : [.none, .cluster]
  }

  func open() async throws {
    let (instance, folder) = (configuration.instance, configuration.runDirectory)
    let found = await withCheckedContinuation { continuation in
      DispatchQueue.global().async {
        continuation.resume(returning: Leftovers.sweep(instance: instance, runDirectory: folder))
      }
    }
    if !found.isEmpty {
      logger.warning(
        "leftovers of an earlier worker removed",
        metadata: ["cgroups": "\(found.cgroups)", "sockets": "\(found.sockets)", "mounts": "\(found.mounts)"])
    }
    _ = try await launched().value
    // Ended by `close`; a pod that needs one of the roots waits for the same work.
    preparing = Task { await self.prepareRoots() }
  }

  /// Starts of one pod that may be lost to the death of a spawner or a zygote: nothing of the function's.
  private static let startsMaximum = 3

  func start(_ order: SandboxOrder) async throws -> any RunningPod {
    if let image = order.image { return try await startImage(order, image) }
    for _ in 1..<Self.startsMaximum {
      do { return try await startOnce(order) } catch SandboxError.spawnerGone {
        continue
      } catch SandboxError.failed(step: .zygote, _, _) { continue }
    }
    return try await startOnce(order)
  }

  private func startOnce(_ order: SandboxOrder) async throws -> any RunningPod {
    let root = try await root(for: order)
    var spec = Self.spec(order, root: root)
    let spawner = try await currentSpawner()
    // A fork of a zygote that serves is quicker than a new interpreter; nobody waits for one that does not yet.
    if case .fork? = order.kind?.warmth, let zygote = readyZygote(order.namespace, root) {
      spec.stem.origin = .zygote(zygote)
    }
    if order.egress != .none { return try await startWithEgress(order, spec, spawner) }
    let sandbox = try await forgettingDead(spawner) { try await spawner.start(spec) }
    return LinuxPod(
      sandbox: sandbox, spawner: spawner, forwarder: forwarder, ending: ends.follow(sandbox.ticket, of: spawner))
  }

  /// A pod that reaches something is made in two steps, so that its ways out are there before it is anything.
  private func startWithEgress(
    _ order: SandboxOrder, _ spec: SandboxSpec, _ spawner: Spawner, stopSignal: CInt = SIGTERM
  ) async throws -> any RunningPod {
    let stem = try await forgettingDead(spawner) { try await spawner.prepare(spec.stem) }
    let waiting = LinuxStem(
      stem: stem, spawner: spawner, forwarder: forwarder, ending: ends.follow(stem.sandbox.ticket, of: spawner),
      engine: self)
    return waiting.reach(order, spec.bind, stopSignal: stopSignal)
  }

  /// What gives a pod of `order` its ways out.
  fileprivate func egressMaker(_ order: SandboxOrder, _ spawner: Spawner) async throws -> EgressMaker {
    EgressMaker(
      spawner: spawner, forwarder: forwarder, ends: ends,
      plan: order.egress == .internet ? try await egressPlan() : nil, gateways: configuration.gatewaySockets,
      logger: logger)
  }

  private func egressPlan() async throws -> EgressProcess.Plan {
    guard let program = configuration.egressProgram else {
      throw SandboxError.invalidSpec("this worker has no apus-egress")
    }
    let file = RuntimeFile(source: program, destination: "/runtime/apus-egress")
    let root = try await roots.root(for: RootRequest(kind: .egress, runtimeFiles: [file]))
    return EgressProcess.Plan(
      root: root, folder: try Resolvers.copy(into: "\(configuration.dataDirectory)/egress"),
      network: configuration.egress)
  }

  private func startImage(_ order: SandboxOrder, _ image: HeldImage) async throws -> any RunningPod {
    if let imageLack { throw SandboxError.invalidSpec("this node runs no images: \(imageLack.what)") }
    let (spec, root) = try await ImagePod.spec(order, image)
    defer { Glibc.close(root) }
    let spawner = try await currentSpawner()
    if order.egress != .none {
      return try await startWithEgress(order, spec, spawner, stopSignal: ImagePod.stopSignal(image))
    }
    let sandbox = try await forgettingDead(spawner) { try await spawner.start(spec) }
    return LinuxPod(
      sandbox: sandbox, spawner: spawner, forwarder: forwarder, ending: ends.follow(sandbox.ticket, of: spawner),
      stopSignal: ImagePod.stopSignal(image))
  }

  func makeStem(_ kind: StemKind, at place: StemPlace) async throws -> (any WaitingPod)? {
    let root = try await root(RootKey(kind: kind.root.kind, runtime: kind.runtime))
    let spawner = try await currentSpawner()
    var spec = StemSpec(slot: place.slot, origin: .root(root.path), limits: Self.limits(of: kind))
    spec.quiet = true
    spec.stdout = place.stdout
    spec.stderr = place.stderr
    spec.listener = place.listener
    spec.frames = place.frames
    spec.control = place.control
    switch kind.warmth {
    case .sandbox: break
    case .interpreter:
      spec.warmArguments = [root.interpreter ?? "/usr/bin/node", "/runtime/runner.mjs"]
      spec.warmEnvironment = ["APUS_WARM": "1", "HOME": "/tmp", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"]
    case .fork(let namespace):
      guard let zygote = await zygote(namespace, root) else { return nil }
      spec.origin = .zygote(zygote)
    }
    let stem = try await forgettingDead(spawner) { try await spawner.prepare(spec) }
    return LinuxStem(
      stem: stem, spawner: spawner, forwarder: forwarder, ending: ends.follow(stem.sandbox.ticket, of: spawner),
      engine: self)
  }

  /// What a stem may use before it has a function: the platform's defaults, so that little is to be changed then.
  private static func limits(of kind: StemKind) -> SandboxLimits {
    var limits = SandboxLimits(tmpInodes: UInt64(Limits.tmpInodes))
    if case .interpreter(let memory) = kind.warmth { limits.memoryBytes = UInt64(clamping: memory) }
    return limits
  }

  /// The spawner that starts pods now; a dead one is replaced.
  private func currentSpawner() async throws -> Spawner {
    guard !isClosed else { throw SandboxError.spawnerGone("the worker is stopping") }
    let task = launched()
    do { return try await task.value } catch {
      if spawner == task { spawner = nil }
      throw error
    }
  }

  /// Notes that a spawner is gone, if it is: its pods are gone with it and report that themselves; the next start gets
  /// a new one.
  private func forgettingDead<Value: Sendable>(
    _ used: Spawner, _ body: () async throws -> Value
  ) async throws -> Value {
    do { return try await body() } catch SandboxError.spawnerGone(let why) {
      if let task = spawner, (try? await task.value) === used, spawner == task { spawner = nil }
      throw SandboxError.spawnerGone(why)
    }
  }

  // MARK: zygotes

  private func readyZygote(_ namespace: String, _ root: PreparedRoot) -> Zygote? {
    if let zygote = zygotes.ready(namespace) { return zygote }
    // Held in `zygotes`; a start after this one finds it.
    _ = launchedZygote(namespace, root)
    return nil
  }

  private func zygote(_ namespace: String, _ root: PreparedRoot) async -> Zygote? {
    if let zygote = zygotes.ready(namespace) { return zygote }
    return await launchedZygote(namespace, root)?.value
  }

  private func launchedZygote(_ namespace: String, _ root: PreparedRoot) -> Task<Zygote?, Never>? {
    let now = Moment.now().uptime
    let (logger, arguments) = (logger, Self.zygoteArguments(root, lean: configuration.leanZygotes))
    let launch = zygotes.launch(namespace, at: now) {
      // Awaited by the stems and starts of its namespace.
      Task { [weak self] in
        guard let self else { return nil }
        do {
          let spawner = try await self.currentSpawner()
          let zygote = try await spawner.launchZygote(
            root: root.path, arguments: arguments, environment: ["LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"])
          await self.serves(zygote, namespace, of: spawner)
          return zygote
        } catch SandboxError.spawnerGone {
          await self.zygoteFailed(namespace, at: nil)
          return nil
        } catch {
          await self.zygoteFailed(namespace, at: Moment.now().uptime)
          logger.warning(
            "a zygote did not start; pods start an interpreter each",
            metadata: ["namespace": "\(namespace)", "error": "\(error)"])
          return nil
        }
      }
    }
    return launch
  }

  private func serves(_ zygote: Zygote, _ namespace: String, of spawner: Spawner) {
    for old in zygotes.serves(zygote, namespace) { spawner.retire(old) }
  }

  private func zygoteFailed(_ namespace: String, at time: Int64?) { zygotes.failed(namespace, at: time) }

  private static func zygoteArguments(_ root: PreparedRoot, lean: Bool) -> [String] {
    [root.interpreter ?? "/usr/bin/python3", "-I", "-S", "/runtime/zygote.py"] + (lean ? ["lean"] : [])
  }

  func close() async {
    isClosed = true
    preparing?.cancel()
    await preparing?.value
    zygotes = Zygotes()
    if let spawner = try? await spawner?.value { await spawner.shutdown() }
    spawner = nil
    forwarder.stop()
    rmdir(configuration.runDirectory)
  }

  private func launched() -> Task<Spawner, any Error> {
    if let spawner { return spawner }
    let (configuration, logger, ends) = (configuration, logger, ends)
    // Awaited by every start.
    let task = Task {
      let spawner = try await Spawner.launch(
        executable: configuration.spawnerPath, instance: configuration.instance, logger: logger)
      ends.begin(spawner)
      // Ends with the spawner.
      Task { await ends.collect(spawner.exits, of: spawner) }
      return spawner
    }
    spawner = task
    return task
  }

  private func root(for order: SandboxOrder) async throws -> PreparedRoot {
    try await root(RootKey(kind: Self.kind(order), runtime: order.runtime))
  }

  private func root(_ key: RootKey) async throws -> PreparedRoot {
    if let known = prepared[key] { return try await known.value }
    let (roots, configuration) = (roots, configuration)
    // Awaited by every start of the kind.
    let task = Task {
      let files = await RunnerFiles.files(of: key.runtime, configuration)
      return try await roots.root(for: RootRequest(kind: key.kind, runtimeFiles: files))
    }
    prepared[key] = task
    do { return try await task.value } catch {
      prepared[key] = nil
      throw error
    }
  }

  /// Makes the roots of the interpreters ahead of the first pod; one that cannot be made says so when it is needed.
  private func prepareRoots() async {
    let kinds: [(RootKind, Runtime)] = [(.python, .python), (.node, .node), (.native, .binary)]
    for (kind, runtime) in kinds where !Task.isCancelled {
      do { _ = try await root(RootKey(kind: kind, runtime: runtime)) } catch {
        logger.info("no root for a runtime", metadata: ["runtime": "\(runtime.rawValue)", "error": "\(error)"])
      }
    }
  }

  /// The root of a runtime; a `binary` command that names an interpreter gets that one's.
  private static func kind(_ order: SandboxOrder) -> RootKind {
    switch order.runtime {
    case .python: .python
    case .node: .node
    case .swift: .native
    case .exec: .exec
    case .image: .native
    case .lambda: .lambda
    case .binary: StemKind.root(ofCommand: order.arguments.first).kind
    }
  }

  private static func spec(_ order: SandboxOrder, root: PreparedRoot) -> SandboxSpec {
    var bind = bind(order)
    if order.runtime == .python || order.runtime == .node, let interpreter = root.interpreter, !bind.arguments.isEmpty {
      bind.arguments[0] = interpreter
    }
    return SandboxSpec(stem: stem(order, .root(root.path), bind.limits), bind: bind)
  }

  /// What an order's pod is made of.
  static func stem(_ order: SandboxOrder, _ origin: StemSpec.Origin, _ limits: SandboxLimits) -> StemSpec {
    var stem = StemSpec(slot: order.slot, origin: origin, limits: limits)
    stem.stdout = order.stdout
    stem.stderr = order.stderr
    stem.listener = order.listener
    stem.frames = order.frames
    stem.control = order.control
    return stem
  }

  /// What an order's pod is.
  static func bind(_ order: SandboxOrder) -> BindSpec {
    var environment: [String: String] = [:]
    for variable in order.environment {
      guard let equals = variable.firstIndex(of: "=") else { continue }
      environment[String(variable[..<equals])] = String(variable[variable.index(after: equals)...])
    }
    let resources = order.resources
    let limits = SandboxLimits(
      memoryBytes: UInt64(clamping: resources.memory.value), cpuMillis: UInt32(clamping: resources.cpu.milli),
      pids: UInt32(clamping: resources.pids), tmpBytes: UInt64(clamping: resources.tmp.value),
      tmpInodes: UInt64(Limits.tmpInodes), openFiles: UInt32(clamping: resources.files))
    return BindSpec(
      hostname: order.hostname, codePath: order.image == nil ? order.code : nil, arguments: order.arguments,
      environment: environment,
      limits: limits,
      secrets: order.secrets.sorted { $0.key < $1.key }.map { SandboxSecret(path: $0.key, bytes: $0.value) })
  }
}

extension StemKind.StemRoot {
  fileprivate var kind: RootKind {
    switch self {
    case .python: .python
    case .node: .node
    case .native: .native
    case .exec: .exec
    case .lambda: .lambda
    }
  }
}

extension StemKind {
  /// The runtime whose files of ours stand in the root.
  fileprivate var runtime: Runtime {
    switch root {
    case .python: .python
    case .node: .node
    case .native: .binary
    case .exec: .exec
    case .lambda: .lambda
    }
  }
}

/// One pod of the spawner.
private struct LinuxPod: RunningPod {
  let sandbox: Sandbox
  let spawner: Spawner
  let forwarder: PortForwarder
  let ending: Task<PodExit, Never>
  var stopSignal = SIGTERM

  func marks() -> StartMarks {
    StartMarks(stood: Int64(clamping: sandbox.stoodNs), began: sandbox.ranNs.map { Int64(clamping: $0) })
  }

  func terminate() { spawner.signal(sandbox, stopSignal) }

  func kill() { spawner.signal(sandbox, SIGKILL) }

  func exit() async -> PodExit { await ending.value }

  func connect(port: UInt16) async throws -> CInt? {
    do throws(PortForwarder.Failure) {
      return try await forwarder.connect(to: sandbox, port: port)
    } catch {
      if error == .refused { return nil }
      throw error
    }
  }

  func firstConnection(port: UInt16, expected: UInt64?) async throws -> CInt {
    try await forwarder.firstConnection(to: sandbox, port: port, patience: PortPatience(expected: expected))
  }

  func memory() -> Int64? { sandbox.cgroup?.memoryBytes().map { Int64(clamping: $0) } }
}

/// One stem of the spawner.
private struct LinuxStem: WaitingPod {
  let stem: Stem
  let spawner: Spawner
  let forwarder: PortForwarder
  let ending: Task<PodExit, Never>
  let engine: LinuxSandboxes

  func become(_ order: SandboxOrder) throws -> any RunningPod {
    if order.egress != .none { return reach(order, LinuxSandboxes.bind(order)) }
    let sandbox = try spawner.bind(stem, LinuxSandboxes.bind(order))
    return LinuxPod(sandbox: sandbox, spawner: spawner, forwarder: forwarder, ending: ending)
  }

  /// The same for a pod that reaches something: it is told what it is once its ways out are there. Should that fail, its
  /// end says why.
  func reach(_ order: SandboxOrder, _ bind: BindSpec, stopSignal: CInt = SIGTERM) -> LinuxPod {
    let (stem, spawner, ending, engine) = (stem, spawner, ending, engine)
    // Ends with the pod.
    let reached = Task { () -> PodExit in
      do {
        let maker = try await engine.egressMaker(order, spawner)
        let egress = try await maker.open(order, for: stem.sandbox)
        do {
          maker.carry(egress, of: try spawner.bind(stem, bind))
        } catch {
          await egress.close()
          throw error
        }
        return await egress.follow(ending)
      } catch {
        stem.discard()
        var exit = await ending.value
        exit.startFailure = exit.startFailure ?? "\(error)"
        return exit
      }
    }
    return LinuxPod(
      sandbox: stem.sandbox, spawner: spawner, forwarder: forwarder, ending: reached, stopSignal: stopSignal)
  }

  func discard() { stem.discard() }

  func exit() async -> PodExit { await ending.value }
}
