import ClusterAPI
package import ClusterModel
package import Logging
import Planning
import StateStore

/// The control plane's heart: one actor that holds functions, pods and nodes in memory and acts on every change.
///
/// Intent comes from the durable store by watch; pods are soft state, rebuilt from the workers after a restart.
/// Nothing on the path from a wish for pods to the worker's start command waits for a timer or a disk.
package actor Orchestrator {
  /// How often time alone is looked at (losses, deadlines, back-off), milliseconds.
  package static let tickMilliseconds: Int64 = 100
  /// How long a pod may look for a node before waiting requests are told.
  static let placementPatience: Int64 = 2000
  /// How long after a start workers may take to come back before "no node" counts, milliseconds.
  static let rejoinGrace: Int64 = 3000
  /// How long after a start workers that were there before it are waited for before "no room" counts, milliseconds:
  /// five of their longest pauses between two tries to join.
  static let returnGrace: Int64 = 10_000
  /// How long a pod that failed stays listed, milliseconds.
  static let failedShown: Int64 = 300_000
  /// How long a pod that ended well stays listed, milliseconds.
  static let endedShown: Int64 = 1000
  /// Pods created at once; others have their turn before the next so many.
  static let startsPerTurn = 100
  /// How long after a pod changed what people read of it is written, milliseconds: a start changes it four times, a burst
  /// changes hundreds.
  static let settlingMilliseconds = 20
  /// The same at most, milliseconds: while a crowd starts or ends, most of it changes again before anybody can have read it,
  /// and writing it takes a tenth of what the starts do.
  static let settlingMaximum = 400
  /// How long a node whose worker took no pod is not asked again, milliseconds; till its next hello at most.
  static let refusalPause: Int64 = 500
  /// How long a pod that should not be there has to end, milliseconds.
  static let unwantedGrace: Int64 = 1000
  /// More pods than this on their way to being ready, or
  static let settlingStarts = 16
  /// more than this that changed and are not written yet, are a crowd.
  static let settlingCrowd = 100

  let objects: ObjectStore
  let overlay: SoftOverlay
  let vault: SecretVault
  let artifacts: ArtifactStore
  let events: EventRecorder
  let usage: UsageBoard
  let logger: Logger
  let clock: @Sendable () -> Timestamp
  /// Milliseconds of a clock that is never set, and stands while the machine sleeps: silence is measured with it.
  let elapsed: @Sendable () -> Int64

  var functions: [String: FunctionRecord] = [:]
  var pods = PodBook()
  private var unsettled = Unsettled()
  var nodes: [String: NodeRecord] = [:]
  var subscribers: [String: [Int: AsyncStream<RouteUpdate>.Continuation]] = [:]
  var nextSubscription = 0
  /// The tokens that may call functions; nil until they were told.
  var credentials: [InvokeCredential]?
  var credentialsVersion = 0
  var nextEpoch: UInt64
  var reconciling: Set<String> = []
  var reconcileAgain: Set<String> = []
  /// Revisions whose proof is being written.
  var proving: Set<String> = []
  var recycle: Set<String> = []
  let startedAt: Timestamp
  var lastTick: Int64
  /// Functions with schedules, and a number that grows whenever one of them changes.
  var scheduled: [String: ScheduledFunction] = [:]
  var scheduleVersion: Int64 = 0
  private var loadedRevision: Int64 = 0
  private let settlements: AsyncStream<Void>
  private let settlementDue: AsyncStream<Void>.Continuation

  /// An orchestrator over a store; `epochBase` grows with every boot, so that epochs of earlier boots are older.
  package init(
    objects: ObjectStore, overlay: SoftOverlay, vault: SecretVault, artifacts: ArtifactStore, events: EventRecorder,
    usage: UsageBoard, epochBase: UInt64, logger: Logger,
    clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
    elapsed: @escaping @Sendable () -> Int64 = Uptime.clock()
  ) {
    self.objects = objects
    self.overlay = overlay
    self.vault = vault
    self.artifacts = artifacts
    self.events = events
    self.usage = usage
    self.logger = logger
    self.clock = clock
    nextEpoch = epochBase << 20
    startedAt = clock()
    self.elapsed = elapsed
    lastTick = elapsed()
    (settlements, settlementDue) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
  }

  /// Loads intent. Before this is done nobody may subscribe or join: routes would miss pods, and pods of functions not
  /// loaded yet would be stopped as unknown.
  package func prepare() async throws { loadedRevision = try await load() }

  /// Follows intent until cancelled; `prepare` came before.
  package func run() async throws {
    let revision = loadedRevision
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.follow(after: revision) }
      group.addTask { await self.settleForever() }
      group.addTask { try await self.tickForever() }
      try await group.next()
      group.cancelAll()
    }
  }

  /// Loads functions, revisions and nodes, at the start and when the watch fell behind; answers their revision.
  private func load() async throws -> Int64 {
    let known = try await objects.all(Function.self)
    let revisions = try await objects.all(Revision.self)
    let nodeObjects = try await objects.all(Node.self)
    for damaged in known.damaged + revisions.damaged + nodeObjects.damaged {
      logger.error("a stored object cannot be read and is left alone", metadata: ["key": "\(damaged)"])
    }
    var revisionsOf: [String: [String: Revision]] = [:]
    for revision in revisions.objects {
      let key = "\(revision.metadata.namespace ?? "default")/\(revision.spec.function)"
      revisionsOf[key, default: [:]][revision.metadata.name] = revision
    }
    let records = known.objects.map { FunctionRecord(function: $0) }
    for key in Set(functions.keys).subtracting(records.map(\.key)) { removed(key) }
    for record in records {
      if let present = functions[record.key], present.function.metadata.uid != record.function.metadata.uid {
        removed(record.key)
      }
      functions[record.key, default: record].function = record.function
      functions[record.key]?.revisions = revisionsOf[record.key] ?? [:]
      noteSchedules(record.key)
      if let route = functions[record.key]?.route { broadcast(.function(route)) }
    }
    for node in nodeObjects.objects { adopt(node) }
    for key in functions.keys { reconcile(key) }
    return min(known.revision, revisions.revision, nodeObjects.revision)
  }

  private func adopt(_ node: Node) {
    var record = nodes[node.metadata.name] ?? NodeRecord(name: node.metadata.name)
    record.cordoned = node.spec.unschedulable ?? false
    record.labels = node.metadata.labels ?? [:]
    nodes[node.metadata.name] = record
    publish(node: node.metadata.name)
  }

  /// Follows changes of intent; lists again when the watch fell behind.
  private func follow(after start: Int64) async throws {
    var revision = start
    while !Task.isCancelled {
      do {
        for try await batch in objects.durable.watch(prefix: "/", after: revision) {
          for event in batch.events { await apply(event) }
          revision = batch.revision
        }
        if Task.isCancelled { return }
      } catch StoreError.compacted {
        revision = try await load()
      }
    }
  }

  /// Takes one change of intent in.
  private func apply(_ event: StoreEvent) async {
    let parts = event.key.split(separator: "/").map(String.init)
    guard parts.count == 3 else { return }
    let tree = event.object.flatMap { try? ObjectStore.tree($0) }
    switch parts[0] {
    case ResourceKind.function.plural:
      if let function = try? tree?.decoded(as: Function.self) {
        changed(function)
      } else if event.object == nil {
        removed("\(parts[1])/\(parts[2])")
      } else {
        logger.error("a stored object cannot be read and is left alone", metadata: ["key": "\(event.key)"])
      }
    case ResourceKind.revision.plural:
      if let revision = try? tree?.decoded(as: Revision.self) {
        functions["\(parts[1])/\(revision.spec.function)"]?.revisions[parts[2]] = revision
      } else if let old = event.previous.flatMap({ try? ObjectStore.tree($0).decoded(as: Revision.self) }) {
        functions["\(parts[1])/\(old.spec.function)"]?.revisions[parts[2]] = nil
      }
    case ResourceKind.node.plural:
      if let node = try? tree?.decoded(as: Node.self) { adopt(node) } else { forget(node: parts[2]) }
    case ResourceKind.secret.plural: secretChanged(parts[1], parts[2])
    default: break
    }
  }

  private func forget(node name: String) {
    if nodes[name]?.joined == true { return publish(node: name) }
    nodes[name] = nil
  }

  /// A secret changed: its pods are replaced one by one.
  private func secretChanged(_ namespace: String, _ name: String) {
    for pod in pods.values where pod.namespace == namespace && pod.counts {
      if pod.template.secrets?.contains(name) == true { recycle.insert(pod.uid) }
    }
  }

  /// Looks at time alone: losses, deadlines, pods that wait for a node. A late tick declares nobody lost.
  private func tickForever() async throws {
    while !Task.isCancelled {
      try await Task.sleep(for: .milliseconds(Self.tickMilliseconds))
      let time = clock()
      let passed = elapsed()
      let late = passed - lastTick - Self.tickMilliseconds
      lastTick = passed
      tick(at: time, lossesCount: late <= Limits.timerLateness)
    }
  }

  /// One look at time; separate from the timer so that tests can turn the clock themselves.
  func tick(at time: Timestamp, lossesCount: Bool) {
    if lossesCount { lookForLosses() }
    for pod in pods.values {
      switch pod.detail.life {
      case .wanted: retryPlacement(pod.uid, at: time)
      case .draining: if let deadline = pod.drainDeadline, deadline <= time { stop(pod.uid) }
      case .gone:
        let shown = pod.detail.failed == true ? Self.failedShown : Self.endedShown
        if let gone = pod.goneAt, time.milliseconds(since: gone) > shown { unlist(pod) }
      default: break
      }
    }
    for (key, record) in functions {
      let retry = record.failure.map { $0.retryAt <= time } ?? true
      if retry, record.serving != record.latest || record.function.spec.scale.min > 0 { reconcile(key) }
    }
    recycleNext()
  }

  /// Replaces pods whose secrets changed, at most one a function at a time.
  private func recycleNext() {
    for uid in recycle {
      guard let pod = pods[uid], pod.counts else {
        recycle.remove(uid)
        continue
      }
      if pods.pods(of: pod.functionKey).contains(where: { $0.detail.life == .draining }) { continue }
      recycle.remove(uid)
      drain(uid, reason: "SecretChanged", message: "a secret it mounts changed")
      reconcile(pod.functionKey)
    }
  }

  /// Takes an ended pod off the lists.
  private func unlist(_ pod: PodRecord) {
    pods[pod.uid] = nil
    unsettled.unlisted.append(ObjectKeys.key(.pod, pod.namespace, pod.name))
    settlementDue.yield()
  }

  // MARK: - What everyone tells

  /// Says something to every gateway, in order.
  func broadcast(_ update: RouteUpdate) {
    for subscriptions in subscribers.values {
      for subscription in subscriptions.values {
        // It cannot go on with a gap; its gateway starts again with a snapshot.
        if case .dropped = subscription.yield(update) { subscription.finish() }
      }
    }
  }

  /// Notes that a pod changed: gateways' endpoints at once, lists and sums in a moment.
  func publish(_ uid: String, route: Bool = true) {
    guard let pod = pods[uid] else { return }
    if route { broadcast(.endpoint(pod.route)) }
    unsettled.pods.insert(uid)
    if let node = pod.node { unsettled.nodes.insert(node) }
    unsettled.functions.insert(pod.functionKey)
    settlementDue.yield()
  }

  // MARK: - What people read

  /// What changed since lists and sums were written last.
  private struct Unsettled {
    var functions: Set<String> = []
    var nodes: Set<String> = []
    /// Uids of pods whose objects are to be written.
    var pods: Set<String> = []
    /// Keys of pods that are listed no more.
    var unlisted: [String] = []
  }

  /// Whether many pods are about to change again.
  private var isCrowded: Bool {
    unsettled.pods.count > Self.settlingCrowd || pods.startsInFlight > Self.settlingStarts
  }

  /// Writes what people read of pods, a moment after they changed and away from the way of a start: sums over functions
  /// and nodes, and the pods' objects.
  private func settleForever() async {
    for await _ in settlements {
      var waited = 0
      repeat {
        do { try await Task.sleep(for: .milliseconds(Self.settlingMilliseconds)) } catch { return }
        waited += Self.settlingMilliseconds
      } while waited < Self.settlingMaximum && isCrowded
      let due = unsettled
      unsettled = Unsettled()
      for key in due.functions { publishCounts(key) }
      for node in due.nodes { publish(node: node) }
      let time = clock()
      let listed = due.pods.compactMap { pods[$0]?.object(at: time) }
      let operations = await Self.operations(putting: listed, deleting: due.unlisted, logger)
      for start in stride(from: 0, to: operations.count, by: StoreLimits.operationsMax) {
        let batch = operations[start..<min(operations.count, start + StoreLimits.operationsMax)]
        do { _ = try await objects.soft.commit([], Array(batch)) } catch {
          logger.warning("pods could not be listed", metadata: ["count": "\(batch.count)", "error": "\(error)"])
        }
      }
    }
  }

  /// Objects become bytes on another thread: starts need this actor meanwhile.
  @concurrent
  private static func operations(
    putting pods: [Pod], deleting keys: [String], _ logger: Logger
  ) async -> [StoreOperation] {
    var operations: [StoreOperation] = []
    for pod in pods {
      let key = ObjectKeys.key(.pod, pod.metadata.namespace, pod.metadata.name)
      do {
        operations.append(.put(key, value: try ObjectStore.bytes(of: pod), expires: nil))
      } catch {
        logger.warning("a pod could not be listed", metadata: ["key": "\(key)", "error": "\(error)"])
      }
    }
    return operations + keys.map { .delete($0) }
  }

  func publishCounts(_ key: String) {
    guard functions[key] != nil else { return }
    let sums = pods.sums(of: key)
    overlay.update(key) {
      $0.readyPods = sums.ready
      $0.wantedPods = sums.wanted
    }
  }

  /// Records an event without waiting for it.
  func record(
    _ object: ObjectReference, _ reason: String, _ message: String, warning: Bool = false,
    component: String = "control-plane"
  ) {
    let events = events
    let time = clock()
    Task {
      await events.record(
        object, reason: reason, message: message, warning: warning, component: component, at: time)
    }
  }
}
