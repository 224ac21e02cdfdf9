import ClusterAPI
import ClusterModel
import Glibc
import ImageStore
import Logging
import Synchronization

/// Drives one pod: gives events to its `PodMachine` and does what it answers. Every task it starts is held in `tasks`
/// and cancelled when its part of the pod's life is over.
actor PodRunner {
  /// How long a dead pod's pipes may take to end, milliseconds.
  static let outputDrain: Int64 = 500
  /// How long code, root and secrets may take to be at hand, milliseconds.
  static let preparationMaximum: Int64 = 120_000

  private enum Role: Hashable { case prepare, sandbox, wake, readiness, liveness, startup, grace, restart, clean, exit }

  nonisolated let uid: String
  nonisolated let slot: Int
  private let assignment: PodAssignment
  private let services: PodServices
  private let output: PodOutput
  private var machine: PodMachine
  private var tasks: [Role: Task<Void, Never>] = [:]
  private var code: String?
  /// The image in place of `code`, for a pod that is made from one.
  private var image: HeldImage?
  private var secretFiles: [String: [UInt8]] = [:]
  private var listener: Result<CInt, WorkerError>?
  private var stem: WaitingStem?
  /// A stem that could not become the pod and has not ended yet.
  private var unusable: WaitingStem?
  private var running: (any RunningPod)?
  private var bridge: PortBridge?

  /// A pod that was assigned to a slot of this node, with the stem that has the slot if there is one.
  init(_ assignment: PodAssignment, slot: Int, stem: WaitingStem? = nil, services: PodServices) {
    self.assignment = assignment
    self.slot = slot
    self.stem = stem
    self.services = services
    uid = assignment.uid
    let spec = assignment.spec.template
    output = PodOutput(
      maker: RecordMaker(
        namespace: assignment.namespace, function: assignment.spec.function, revision: assignment.revision,
        pod: assignment.name, node: services.node, callInLine: spec.runtime.servesPort),
      journal: services.journal, loop: services.outputs)
    machine = PodMachine(
      function: assignment.spec.function, revision: assignment.revision,
      plan: PodMachine.Plan(
        startupMilliseconds: spec.probes.startup.milliseconds, graceMilliseconds: spec.grace.milliseconds,
        hasReadiness: spec.probes.readiness != nil, hasLiveness: spec.probes.liveness != nil,
        servesPort: spec.runtime.servesPort, memoryLimit: spec.resources.memory.description,
        endpoint: PodEndpoint(
          socket: stem?.socket ?? services.newSocketPath(slot: slot), host: services.host, worker: services.address),
        wantedAt: assignment.wantedAt), at: .now())
  }

  /// Starts the pod.
  func begin() { apply(.begin) }

  /// Takes no new work.
  func drain() { apply(.drain) }

  /// Ends the pod: SIGTERM, and SIGKILL after the grace.
  func stop(graceMilliseconds: Int64) { apply(.stop(graceMilliseconds: graceMilliseconds)) }

  /// Notes how much memory the pod uses and reports it when that changed by more than a MiB.
  func sampleMemory() {
    guard machine.phase == .ready, let memory = running?.memory() else { return }
    let before = machine.detail.memory ?? 0
    guard abs(memory - before) > 1 << 20 else { return }
    machine.sampled(memory: memory)
    report()
  }

  private func apply(_ event: PodMachine.Event, start: Int? = nil) {
    for action in machine.handle(event, start: start, at: .now()) { perform(action) }
  }

  private func perform(_ action: PodMachine.Action) {
    switch action {
    case .report: report()
    case .event(let reason, let message, let warning): event(reason, message, warning)
    case .prepare: if !prepareAtOnce() { run(.prepare) { await $0.prepare($1) } }
    case .cancelPreparation: cancel(.prepare)
    case .listen: listen()
    case .startSandbox: if !becomeStem() { run(.sandbox) { await $0.startSandbox($1) } }
    case .awaitWake: awaitWake()
    case .probeReadiness: run(.readiness) { await $0.probeReadiness($1) }
    case .watchLiveness: run(.liveness) { await $0.watchLiveness($1) }
    case .terminate: running?.terminate()
    case .kill: running?.kill()
    case .clean: clean()
    case .armStartup(let milliseconds): arm(.startup, milliseconds, .startupExpired)
    case .armGrace(let milliseconds): arm(.grace, milliseconds, .graceExpired)
    case .armRestart(let milliseconds): arm(.restart, milliseconds, .restartDue)
    case .disarm: for role in [Role.startup, .restart, .readiness, .liveness, .wake] { cancel(role) }
    case .finish: finish()
    }
  }

  // MARK: tasks

  private func run(_ role: Role, _ body: @escaping @Sendable (PodRunner, _ start: Int) async -> Void) {
    let start = machine.start
    tasks[role]?.cancel()
    // Held in `tasks`, ended by `cancel` or by itself.
    tasks[role] = Task { await body(self, start) }
  }

  private func arm(_ role: Role, _ milliseconds: Int64, _ event: PodMachine.Event) {
    run(role) { runner, start in
      do { try await NamedWait.deadline(milliseconds: milliseconds).wait() } catch { return }
      await runner.apply(event, start: start)
    }
  }

  private func cancel(_ role: Role) { tasks.removeValue(forKey: role)?.cancel() }

  // MARK: preparing

  /// Prepares a pod that needs nothing but a package that is here: no task, no turn at another actor, on the way of a
  /// cold start.
  private func prepareAtOnce() -> Bool {
    let spec = assignment.spec.template
    guard spec.runtime != .image, code == nil, (spec.secrets ?? []).isEmpty, let source = spec.source,
      let folder = services.packages.folderHere(digest: source.digest)
    else { return false }
    code = folder
    apply(.prepared, start: machine.start)
    return true
  }

  private func prepare(_ start: Int) async {
    do {
      let assignment = assignment
      let services = services
      if assignment.spec.template.runtime == .image { return try await prepareImage(start) }
      let (folder, files) = try await Self.gathered(assignment, services)
      let digest = assignment.spec.template.source?.digest ?? ""
      guard machine.phase == .preparing, machine.start == start else {
        return await services.packages.release(digest: digest)
      }
      if code != nil { await services.packages.release(digest: digest) }
      code = folder
      secretFiles = files
      apply(.prepared, start: start)
    } catch is DeadlinePassed {
      apply(.prepareFailed("its code was not at hand within \(Self.preparationMaximum / 1000)s"), start: start)
    } catch is CancellationError {
    } catch {
      apply(.prepareFailed("preparing its code: \(error)"), start: start)
    }
  }

  /// What a pod is made of within its time. What came too late, or for one that was stopped meanwhile, is given back.
  private static func gathered(
    _ assignment: PodAssignment, _ services: PodServices
  ) async throws -> (String, [String: [UInt8]]) {
    let cameLate = Mutex(false)
    do {
      return try await within(milliseconds: preparationMaximum) {
        let all = try await gather(assignment, services)
        cameLate.withLock { $0 = true }
        return all
      }
    } catch {
      // By now both have ended: the race, and what lost it.
      if cameLate.withLock({ $0 }), let digest = assignment.spec.template.source?.digest {
        await services.packages.release(digest: digest)
      }
      throw error
    }
  }

  private static func gather(
    _ assignment: PodAssignment, _ services: PodServices
  ) async throws -> (String, [String: [UInt8]]) {
    let spec = assignment.spec.template
    guard let source = spec.source else {
      throw WorkerError.failed("the revision \(assignment.revision) has no package")
    }
    let folder = try await services.packages.folder(namespace: assignment.namespace, digest: source.digest)
    do {
      return (folder, try await Self.secrets(assignment, services).files)
    } catch {
      await services.packages.release(digest: source.digest)
      throw error
    }
  }

  /// The secrets of a pod as files, and the credential for its image's registry.
  private static func secrets(
    _ assignment: PodAssignment, _ services: PodServices
  ) async throws -> (files: [String: [UInt8]], registry: RegistryCredential?) {
    let spec = assignment.spec.template
    let names = spec.secrets ?? []
    guard !names.isEmpty || spec.imageSecret != nil else { return ([:], nil) }
    let secrets = try await services.secrets.secrets(ofPod: assignment.uid, node: services.node)
    if let missing = (names + (spec.imageSecret.map { [$0] } ?? [])).first(where: { secrets[$0] == nil }) {
      throw WorkerError.failed("there is no secret \(missing) in namespace \(assignment.namespace)")
    }
    var credential: RegistryCredential?
    if let name = spec.imageSecret {
      guard let user = secrets[name]?["username"], let password = secrets[name]?["password"] else {
        throw WorkerError.failed("the secret \(name) of spec.imageSecret needs the keys username and password")
      }
      credential = RegistryCredential(
        user: String(decoding: user, as: UTF8.self), password: String(decoding: password, as: UTF8.self))
    }
    return (SecretFiles.files(of: secrets.filter { names.contains($0.key) }), credential)
  }

  /// What `prepare` does for a pod that is made from an image.
  private func prepareImage(_ start: Int) async throws {
    let (assignment, services) = (assignment, services)
    let (held, files) = try await within(milliseconds: Self.preparationMaximum) {
      let (files, credential) = try await Self.secrets(assignment, services)
      let reference = assignment.spec.template.image ?? ""
      return (try await services.images.image(reference, credential: credential), files)
    }
    guard machine.phase == .preparing, machine.start == start else {
      return await services.images.release(image: held.image.digest)
    }
    if let image { await services.images.release(image: image.image.digest) }
    image = held
    secretFiles = files
    apply(.prepared, start: start)
  }

  // MARK: starting

  private func listen() {
    if let stem {
      listener = .success(stem.listener)
      return
    }
    let path = machine.plan.endpoint.socket
    do throws(WorkerError) {
      listener = .success(try Descriptors.listen(at: path))
    } catch {
      listener = .failure(error)
    }
  }

  private func startSandbox(_ start: Int) async {
    do {
      if let unusable {
        self.unusable = nil
        unusable.pod.discard()
        _ = await unusable.pod.exit()
        await output.drained(within: Self.outputDrain)
      }
      sandboxed(try await startFromNothing(), start)
    } catch {
      apply(.sandboxFailed("\(error)"), start: start)
    }
  }

  private func sandboxed(_ running: any RunningPod, _ start: Int) {
    self.running = running
    machine.marked(running.marks())
    apply(.sandboxed, start: start)
    run(.exit) { runner, start in
      let exit = await running.exit()
      await runner.ended(exit, start: start)
    }
  }

  /// Makes the stem that waits for it the pod; false when there is none, or when it ended meanwhile.
  private func becomeStem() -> Bool {
    guard let stem else { return false }
    self.stem = nil
    stem.pipes.attach(to: output)
    wake = stem.pipes.wake
    do {
      sandboxed(try stem.pod.become(order(stem.pipes, -1)), machine.start)
      return true
    } catch {
      services.logger.info(
        "a stem could not be used", metadata: ["pod.id": "\(uid)", "kind": "\(stem.kind.name)", "error": "\(error)"])
      unusable = stem
      return false
    }
  }

  private func startFromNothing() async throws -> any RunningPod {
    let pipes = try StartPipes(controls: services.controls, isPort: machine.plan.servesPort)
    pipes.attach(to: output)
    wake = pipes.wake
    defer { pipes.closeOurCopies() }
    return try await services.engine.start(order(pipes, try socket()))
  }

  private var wake: AsyncStream<Int64?>?

  private func socket() throws(WorkerError) -> CInt { try listener?.get() ?? -1 }

  private func order(_ pipes: StartPipes, _ socket: CInt) -> SandboxOrder {
    let spec = assignment.spec.template
    let command = PodCommand(assignment, node: services.node, image: image?.image.config)
    let isPort = machine.plan.servesPort
    var order = SandboxOrder(
      slot: slot, namespace: assignment.namespace, hostname: String(assignment.name.prefix(63)), runtime: spec.runtime,
      kind: StemKind(spec, namespace: assignment.namespace), code: code ?? "",
      arguments: command.arguments, environment: command.environment, resources: spec.resources, secrets: secretFiles,
      stdout: pipes.stdout, stderr: pipes.stderr, listener: isPort ? -1 : socket, frames: pipes.frames,
      control: pipes.control, image: image, rootWritable: spec.rootWritable ?? false)
    if let egress = spec.egress { order.allow(egress, to: assignment) }
    return order
  }

  private func awaitWake() {
    if machine.plan.servesPort {
      run(.wake) { await $0.awaitPort($1) }
    } else if let wake {
      run(.wake) { runner, start in
        for await began in wake {
          await runner.awake(start, began: began)
          return
        }
      }
    }
  }

  private func awake(_ start: Int, began: Int64? = nil) {
    if machine.start == start, var marks = running?.marks() {
      // What the pod says itself cannot come later than this.
      marks.began = began ?? marks.began
      machine.marked(marks)
    }
    apply(.awake, start: start)
  }

  /// Nothing tells when a `$PORT` process listens: it is asked until it does.
  private func awaitPort(_ start: Int) async {
    guard let running, let fd = try? socket(), fd >= 0 else { return }
    let begun = Moment.now().uptime
    let revision = "\(assignment.namespace)/\(assignment.revision)/\(assignment.spec.template.source?.digest ?? "")"
    do {
      // Ready to accept before there is anything to forward to: less to do once there is.
      let bridge = try await PortBridge(
        listener: fcntl(fd, F_DUPFD_CLOEXEC, 0), pod: running, port: PodCommand.podPort, group: services.group)
      // The pod may have ended meanwhile: then nobody else knows of the bridge.
      guard !Task.isCancelled, machine.start == start else { return await bridge.close() }
      self.bridge = bridge
      let first = try await running.firstConnection(
        port: PodCommand.podPort, expected: services.portTimes.expected(revision))
      bridge.open(with: first)
      awake(start)
      services.portTimes.took(UInt64(Moment.now().uptime - begun), revision)
    } catch  where Task.isCancelled {
    } catch {
      services.logger.error(
        "forwarding to a pod failed to start", metadata: ["pod.id": "\(uid)", "error": "\(error)"])
      running.kill()
    }
  }

  // MARK: probing

  private func probeReadiness(_ start: Int) async {
    guard let probe = assignment.spec.template.probes.readiness else { return }
    do {
      while await ProbeClient.check(probe, socket: machine.plan.endpoint.socket, services.group) != nil {
        try await NamedWait.probePeriod(milliseconds: probe.period.milliseconds).wait()
      }
      apply(.probed, start: start)
    } catch {}
  }

  private func watchLiveness(_ start: Int) async {
    guard let probe = assignment.spec.template.probes.liveness else { return }
    var patient = probe
    // Our runners take the check like a call: it may stand behind one that lasts as long as a call may.
    let template = assignment.spec.template
    if !template.runtime.servesPort {
      patient.timeout = TimeSpan(milliseconds: probe.timeout.milliseconds + template.timeout.milliseconds)
    }
    var failures = 0
    do {
      while true {
        try await NamedWait.probePeriod(milliseconds: probe.period.milliseconds).wait()
        let failure = await ProbeClient.check(patient, socket: machine.plan.endpoint.socket, services.group)
        try Task.checkCancellation()
        failures = failure == nil ? 0 : failures + 1
        if let failure, failures >= max(1, probe.failures) {
          return apply(
            .livenessFailed("liveness probe GET \(probe.path) failed \(failures) times: \(failure)"), start: start)
        }
      }
    } catch {}
  }

  // MARK: ends

  private func ended(_ exit: PodExit, start: Int) async {
    await output.drained(within: Self.outputDrain)
    apply(.exited(exit, lastLines: output.lastLines), start: start)
  }

  private func clean() {
    for role in [Role.grace, .prepare, .wake, .readiness, .liveness, .startup] { cancel(role) }
    let bridge = self.bridge
    self.bridge = nil
    running = nil
    wake = nil
    if let stem {
      // Nothing of it was used: the pod ended before it began.
      stem.discard()
      self.stem = nil
    } else if case .success(let fd)? = listener {
      close(fd)
    }
    listener = nil
    unlink(machine.plan.endpoint.socket)
    run(.clean) { runner, start in
      await bridge?.close()
      await runner.cleaned(start)
    }
  }

  private func cleaned(_ start: Int) async {
    await output.drained(within: Self.outputDrain)
    apply(.cleaned, start: start)
  }

  private func finish() {
    for role in Array(tasks.keys) { cancel(role) }
    output.finish()
    let digest = code == nil ? nil : assignment.spec.template.source?.digest
    let image = image?.image.digest
    code = nil
    self.image = nil
    secretFiles = [:]
    let services = services
    let (uid, slot) = (uid, slot)
    // Ends by itself: gives back the package or image, then the slot.
    Task {
      if let digest { await services.packages.release(digest: digest) }
      if let image { await services.images.release(image: image) }
      services.finished(uid, slot)
    }
  }

  // MARK: telling

  private func report() {
    services.report(
      PodReport(uid: uid, name: assignment.name, namespace: assignment.namespace, detail: machine.detail))
  }

  private func event(_ reason: String, _ message: String, _ warning: Bool) {
    let object = ObjectReference(.pod, namespace: assignment.namespace, name: assignment.name, uid: uid)
    services.event(ReportedEvent(object: object, reason: reason, message: message, warning: warning))
    services.logger.info(
      "pod event",
      metadata: [
        "pod.id": "\(uid)", "pod.name": "\(assignment.name)", "function.name": "\(assignment.spec.function)",
        "reason": "\(reason)",
      ])
  }
}
