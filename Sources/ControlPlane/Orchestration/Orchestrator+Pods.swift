import ClusterAPI
import ClusterModel
import Logging
import Planning

/// The life of pods: create, place, follow, drain, stop, bury.
extension Orchestrator: PodPlacements {
  /// Creates a pod of a revision and places it at once; `since`: one that stands in for another waits as long as that did.
  func createPod(_ key: String, revision name: String, why: String, since: Timestamp? = nil) {
    guard let record = functions[key], let revision = record.revisions[name] else { return }
    let time = clock()
    let function = record.function
    let suffix = String((0..<5).map { _ in "bcdfghjklmnpqrstvwxz2456789".randomElement() ?? "x" })
    var detail = PodDetail(function: function.metadata.name, revision: name, life: .wanted)
    detail.enter(.wanted, at: time, reason: "Wanted", message: why)
    let identity = PodIdentity(
      uid: UUIDv7.make(), name: "\(name)-\(suffix)", namespace: function.metadata.namespace ?? "default",
      function: function.metadata.name, functionUID: function.metadata.uid ?? "", revision: name,
      template: revision.spec.template, number: revision.spec.number, wantedAt: since ?? time)
    let pod = PodRecord(identity, detail: detail)
    pods[pod.uid] = pod
    if !place(pod.uid, at: time) { publish(pod.uid) }
  }

  /// Looks for a node and sends the start command; answers whether one was found.
  @discardableResult
  private func place(_ uid: String, at time: Timestamp) -> Bool {
    guard var pod = pods[uid], pod.detail.life == .wanted else { return true }
    let plan = Placement.decide(pod.demand, nodes: offers(for: pod))
    guard let node = plan.choice else {
      pod.detail.reason = "Unschedulable"
      pod.detail.message = plan.explanation
      pods[uid] = pod
      return false
    }
    pod.node = node
    pod.placedAt = time
    pod.detail.enter(.placed, at: time, reason: "Placed", message: plan.explanation)
    var breakdown = StartupBreakdown()
    breakdown.placed = Double(time.nanoseconds - pod.wantedAt.nanoseconds) / 1_000_000
    pod.detail.startup = breakdown
    pods[uid] = pod
    send(.start(pod.assignment), to: node)
    publish(uid)
    return true
  }

  /// The nodes as placement sees them for one pod.
  func offers(for pod: PodRecord) -> [NodeOffer] {
    let (siblings, time) = (pods.sums(of: pod.functionKey).byNode, clock())
    return nodes.values.compactMap { node in
      guard let hello = node.hello else { return nil }
      let use = pods.use(of: node.name)
      var offer = NodeOffer(
        name: node.name, labels: hello.labels.merging(node.labels) { _, own in own },
        joined: node.joined && node.refusesUntil <= time,
        cordoned: node.cordoned, milliCPU: hello.milliCPU, memory: hello.memory, podLimit: hello.pods)
      offer.hasCode = node.artifacts.contains(pod.template.codeDigest ?? "")
      offer.egress = hello.egress ?? []
      offer.usedMilliCPU = use.milliCPU
      offer.usedMemory = use.memory
      offer.pods = use.pods
      offer.startsInFlight = use.startsInFlight
      offer.podsOfFunction = siblings[node.name] ?? 0
      return offer
    }
  }

  /// Whether a pod that is made from a package is placed on a node.
  package func isPlaced(_ digest: String, namespace: String, on node: String) -> Bool {
    pods.values.contains { $0.node == node && $0.namespace == namespace && $0.template.source?.digest == digest }
  }

  /// Tries again to place a pod that found no node; after some patience waiting requests are told why.
  func retryPlacement(_ uid: String, at time: Timestamp) {
    if place(uid, at: time) { return }
    guard let pod = pods[uid] else { return }
    let waited = time.milliseconds(since: pod.wantedAt)
    guard waited > Self.placementPatience, time.milliseconds(since: startedAt) > Self.rejoinGrace,
      !awaitsWorkers(at: time, atMost: Self.returnGrace)
    else { return }
    let message = pod.detail.message ?? "no node can take the pod"
    bury(uid, reason: "Unschedulable", message: message, failed: true)
    broadcast(
      .startFailed(
        StartFailure(
          namespace: pod.namespace, function: pod.function, code: .noCapacity, message: message,
          attempts: Limits.startAttempts)))
    record(
      ObjectReference(.pod, namespace: pod.namespace, name: pod.name, uid: uid), "FailedScheduling", message,
      warning: true)
    if functions[pod.functionKey] != nil {
      fail(pod.functionKey, pod.revision, .noCapacity, attempts: Limits.startAttempts, message, at: time)
    }
  }

  /// Who a pod belongs to; nil when it is not in the table any more.
  func owner(namespace: String, pod name: String) -> RecordStamp.PodOwner? {
    let function = name.split(separator: "-").dropLast(2).joined(separator: "-")
    for uid in pods.uids(of: "\(namespace)/\(function)") {
      guard let pod = pods[uid], pod.name == name else { continue }
      return RecordStamp.PodOwner(node: pod.node, function: pod.function, revision: pod.revision)
    }
    return nil
  }

  /// Takes a worker's report of a pod in.
  func take(_ report: PodReport, from node: String) {
    guard var pod = pods[report.uid], pod.node == node, pod.detail.life != .gone else {
      // Started on a word that was overtaken: nobody counts it, and nobody would ever end it.
      if report.detail.life != .gone { send(.stop(uid: report.uid, graceMilliseconds: Self.unwantedGrace), to: node) }
      return
    }
    let time = clock()
    let before = pod.detail
    let next = report.detail.clamped
    pod.detail.restarts = min(pod.restartsBefore + next.restarts, PodDetail.restartsMaximum)
    pod.detail.endpoint = next.endpoint
    pod.detail.memory = next.memory
    pod.detail.exitCode = next.exitCode
    pod.detail.everReady = next.everReady
    if let startup = next.startup {
      let placed = pod.detail.startup?.placed
      pod.detail.startup = startup
      pod.detail.startup?.placed = placed
    }
    var life = next.life
    // A pod the control plane drains stays draining until it is gone, whatever its worker still says of it.
    if before.life == .draining, life != .gone { life = .draining }
    guard life == before.life || before.life.canBecome(life) else { return }
    if life == .gone {
      pods[report.uid] = pod
      return ended(report.uid, next, at: time)
    }
    let moved = life != before.life || pod.detail.restarts != before.restarts
    if moved {
      if life == .ready, before.life == .placed, let step = next.history.last(where: { $0.life == .starting }) {
        pod.detail.enter(.starting, at: step.at, reason: step.reason)
      }
      pod.detail.enter(life, at: time, reason: next.reason, message: next.message)
    }
    pods[report.uid] = pod
    if let digest = pod.template.codeDigest { nodes[node]?.artifacts.insert(digest) }
    let routed = moved || before.endpoint != pod.detail.endpoint
    publish(report.uid, route: routed)
    if life == .ready, before.life != .ready { becameReady(pod, at: time) }
  }

  private func becameReady(_ pod: PodRecord, at time: Timestamp) {
    let key = pod.functionKey
    functions[key]?.failure = nil
    guard let record = functions[key] else { return drain(pod.uid, reason: "FunctionDeleted", message: nil) }
    let total = pod.detail.startup?.total ?? 0
    self.record(
      ObjectReference(.pod, namespace: pod.namespace, name: pod.name, uid: pod.uid), "Ready",
      "ready on \(pod.node ?? "") in \((total * 10).rounded() / 10) ms")
    guard record.function.metadata.uid == pod.functionUID else {
      return drain(pod.uid, reason: "FunctionDeleted", message: nil)
    }
    if record.serving != pod.revision {
      if record.latest == pod.revision {
        startProof(key, pod.revision)
      } else {
        drain(pod.uid, reason: "RevisionReplaced", message: "\(record.latest ?? "another revision") is newer")
      }
    }
  }

  /// A pod ended by itself, or as it was told to.
  private func ended(_ uid: String, _ detail: PodDetail, at time: Timestamp) {
    guard let pod = pods[uid] else { return }
    let expected = pod.detail.life == .draining || pod.stopSent
    let failed = (detail.failed ?? false) && !expected
    // Its worker's word about itself, not about the function: another node is asked.
    if failed, detail.reason == PodDetail.refused, let node = pod.node {
      bury(uid, reason: PodDetail.refused, message: detail.message, failed: false)
      nodes[node]?.refusesUntil = time.advanced(milliseconds: Self.refusalPause)
      return replace(pod, since: pod.wantedAt)
    }
    bury(uid, reason: detail.reason ?? "Ended", message: detail.message, failed: failed)
    guard failed else { return ensurePods(pod.functionKey) }
    // The worker, which saw it, told the event.
    let message = detail.message ?? detail.reason ?? "its process ended"
    guard let record = functions[pod.functionKey], detail.everReady != true else {
      return ensurePods(pod.functionKey)
    }
    let known =
      record.failure.flatMap { $0.revision == pod.revision && $0.code == .startFailed ? $0.attempts : nil } ?? 0
    startFailed(pod, attempts: known + 1, message, at: time)
  }

  /// A start failed: try again, or give the revision up for now and tell whoever waits.
  private func startFailed(_ pod: PodRecord, attempts: Int, _ message: String, at time: Timestamp) {
    let key = pod.functionKey
    fail(key, pod.revision, .startFailed, attempts: attempts, message, at: time)
    broadcast(
      .startFailed(
        StartFailure(
          namespace: pod.namespace, function: pod.function, code: .startFailed, message: message, attempts: attempts)))
    guard attempts >= Limits.startAttempts else {
      return createPod(key, revision: pod.revision, why: "start \(attempts) of \(Limits.startAttempts) failed")
    }
    guard let record = functions[key] else { return }
    if record.latest == pod.revision, record.serving != pod.revision {
      Task {
        do { try await rejectRevision(key, pod.revision, message) } catch {
          logger.warning("a failed revision could not be noted", metadata: ["error": "\(error)"])
        }
      }
    }
  }

  /// Notes failed starts; from the third on the next try waits 1 s, doubling to 30 s.
  private func fail(
    _ key: String, _ revision: String, _ code: CallErrorCode, attempts: Int, _ message: String, at time: Timestamp
  ) {
    let beyond = attempts - Limits.startAttempts
    let wait: Int64 = beyond < 0 ? 0 : min(30_000, 1000 << Int64(min(beyond, 5)))
    functions[key]?.failure = FunctionRecord.Failure(
      revision: revision, code: code, attempts: attempts, message: message, retryAt: time.advanced(milliseconds: wait))
  }

  /// Writes the end of a pod down and tells everyone.
  func bury(_ uid: String, reason: String, message: String?, failed: Bool) {
    guard var pod = pods[uid], pod.detail.life != .gone else { return }
    let time = clock()
    pod.detail.failed = failed
    pod.detail.enter(.gone, at: time, reason: reason, message: message)
    pod.detail.endpoint = nil
    pod.detail.memory = nil
    pod.goneAt = time
    pods[uid] = pod
    publish(uid)
  }

  /// Takes a pod out of routing; it is stopped once no gateway has a call in it.
  func drain(_ uid: String, reason: String, message: String?) {
    guard var pod = pods[uid], pod.counts else { return }
    let time = clock()
    if pod.detail.life == .wanted { return bury(uid, reason: reason, message: message, failed: false) }
    pod.detail.enter(.draining, at: time, reason: reason, message: message)
    pod.drainDeadline = time.advanced(
      milliseconds: max(pod.template.timeout.milliseconds, pod.template.grace.milliseconds) + 1000)
    pod.released = []
    pods[uid] = pod
    if let node = pod.node { send(.drain(uid: uid), to: node) }
    publish(uid)
    stopIfReleased(uid)
  }

  /// Stops a draining pod when every gateway gave it up.
  func stopIfReleased(_ uid: String) {
    guard let pod = pods[uid], pod.detail.life == .draining else { return }
    if Set(subscribers.keys).isSubset(of: pod.released) { stop(uid) }
  }

  /// Tells the worker to end a pod.
  func stop(_ uid: String) {
    guard var pod = pods[uid], pod.detail.life == .draining, !pod.stopSent, let node = pod.node else { return }
    pod.stopSent = true
    pod.drainDeadline = nil
    pods[uid] = pod
    send(.stop(uid: uid, graceMilliseconds: pod.template.grace.milliseconds), to: node)
  }

  /// Ends a pod on a client's wish; answers whether there was one.
  package func endPod(_ uid: String) -> Bool {
    guard let pod = pods[uid], pod.counts else { return false }
    drain(uid, reason: "Deleted", message: "deleted through the API")
    ensurePods(pod.functionKey)
    return true
  }
}
