import ClusterModel
import Dispatch
import Glibc
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
  private let configuration: WorkerConfiguration
  private let roots: RootBuilder
  private let logger: Logger
  private let forwarder: PortForwarder
  private let ends = PodEnds()
  private var spawner: Task<Spawner, any Error>?
  private var preparing: Task<Void, Never>?
  private var prepared: [RootKey: Task<PreparedRoot, any Error>] = [:]

  /// An engine for a worker; starts one thread (for connections into pods).
  init(configuration: WorkerConfiguration, logger: Logger) throws {
    self.configuration = configuration
    self.logger = logger
    roots = RootBuilder(folder: "\(configuration.dataDirectory)/roots", logger: logger)
    forwarder = try PortForwarder()
    isolation = HostCapabilities.probe().findings.map { "\($0.subject): \($0.line)" }
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

  func start(_ order: SandboxOrder) async throws -> any RunningPod {
    let spec: SandboxSpec
    if let image = order.image {
      spec = try await ImagePod.spec(order, image)
    } else {
      spec = Self.spec(order, root: try await root(for: order))
    }
    defer { if spec.rootDescriptor >= 0 { Glibc.close(spec.rootDescriptor) } }
    let task = launched()
    let spawner: Spawner
    let sandbox: Sandbox
    do {
      spawner = try await task.value
      sandbox = try await spawner.start(spec)
    } catch SandboxError.spawnerGone(let why) {
      // Its pods are gone with it and report that themselves; the next start gets a new one.
      if self.spawner == task { self.spawner = nil }
      throw SandboxError.spawnerGone(why)
    } catch {
      if (try? await task.value) == nil, self.spawner == task { self.spawner = nil }
      throw error
    }
    return LinuxPod(
      sandbox: sandbox, spawner: spawner, forwarder: forwarder, exits: ends.follow(sandbox.ticket, of: spawner),
      stopSignal: ImagePod.stopSignal(order.image))
  }

  func close() async {
    preparing?.cancel()
    await preparing?.value
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
      // Ends with the spawner.
      Task { await ends.collect(from: spawner) }
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

  /// The root of a runtime; a `binary` or `exec` command that names an interpreter gets that one's.
  private static func kind(_ order: SandboxOrder) -> RootKind {
    switch order.runtime {
    case .python: return .python
    case .node: return .node
    case .swift: return .native
    case .exec: return .exec
    case .image: return .native
    case .binary:
      switch order.arguments.first?.split(separator: "/").last {
      case "python3": return .python
      case "node": return .node
      case "sh", "bash", "busybox", "env": return .exec
      default: return .native
      }
    }
  }

  private static func spec(_ order: SandboxOrder, root: PreparedRoot) -> SandboxSpec {
    var spec = spec(order, rootPath: root.path)
    spec.codePath = order.code
    if order.runtime == .python || order.runtime == .node, let interpreter = root.interpreter, !spec.arguments.isEmpty {
      spec.arguments[0] = interpreter
    }
    return spec
  }

  /// What every pod has, whatever its root.
  static func spec(_ order: SandboxOrder, rootPath: String) -> SandboxSpec {
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
    return SandboxSpec(
      slot: order.slot, hostname: order.hostname, rootPath: rootPath, arguments: order.arguments,
      environment: environment, limits: limits, stdout: order.stdout, stderr: order.stderr, listener: order.listener,
      frames: order.frames, control: order.control,
      secrets: order.secrets.sorted { $0.key < $1.key }.map { SandboxSecret(path: $0.key, bytes: $0.value) })
  }
}

/// Who waits for the end of which pod. An end may come before its start has returned.
private final class PodEnds: Sendable {
  private struct Key: Hashable {
    var spawner: ObjectIdentifier
    var ticket: UInt64
  }

  private struct State {
    var waiting: [Key: AsyncStream<PodExit>.Continuation] = [:]
    /// Ends nobody waited for yet; at most one for each start under way.
    var early: [Key: PodExit] = [:]
  }

  private let state = Mutex(State())

  /// Hands on the ends of a spawner's pods until it is gone.
  func collect(from spawner: Spawner) async {
    for await end in spawner.exits {
      let cause = end.reason.hasSuffix("spawner died") ? end.reason : nil
      let exit = PodExit(code: end.exitCode, signal: end.signal, outOfMemory: end.oomKilled, cause: cause)
      let key = Key(spawner: ObjectIdentifier(spawner), ticket: end.ticket)
      let waiting = state.withLock { state in
        let waiting = state.waiting.removeValue(forKey: key)
        if waiting == nil { state.early[key] = exit }
        return waiting
      }
      waiting?.yield(exit)
      waiting?.finish()
    }
    state.withLock { state in
      state.early = state.early.filter { $0.key.spawner != ObjectIdentifier(spawner) }
    }
  }

  /// The end of one pod, as a stream of one element.
  func follow(_ ticket: UInt64, of spawner: Spawner) -> AsyncStream<PodExit> {
    let (stream, continuation) = AsyncStream<PodExit>.makeStream()
    let key = Key(spawner: ObjectIdentifier(spawner), ticket: ticket)
    let early = state.withLock { state in
      let early = state.early.removeValue(forKey: key)
      if early == nil { state.waiting[key] = continuation }
      return early
    }
    if let early {
      continuation.yield(early)
      continuation.finish()
    }
    return stream
  }
}

/// One pod of the spawner.
private struct LinuxPod: RunningPod {
  let sandbox: Sandbox
  let spawner: Spawner
  let forwarder: PortForwarder
  let exits: AsyncStream<PodExit>
  let stopSignal: CInt

  func terminate() { spawner.signal(sandbox, stopSignal) }

  func kill() { spawner.signal(sandbox, SIGKILL) }

  func exit() async -> PodExit {
    for await exit in exits { return exit }
    return PodExit(cause: "its end was not seen: the spawner is gone")
  }

  func connect(port: UInt16) async throws -> CInt? {
    do throws(PortForwarder.Failure) {
      return try await forwarder.connect(to: sandbox, port: port)
    } catch {
      if error == .refused { return nil }
      throw error
    }
  }

  func memory() -> Int64? { sandbox.cgroup?.usage().memoryBytes.map { Int64(clamping: $0) } }
}
