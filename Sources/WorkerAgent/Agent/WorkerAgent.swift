package import ClusterAPI
import ClusterModel
import Glibc
import ImageStore
package import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// A node's worker: runs the pods the control plane places here, ships what they write, and reports.
package final class WorkerAgent: Service {
  /// Memory is sampled every this many heartbeats (5 s).
  static let memoryEvery: UInt64 = 10
  /// How long a stopping worker waits for its goodbye and its log spool, milliseconds each.
  static let farewellMaximum: Int64 = 2000

  private let configuration: WorkerConfiguration
  private let sessions: any NodeSessions
  private let secrets: any PodSecrets
  private let logs: any LogSink
  private let tls: Mutex<EntryTLS?>
  private let logger: Logger
  private let engine: any SandboxEngine
  private let packages: any PackageSource
  private let images: any ImageSource
  private let entryPort = Mutex<Int?>(nil)
  private let early = Mutex<[ReportedEvent]>([])

  /// A worker over any engine and package source, which tests simulate.
  init(
    configuration: WorkerConfiguration, sessions: any NodeSessions, secrets: any PodSecrets, logs: any LogSink,
    tls: EntryTLS?, logger: Logger, engine: any SandboxEngine, packages: any PackageSource,
    images: any ImageSource = NoImages()
  ) {
    self.configuration = configuration
    self.sessions = sessions
    self.secrets = secrets
    self.logs = logs
    self.tls = Mutex(tls)
    self.logger = logger
    self.engine = engine
    self.packages = packages
    self.images = images
  }

  /// The port under which other machines enter, once it listens.
  package var listeningPort: Int? { entryPort.withLock { $0 } }

  /// Notes an event that is told once the worker has a session; before `run`.
  package func tell(_ event: ReportedEvent) { early.withLock { $0.append(event) } }

  /// Takes a renewed certificate for connections that are accepted from now on.
  package func use(tls: EntryTLS) { self.tls.withLock { $0 = tls } }

  /// Runs until the service group shuts down gracefully (pods are drained and stopped, the server is told) or the task
  /// is cancelled (pods are killed). Throws when the node cannot run pods at all.
  package func run() async throws {
    try Descriptors.makeFolder(configuration.dataDirectory)
    let spool = try Spool(directory: "\(configuration.dataDirectory)/spool", limits: configuration.spool)
    for text in spool.damage { logger.error("log spool damage", metadata: ["damage": "\(text)"]) }
    let journal = LogJournal(spool: spool, masks: configuration.logMasks)
    let outputs = try PipeLoop(name: "apus.worker.output") { journal.tellDrops() }
    defer { outputs.stop() }
    let controls = try PipeLoop(name: "apus.worker.control")
    defer { controls.stop() }
    try await engine.open()
    try prepareRunFolder()
    let node = Node(journal: journal, outputs: outputs, controls: controls, spool: spool)
    for event in early.withLock({ $0 }) { node.outbox.put(event) }
    do {
      try await run(node)
    } catch {
      await engine.close()
      throw error
    }
    await engine.close()
  }

  /// What exists while the worker runs.
  private struct Node: Sendable {
    let journal: LogJournal
    let outputs: PipeLoop
    let controls: PipeLoop
    let spool: Spool
    let outbox = Outbox()
    let group = MultiThreadedEventLoopGroup.singleton
  }

  private func prepareRunFolder() throws {
    try Descriptors.makeFolder(configuration.runDirectory, mode: 0o700)
    // What a crash left: sockets that nobody listens on.
    for name in Descriptors.names(in: configuration.runDirectory) where name.hasSuffix(".s") {
      unlink("\(configuration.runDirectory)/\(name)")
    }
  }

  /// Something of the worker that came to its end.
  private enum Part { case pods, session, shipper, samples, deadline, cancelled }

  private func run(_ node: Node) async throws {
    let table = PodTable(limit: configuration.pods, firstSlot: configuration.firstSlot, outbox: node.outbox)
    let entry = try await openEntry(table, node.group)
    let stems = StemPool(
      engine: engine, controls: node.controls, runFolder: configuration.runDirectory, slots: table,
      nodeMemory: configuration.memory, logger: logger)
    stems.expect(StemKind.usual)
    let services = services(node, table, stems)
    let session = SessionLoop(
      sessions: sessions, outbox: node.outbox, logger: logger, hello: { await self.hello(table, services) },
      perform: { await Self.perform($0, table, services) })
    let (samples, sampling) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let outbox = node.outbox
    let heartbeat = try Heartbeat { number in
      outbox.beat()
      if number % Self.memoryEvery == 0 { sampling.yield() }
    }
    defer { heartbeat.stop() }
    let shipper = Shipper(
      spool: node.spool, sink: logs, source: "\(configuration.name)/\(node.spool.id)",
      refusedPath: "\(configuration.dataDirectory)/spool/refused.ndjson", logger: logger)
    logger.notice("worker started", metadata: ["node.name": "\(configuration.name)"])
    await withTaskGroup(of: Part.self) { group in
      group.addTask {
        await shipper.run(); return .shipper
      }
      group.addTask {
        await session.run(); return .session
      }
      group.addTask {
        for await _ in samples {
          await table.sampleMemory()
          stems.adjust()
          outbox.put(stems: stems.waiting)
          await self.images.tidy()
        }
        return .samples
      }
      group.addTask { await self.stopPodsWhenAsked(table, session) }
      await Self.supervise(&group, session, node.spool)
      group.cancelAll()
    }
    await stems.close()
    await entry?.close()
    logger.notice("worker stopped", metadata: ["node.name": "\(configuration.name)"])
  }

  /// Waits until everything has ended: after the pods the session and the log spool, within a bound.
  private static func supervise(_ group: inout TaskGroup<Part>, _ session: SessionLoop, _ spool: Spool) async {
    var open: Set<Part> = [.pods, .session, .shipper]
    while !open.isEmpty, let part = await group.next() {
      open.remove(part)
      switch part {
      case .pods:
        session.leave()
        spool.finish()
        group.addTask {
          try? await NamedWait.deadline(milliseconds: farewellMaximum).wait()
          return .deadline
        }
      case .deadline, .cancelled: return
      case .session, .shipper, .samples: break
      }
    }
  }

  private func stopPodsWhenAsked(_ table: PodTable, _ session: SessionLoop) async -> Part {
    do { try await gracefulShutdown() } catch { return .cancelled }
    logger.notice("worker stopping", metadata: ["pods": "\(table.count)"])
    await table.drainAll()
    if session.isConnected, table.count > 0 {
      // The control plane stops each pod when no gateway has a call in it.
      try? await within(milliseconds: configuration.drainSettleMilliseconds) { await table.untilEmpty() }
    }
    let grace = await table.stopAll()
    // Two seconds more: SIGKILL and the clean-up.
    try? await within(milliseconds: grace + Self.farewellMaximum) { await table.untilEmpty() }
    return .pods
  }

  // MARK: parts

  private func openEntry(_ table: PodTable, _ group: any EventLoopGroup) async throws -> EntryServer? {
    guard let address = configuration.listenAddress else { return nil }
    let entry = try await EntryServer(
      host: address.host, port: address.port, tls: { self.tls.withLock { $0 } }, group: group,
      socketPath: { table.socketPath($0) })
    entryPort.withLock { $0 = entry.port }
    return entry
  }

  private func services(_ node: Node, _ table: PodTable, _ stems: StemPool) -> PodServices {
    let outbox = node.outbox
    return PodServices(
      node: configuration.name, runFolder: configuration.runDirectory, host: configuration.hostIdentity,
      address: address, engine: engine, stems: stems, packages: packages, images: images, secrets: secrets,
      journal: node.journal, outputs: node.outputs, controls: node.controls, portTimes: PortTimes(),
      group: node.group, logger: logger,
      report: { table.note($0) },
      event: { outbox.put($0) }, finished: { table.finished($0, slot: $1) })
  }

  /// `HOST:PORT` for other machines, once the entry listens.
  private var address: String? {
    guard let listen = configuration.listenAddress, let port = listeningPort else { return nil }
    let host = listen.advertisedHost ?? listen.host
    return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
  }

  private func hello(_ table: PodTable, _ services: PodServices) async -> WorkerHello {
    WorkerHello(
      name: configuration.name, session: UUIDv7.make(), labels: configuration.labels, milliCPU: configuration.milliCPU,
      memory: configuration.memory, pods: configuration.pods, address: services.address,
      host: configuration.hostIdentity, info: NodeFacts.info(version: configuration.version),
      isolation: engine.isolation, egress: engine.egress, artifacts: await packages.digests() + images.imageDigests(),
      running: table.reports)
  }

  private static func perform(_ action: NodeCommand.Action, _ table: PodTable, _ services: PodServices) async {
    switch action {
    case .start(let assignment): await table.start(assignment, services: services)
    case .drain(let uid): await table.drain(uid)
    case .stop(let uid, let grace): await table.stop(uid, graceMilliseconds: grace)
    case .keep(let uids): await table.keep(uids)
    case .ping: break
    }
  }
}

extension WorkerAgent {
  /// A worker in PodSandbox's sandboxes with packages from an artifact store and images from registries. Needs root.
  package convenience init(
    configuration: WorkerConfiguration, sessions: any NodeSessions, artifacts: any Artifacts,
    secrets: any PodSecrets, logs: any LogSink, tls: EntryTLS?, logger: Logger
  ) throws {
    let code = "\(configuration.dataDirectory)/code"
    try Descriptors.makeFolder(code)
    self.init(
      configuration: configuration, sessions: sessions, secrets: secrets, logs: logs, tls: tls, logger: logger,
      engine: try LinuxSandboxes(configuration: configuration, logger: logger),
      packages: CodeCache(folder: code, artifacts: artifacts, logger: logger),
      images: try ImageStore(
        folder: "\(configuration.dataDirectory)/images",
        registries: RegistryClient(
          insecure: configuration.insecureRegistries, limits: configuration.images, logger: logger),
        limits: configuration.images, logger: logger))
  }
}
