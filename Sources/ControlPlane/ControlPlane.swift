package import ClusterAPI
package import ClusterModel
package import Logging
import ServiceLifecycle
package import StateStore

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
  let objects: ObjectStore
  private let logger: Logger

  /// A control plane over a durable and a soft store.
  package init(
    durable: any StateStore, soft: any StateStore, boot: Int64, artifacts: ArtifactStore, vault: SecretVault,
    logs: (any LogSink)?, logger: Logger, clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
  ) {
    let objects = ObjectStore(durable: durable, soft: soft)
    let overlay = SoftOverlay()
    let events = EventRecorder(soft: soft, logs: logs, logger: logger)
    let usage = UsageBoard(overlay: overlay, now: clock)
    let orchestrator = Orchestrator(
      objects: objects, overlay: overlay, vault: vault, artifacts: artifacts, events: events, usage: usage,
      epochBase: UInt64(max(0, boot)), logger: logger, clock: clock)
    self.objects = objects
    self.events = events
    self.usage = usage
    self.orchestrator = orchestrator
    self.artifacts = artifacts
    self.logger = logger
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
  }

  /// Collects history and unreferenced packages, again and again.
  private func collectForever() async {
    while !Task.isCancelled {
      do { try await Task.sleep(for: .seconds(Self.collectSeconds)) } catch { return }
      await collect(at: .now())
    }
  }

  /// Forgets old revisions of the store, and packages that nothing named for an hour.
  package func collect(at time: Timestamp) async {
    do {
      let head = await objects.durable.currentRevision
      if head > Self.revisionsKept { try await objects.durable.compact(before: head - Self.revisionsKept) }
    } catch {
      logger.warning("the store's history could not be compacted", metadata: ["error": "\(error)"])
    }
    let referenced = await orchestrator.referencedArtifacts()
    for (digest, stored) in artifacts.stored() where !referenced.contains(digest) {
      if time.milliseconds(since: stored) > Limits.artifactGrace { artifacts.remove(digest) }
    }
  }
}
