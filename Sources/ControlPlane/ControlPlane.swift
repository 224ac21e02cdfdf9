package import ClusterAPI
package import ClusterModel
package import Logging
import ServiceLifecycle
package import StateStore
import Synchronization

/// The control plane of one cluster: the resource API's objects and everything that acts on them.
///
/// It knows no HTTP: `resources`, `orchestrator`, `artifacts`, `usage` are ClusterAPI's protocols in process, and
/// `API/` serves them to others.
package final class ControlPlane: Sendable {
  /// Revisions of the durable store that can still be watched from.
  static let revisionsKept: Int64 = 10_000
  /// How often history and artifacts are collected, seconds.
  static let collectSeconds: Int64 = 30

  /// The resource API.
  package let resources: ResourceRegistry
  /// Nodes, pods, routes, activation, secrets of pods.
  package let orchestrator: Orchestrator
  /// Function packages.
  package let artifacts: ArtifactStore
  /// Gateways' figures.
  package let usage: UsageBoard
  /// What happened.
  package let events: EventRecorder
  /// Keeps workers to their own pods' log records.
  package let stamp: RecordStamp
  let objects: ObjectStore
  private let logger: Logger
  /// When a package was last needed, as far as this process knows.
  private let needed = Mutex<[String: Timestamp]>([:])
  private let startedAt: Timestamp

  /// A control plane over a durable and a soft store.
  package init(
    durable: any StateStore, soft: any StateStore, boot: Int64, artifacts: ArtifactStore, vault: SecretVault,
    logs: (any LogSink)?, logger: Logger, clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
    elapsed: @escaping @Sendable () -> Int64 = Uptime.clock()
  ) {
    let objects = ObjectStore(durable: durable, soft: soft)
    let overlay = SoftOverlay()
    let events = EventRecorder(soft: soft, logs: logs, logger: logger)
    let usage = UsageBoard(overlay: overlay, now: clock)
    let orchestrator = Orchestrator(
      objects: objects, overlay: overlay, vault: vault, artifacts: artifacts, events: events, usage: usage,
      epochBase: UInt64(max(0, boot)), logger: logger, clock: clock, elapsed: elapsed)
    self.objects = objects
    self.events = events
    self.usage = usage
    self.orchestrator = orchestrator
    self.artifacts = artifacts
    self.logger = logger
    startedAt = clock()
    stamp = RecordStamp { await orchestrator.owner(namespace: $0, pod: $1) }
    resources = ResourceRegistry(objects: objects, overlay: overlay, vault: vault, now: clock) {
      await orchestrator.endPod($0)
    }
  }

  /// Makes what every cluster has (the namespace `default`) and loads intent; before anything else may ask.
  package func prepare() async throws {
    do {
      _ = try await resources.create(
        .namespace, namespace: nil, object: JSONValue(encoding: Namespace(name: "default")))
    } catch let status as APIStatus where status.reason == "AlreadyExists" {}
    try await orchestrator.prepare()
    await usage.load(from: objects.durable, functions: Set(await orchestrator.functions.keys))
  }

  /// The schedules of all functions, over the queue that runs their calls.
  package func schedules(over calls: CallService) -> ScheduleService {
    let orchestrator = orchestrator
    return ScheduleService(
      calls: calls, overlay: usage.overlay, events: events, logger: logger,
      functions: { await orchestrator.schedules(since: $0) })
  }

  /// Runs until cancelled or told to shut down.
  package func run() async throws {
    try await cancelWhenGracefulShutdown {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await self.orchestrator.run() }
        group.addTask { await self.collectForever() }
        try await group.next()
        group.cancelAll()
      }
    }
    await usage.save(to: objects.durable)
  }

  /// Collects history and unreferenced packages and keeps the functions' figures, again and again.
  private func collectForever() async {
    while !Task.isCancelled {
      do { try await Task.sleep(for: .seconds(Self.collectSeconds)) } catch { return }
      await collect(at: .now())
    }
  }

  /// Forgets tokens whose time is over, old revisions of the store, and packages that nothing named for an hour.
  package func collect(at time: Timestamp) async {
    do {
      _ = try await objects.durable.expire(at: time.milliseconds)
      let head = await objects.durable.currentRevision
      if head > Self.revisionsKept { try await objects.durable.compact(before: head - Self.revisionsKept) }
    } catch {
      logger.warning("the store's history could not be compacted", metadata: ["error": "\(error)"])
    }
    await usage.save(to: objects.durable)
    let referenced = await orchestrator.referencedArtifacts()
    let last = needed.withLock { needed in
      for digest in referenced { needed[digest] = time }
      return needed
    }
    for (digest, stored) in artifacts.stored() where !referenced.contains(digest) {
      // A package of before this start may have been needed until then.
      let since = max(stored, last[digest] ?? startedAt)
      guard time.milliseconds(since: since) > Limits.artifactGrace else { continue }
      artifacts.remove(digest)
      needed.withLock { $0[digest] = nil }
    }
  }
}
