package import ClusterAPI
import ClusterModel
import FoundationEssentials
import Logging
import StateStore

/// Worker sessions: hello, adoption, silence, loss.
extension Orchestrator: NodeSessions {
  /// Commands that may wait for a worker that reads slowly; beyond, the session ends.
  static let commandBuffer = 50_000

  /// Opens a session; a newer one of the same node ends the older.
  package func open(_ hello: WorkerHello) async throws(APIStatus) -> NodeSessionHandle {
    if let fault = Schema.Rule.dnsLabel.check(hello.name) { throw .badRequest("node name: \(fault)") }
    try await ensureNode(hello)
    nextEpoch += 1
    let epoch = nextEpoch
    let time = clock()
    let (stream, continuation) = AsyncStream.makeStream(
      of: NodeCommand.self, bufferingPolicy: .bufferingOldest(Self.commandBuffer))
    var node = nodes[hello.name] ?? NodeRecord(name: hello.name)
    node.commands?.finish()
    let returned = node.session == .lost || node.hello == nil
    node.hello = hello
    node.hello?.running = []
    node.epoch = epoch
    node.commandCounter = 0
    node.commands = continuation
    node.session = .joined
    (node.heardAt, node.silentSince) = (time, elapsed())
    node.artifacts = Set(hello.artifacts)
    node.refusesUntil = Timestamp(nanoseconds: 0)
    nodes[hello.name] = node
    let kept = adopt(hello, at: time)
    send(.keep(uids: kept.sorted()), to: hello.name)
    for uid in kept where pods[uid]?.detail.life == .draining { endAgain(uid, on: hello.name) }
    restartMissing(on: hello.name, reported: Set(hello.running.map(\.uid)))
    nodes[hello.name]?.disowned = []
    publish(node: hello.name)
    if returned {
      record(ObjectReference(.node, namespace: nil, name: hello.name), "NodeJoined", "joined with \(kept.count) pods")
    }
    for pod in pods.values where pod.detail.life == .wanted { retryPlacement(pod.uid, at: time) }
    return NodeSessionHandle(
      epoch: epoch, commands: stream,
      receive: { [weak self] in await self?.receive($0, from: hello.name, epoch: epoch) },
      closed: { [weak self] clean in await self?.closed(hello.name, epoch: epoch, clean: clean) })
  }

  /// Makes the node's object when there is none.
  private func ensureNode(_ hello: WorkerHello) async throws(APIStatus) {
    if try await objects.tree(.node, nil, hello.name) != nil { return }
    var node = Node(metadata: ObjectMeta(name: hello.name, labels: hello.labels))
    node.metadata.uid = UUIDv7.make()
    node.metadata.creationTimestamp = clock().wholeSeconds
    node.metadata.generation = 1
    let key = ObjectKeys.key(.node, nil, hello.name)
    do {
      _ = try await objects.durable.commit(
        [.absent(key)], [.put(key, value: try ObjectStore.bytes(of: node), expires: nil)])
    } catch {
      let status = ObjectStore.status(error, .node, hello.name)
      if status.reason != "Conflict" { throw status }
    }
  }

  /// Decides which of a worker's pods it keeps, and takes those in.
  private func adopt(_ hello: WorkerHello, at time: Timestamp) -> [String] {
    let disowned = nodes[hello.name]?.disowned ?? []
    var kept: [String] = []
    for report in hello.running where report.detail.life != .gone {
      if disowned.contains(report.uid) { continue }
      if let known = pods[report.uid] {
        guard known.node == hello.name, known.detail.life != .gone else { continue }
        kept.append(report.uid)
        take(report, from: hello.name)
      } else if adoptUnknown(report, on: hello, at: time) {
        kept.append(report.uid)
      }
    }
    return kept
  }

  /// Takes in a pod of an earlier server's life when its function and revision still exist.
  private func adoptUnknown(_ report: PodReport, on hello: WorkerHello, at time: Timestamp) -> Bool {
    let key = "\(report.namespace)/\(report.detail.function)"
    guard let record = functions[key], let revision = record.revisions[report.detail.revision] else { return false }
    guard report.detail.life != .draining else { return false }
    guard report.detail.revision == record.serving || report.detail.revision == record.latest else { return false }
    let identity = PodIdentity(
      uid: report.uid, name: report.name, namespace: report.namespace, function: report.detail.function,
      functionUID: record.function.metadata.uid ?? "", revision: report.detail.revision,
      template: revision.spec.template, number: revision.spec.number,
      wantedAt: report.detail.history.first?.at ?? time)
    var pod = PodRecord(identity, detail: report.detail.clamped)
    pod.node = hello.name
    pod.placedAt = time
    pods[report.uid] = pod
    publish(report.uid)
    makeRoom(for: key, report.detail.revision)
    if report.detail.life == .ready, record.serving != report.detail.revision {
      startProof(key, report.detail.revision)
    }
    return true
  }

  /// Whether a worker of an earlier server's life may still come back, with pods that are not known yet.
  func awaitsWorkers(at time: Timestamp, atMost milliseconds: Int64) -> Bool {
    time.milliseconds(since: startedAt) <= milliseconds && nodes.values.contains { $0.hello == nil }
  }

  /// A pod that came back takes the place of one that has found no node yet; beyond the maximum the youngest end.
  private func makeRoom(for key: String, _ revision: String) {
    let waiting = pods.pods(of: key)
      .first { $0.detail.life == .wanted && $0.revision == revision }
    if let waiting {
      bury(waiting.uid, reason: "NotNeeded", message: "a pod came back with its worker", failed: false)
    }
    limitPods(key)
  }

  /// Pods that should be on a node and were not reported: started again when the command was lost, else over.
  private func restartMissing(on name: String, reported: Set<String>) {
    let missing = pods.values.filter { $0.node == name && !reported.contains($0.uid) && $0.detail.life != .gone }
    if missing.contains(where: { $0.detail.life == .ready || $0.detail.life == .draining }) {
      record(
        ObjectReference(.node, namespace: nil, name: name), "NodeRestarted",
        "came back without \(missing.count) of its pods; they are replaced", warning: true)
    }
    for pod in missing {
      switch pod.detail.life {
      case .placed, .starting: startAgain(pod, on: name)
      default:
        bury(pod.uid, reason: "NodeRestarted", message: "node \(name) came back without it", failed: pod.counts)
        replace(pod)
      }
    }
  }

  /// Tells a worker that came back what it may not have heard of the end of a pod.
  private func endAgain(_ uid: String, on name: String) {
    send(.drain(uid: uid), to: name)
    guard pods[uid]?.stopSent == true else { return stopIfReleased(uid) }
    pods[uid]?.stopSent = false
    stop(uid)
  }

  /// Sends the start of a pod to a worker that knows nothing of it: for all others it is another start.
  private func startAgain(_ pod: PodRecord, on name: String) {
    var pod = pod
    pod.restartsBefore = pod.detail.restarts + 1
    pod.detail.restarts = pod.restartsBefore
    pod.detail.endpoint = nil
    pods[pod.uid] = pod
    publish(pod.uid)
    send(.start(pod.assignment), to: name)
  }

  /// A message of a worker; those of an older session are ignored.
  private func receive(_ message: WorkerMessage, from name: String, epoch: UInt64) async {
    guard var node = nodes[name], node.epoch == epoch else { return }
    (node.heardAt, node.silentSince) = (clock(), elapsed())
    if node.session == .suspect {
      node.session = .joined
      nodes[name] = node
      publish(node: name)
    }
    nodes[name] = node
    switch message {
    case .hello, .heartbeat: break
    case .pod(let report): take(report, from: name)
    case .event(let event):
      record(event.object, event.reason, event.message, warning: event.warning, component: "worker/\(name)")
    case .stems(let stems):
      nodes[name]?.stems = stems
      publish(node: name)
    case .goodbye: await closed(name, epoch: epoch, clean: true)
    }
  }

  /// A session's connection ended.
  private func closed(_ name: String, epoch: UInt64, clean: Bool) async {
    guard var node = nodes[name], node.epoch == epoch, node.session != .lost, node.session != .left else { return }
    if clean {
      node.session = .left
      node.commands?.finish()
      node.commands = nil
      nodes[name] = node
      record(ObjectReference(.node, namespace: nil, name: name), "NodeLeft", "said goodbye")
      forsake(name, reason: "NodeLeft", message: "node \(name) left")
    } else if node.session == .joined || node.session == .suspect {
      node.session = .closed(at: elapsed())
      nodes[name] = node
    }
    publish(node: name)
  }

  /// Declares nodes suspect or lost by their silence.
  func lookForLosses() {
    let now = elapsed()
    for node in nodes.values {
      let silence = now - node.silentSince
      switch node.session {
      case .joined where silence > Limits.suspectAfter:
        nodes[node.name]?.session = .suspect
        publish(node: node.name)
      case .suspect where silence > Limits.lostAfter:
        lose(node.name, "silent for \(silence) ms")
      case .closed(let at) where now - at > Limits.reconnectWithin:
        lose(node.name, "its connection ended and did not come back within \(Limits.reconnectWithin) ms")
      default: break
      }
    }
  }

  private func lose(_ name: String, _ why: String) {
    nodes[name]?.session = .lost
    nodes[name]?.commands?.finish()
    nodes[name]?.commands = nil
    let count = pods.values.count { $0.node == name && $0.detail.life != .gone }
    record(
      ObjectReference(.node, namespace: nil, name: name), "NodeLost", "\(why); \(count) pods are replaced",
      warning: true)
    logger.warning("node lost", metadata: ["node.name": "\(name)", "reason": "\(why)", "pods": "\(count)"])
    forsake(name, reason: "NodeLost", message: "node \(name) was lost: \(why)")
    publish(node: name)
  }

  /// Buries the pods of a node that is gone, and replaces those that served.
  private func forsake(_ name: String, reason: String, message: String) {
    for pod in pods.values where pod.node == name && pod.detail.life != .gone {
      nodes[name]?.disowned.insert(pod.uid)
      bury(pod.uid, reason: reason, message: message, failed: true)
      replace(pod)
    }
  }

  /// Starts another pod for one that was lost while it counted, or, wanted since a time, never was there.
  func replace(_ pod: PodRecord, since: Timestamp? = nil) {
    guard pod.counts, let record = functions[pod.functionKey], record.function.metadata.uid == pod.functionUID,
      pod.revision == record.serving || pod.revision == record.latest
    else { return }
    let own = pods.sums(of: pod.functionKey).counting[pod.revision, default: 0]
    guard own < record.function.spec.scale.max else { return }
    createPod(pod.functionKey, revision: pod.revision, why: "replaces \(pod.name)", since: since)
  }

  /// Sends a command in a node's session.
  func send(_ action: NodeCommand.Action, to name: String) {
    guard var node = nodes[name], let commands = node.commands else { return }
    node.commandCounter += 1
    nodes[name] = node
    let command = NodeCommand(id: node.commandCounter, epoch: node.epoch, action: action)
    if case .dropped = commands.yield(command) {
      logger.error("a worker does not read its commands; its session is ended", metadata: ["node.name": "\(name)"])
      commands.finish()
    }
  }

  /// Writes a node's soft status.
  func publish(node name: String) {
    guard let node = nodes[name] else { return }
    let time = clock()
    var status = NodeStatus()
    var detail = NodeDetail(session: node.sessionName)
    let use = pods.use(of: name)
    detail.pods = use.pods
    detail.allocatedMemory = use.memory
    detail.allocatedMilliCPU = use.milliCPU
    detail.heardAt = node.hello == nil ? nil : node.heardAt
    if let hello = node.hello {
      detail.isolation = hello.isolation
      detail.egress = hello.egress
      detail.stems = node.joined && !node.stems.isEmpty ? node.stems : nil
      let capacity = [
        "cpu": Quantity(milliCores: hello.milliCPU).description, "memory": Quantity(bytes: hello.memory).description,
        "pods": String(hello.pods),
      ]
      status.capacity = capacity
      status.allocatable = capacity
      status.nodeInfo = hello.info
      let host = hello.address.map { String($0.prefix { $0 != ":" }) } ?? "127.0.0.1"
      status.addresses = [NodeAddress(type: "InternalIP", address: host), NodeAddress(type: "Hostname", address: name)]
    }
    var ready = Condition(
      type: "Ready", status: node.joined, reason: node.joined ? "Joined" : "Node\(node.sessionName.capitalized)",
      message: node.joined ? "the worker is heard" : "the worker is \(node.sessionName)", at: time)
    if !node.joined, node.session == .suspect { ready.status = "Unknown" }
    status.conditions = [ready]
    status.apus = detail
    overlay.update(node: name, status)
  }
}

extension Orchestrator: PodSecrets {
  /// The secrets of a pod for the worker that runs it.
  package func secrets(ofPod uid: String, node: String) async throws(APIStatus) -> [String: [String: [UInt8]]] {
    guard let pod = pods[uid], pod.node == node, pod.detail.life != .gone else {
      throw .forbidden("pod \(uid) is not placed on node \(node)")
    }
    var values: [String: [String: [UInt8]]] = [:]
    for name in Set(pod.template.secrets ?? []).union(pod.template.imageSecret.map { [$0] } ?? []) {
      guard let stored = try await objects.tree(.secret, pod.namespace, name) else { throw .notFound(.secret, name) }
      values[name] = try vault.opened(stored)
    }
    return values
  }
}
