import ClusterAPI
import ClusterModel
import Logging
import StateStore

/// Function → revision → the revision that serves.
extension Orchestrator {
  /// A function is new or changed.
  func changed(_ function: Function) {
    let key = "\(function.metadata.namespace ?? "default")/\(function.metadata.name)"
    if let known = functions[key], known.function.metadata.uid != function.metadata.uid { removed(key) }
    let before = functions[key]?.function
    if let version = before?.metadata.resourceVersion.flatMap(Int64.init),
      let newer = function.metadata.resourceVersion.flatMap(Int64.init), newer < version
    {
      return
    }
    var record = functions[key] ?? FunctionRecord(function: function)
    if before?.metadata.generation != function.metadata.generation { record.failure = nil }
    let route = functions[key]?.route
    record.function = function
    functions[key] = record
    noteSchedules(key)
    if record.route != route { broadcast(.function(record.route)) }
    if before?.spec.scale != function.spec.scale { limitPods(key) }
    reconcile(key)
  }

  /// A function was deleted: its route ends now, its pods finish what they run.
  func removed(_ key: String) {
    guard let record = functions.removeValue(forKey: key) else { return }
    noteSchedules(key)
    broadcast(
      .functionRemoved(
        namespace: record.function.metadata.namespace ?? "default", function: record.function.metadata.name))
    for uid in pods.uids(of: key) { drain(uid, reason: "FunctionDeleted", message: "its function was deleted") }
    usage.remove(key)
  }

  /// Drains pods above a lowered maximum, youngest first.
  func limitPods(_ key: String) {
    guard let record = functions[key] else { return }
    let own = pods.pods(of: key).filter { $0.counts && $0.revision == record.serving }
    let surplus = own.count - record.function.spec.scale.max
    guard surplus > 0 else { return }
    for pod in own.sorted(by: { $0.uid > $1.uid }).prefix(surplus) {
      drain(pod.uid, reason: "ScaledDown", message: "spec.scale.max is \(record.function.spec.scale.max)")
    }
  }

  /// Brings a function closer to its spec; takes no input but the name, is idempotent, one pass at a time.
  func reconcile(_ key: String) {
    guard reconciling.insert(key).inserted else {
      reconcileAgain.insert(key)
      return
    }
    Task {
      repeat {
        reconcileAgain.remove(key)
        do {
          try await pass(key)
        } catch {
          logger.warning("reconciling a function failed", metadata: ["function.name": "\(key)", "error": "\(error)"])
        }
      } while reconcileAgain.contains(key)
      reconciling.remove(key)
    }
  }

  private func pass(_ key: String) async throws(APIStatus) {
    guard let record = functions[key] else { return }
    let function = record.function
    if function.spec.hasNoCode {
      return try await condition(key, ready: false, "SourceMissing", "no code was deployed yet; run apus deploy")
    }
    if function.status?.observedGeneration != function.metadata.generation {
      // An image is in its registry; the workers say when they cannot get it.
      if let source = function.spec.source,
        !(try await artifacts.has(namespace: function.metadata.namespace ?? "default", digest: source.digest))
      {
        return try await condition(
          key, ready: false, "SourceMissing", "package \(source.digest) is not in the artifact store; deploy again")
      }
      try await makeRevision(key)
    }
    ensurePods(key)
  }

  /// Starts the pods a function must have whatever its traffic: one of an unproven revision, `min` of the serving one.
  func ensurePods(_ key: String) {
    guard let record = functions[key] else { return }
    if let failure = record.failure, failure.retryAt > clock() { return }
    let own = pods.sums(of: key).counting
    if let latest = record.latest, latest != record.serving, let revision = record.revisions[latest] {
      if revision.status?.proven == true {
        Task { try? await promote(key, latest) }
      } else if !failed(revision) {
        if own[latest] == nil {
          createPod(key, revision: latest, why: "first pod of a new revision")
        } else if pods.pods(of: key).contains(where: { $0.revision == latest && $0.detail.life == .ready }) {
          startProof(key, latest)
        }
      }
    }
    guard let serving = record.serving else { return }
    // They may be there already: the workers of the server before this one bring them back.
    if awaitsWorkers(at: clock(), atMost: Self.rejoinGrace) { return }
    let missing = record.function.spec.scale.min - own[serving, default: 0]
    for _ in 0..<max(0, min(missing, Self.startsPerTurn)) {
      createPod(key, revision: serving, why: "spec.scale.min is \(record.function.spec.scale.min)")
    }
  }

  private func failed(_ revision: Revision) -> Bool {
    revision.status?.conditions.contains { $0.type == "Ready" && $0.status == "False" } ?? false
  }

  /// Makes the revision of a function's current spec, or finds the one that has it already.
  private func makeRevision(_ key: String) async throws(APIStatus) {
    guard let record = functions[key] else { return }
    var function = record.function
    var status = function.status ?? FunctionStatus()
    let template = function.spec
    let same = record.revisions.values
      .filter { Self.sameTemplate($0.spec.template, template) }
      .max { $0.spec.number < $1.spec.number }
    var revision: Revision?
    if let same, !failed(same) || same.metadata.name != status.latestRevision {
      status.latestRevision = same.metadata.name
    } else {
      let largest = record.revisions.values.map(\.spec.number).max() ?? 0
      let number = max(status.lastRevisionNumber ?? 0, largest) + 1
      let made = newRevision(of: function, number: number)
      status.lastRevisionNumber = number
      status.latestRevision = made.metadata.name
      revision = made
    }
    status.observedGeneration = function.metadata.generation
    let proven = status.latestRevision == status.servingRevision
    status.conditions.set(
      Condition(
        type: "Ready", status: proven ? true : nil, reason: proven ? "Ready" : "Starting",
        message: "\(status.latestRevision ?? "") \(proven ? "serves" : "starts its first pod")", at: clock()))
    status.selector = "\(LabelKey.function)=\(function.metadata.name)"
    function.status = status
    guard try await write(function, with: revision) else { return }
    let revisionName = status.latestRevision ?? ""
    if let revision {
      functions[key]?.revisions[revisionName] = revision
      note(function, "RevisionCreated", "\(revisionName) was made of generation \(function.metadata.generation ?? 0)")
    }
  }

  private func note(_ function: Function, _ reason: String, _ message: String, warning: Bool = false) {
    record(
      ObjectReference(
        .function, namespace: function.metadata.namespace, name: function.metadata.name, uid: function.metadata.uid),
      reason, message, warning: warning)
  }

  private func newRevision(of function: Function, number: Int) -> Revision {
    let name = Revision.name(function: function.metadata.name, number: number)
    var metadata = ObjectMeta(name: name, namespace: function.metadata.namespace)
    metadata.uid = UUIDv7.make()
    metadata.creationTimestamp = clock().wholeSeconds
    metadata.generation = 1
    metadata.labels = [LabelKey.function: function.metadata.name]
    metadata.ownerReferences = [
      OwnerReference(
        apiVersion: function.apiVersion, kind: function.kind, name: function.metadata.name,
        uid: function.metadata.uid ?? "")
    ]
    return Revision(
      metadata: metadata, spec: RevisionSpec(function: function.metadata.name, number: number, template: function.spec))
  }

  /// Whether two specs make the same pods.
  static func sameTemplate(_ left: FunctionSpec, _ right: FunctionSpec) -> Bool {
    var left = left
    left.takeOwn(of: right)
    left.source?.size = right.source?.size
    return left == right
  }

  /// Writes a function's status and, with it, a new revision, in one commit that holds only for the function as read; false
  /// when somebody changed the function meanwhile, whose change's own event brings the next pass.
  private func write(_ function: Function, with revision: Revision?) async throws(APIStatus) -> Bool {
    let functionKey = ObjectKeys.key(.function, function.metadata.namespace, function.metadata.name)
    let read = Int64(function.metadata.resourceVersion ?? "") ?? 0
    var compares: [StoreCompare] = [.modRevision(functionKey, equals: read)]
    do {
      var operations: [StoreOperation] = [.put(functionKey, value: try ObjectStore.bytes(of: function), expires: nil)]
      if let revision {
        let key = ObjectKeys.key(.revision, function.metadata.namespace, revision.metadata.name)
        compares.append(.absent(key))
        operations.append(.put(key, value: try ObjectStore.bytes(of: revision), expires: nil))
      }
      let written = try await objects.durable.commit(compares, operations)
      var stored = function
      stored.metadata.resourceVersion = String(written)
      functions["\(function.metadata.namespace ?? "default")/\(function.metadata.name)"]?.function = stored
      return true
    } catch StoreError.conflict {
      return false
    } catch {
      throw ObjectStore.status(error, .function, function.metadata.name)
    }
  }

  /// Proves a revision beside what runs; what cannot be written now is tried again with the next look.
  func startProof(_ key: String, _ name: String) {
    guard proving.insert("\(key)/\(name)").inserted else { return }
    Task {
      do { try await prove(key, name) } catch {
        logger.warning("a revision could not be proven", metadata: ["error": "\(error)"])
      }
      proving.remove("\(key)/\(name)")
    }
  }

  /// Notes that a revision's pod was ready, and lets it serve when it is the newest.
  func prove(_ key: String, _ name: String) async throws(APIStatus) {
    guard let record = functions[key], let revision = record.revisions[name] else { return }
    let time = clock()
    if revision.status?.proven != true {
      let changed = try await objects.change(Revision.self, record.function.metadata.namespace, name) { revision in
        var status = revision.status ?? RevisionStatus()
        status.proven = true
        status.conditions.set(
          Condition(type: "Ready", status: true, reason: "Ready", message: "a pod of it was ready", at: time))
        revision.status = status
        return true
      }
      if let changed { functions[key]?.revisions[name] = changed }
    }
    if functions[key]?.latest == name { try await promote(key, name) }
  }

  /// Lets a proven revision take the traffic; pods of others drain.
  private func promote(_ key: String, _ name: String) async throws(APIStatus) {
    guard let record = functions[key], record.latest == name else { return }
    let time = clock()
    let changed = try await objects.change(
      Function.self, record.function.metadata.namespace, record.function.metadata.name
    ) { function in
      guard function.status?.latestRevision == name else { return false }
      function.status?.servingRevision = name
      function.status?.conditions.set(
        Condition(type: "Ready", status: true, reason: "Ready", message: "\(name) serves", at: time))
      return true
    }
    guard let changed, changed.status?.servingRevision == name else { return }
    let before = record.serving
    functions[key]?.function = changed
    functions[key]?.failure = nil
    if let route = functions[key]?.route { broadcast(.function(route)) }
    if before != name {
      note(changed, "RevisionServes", "\(name) takes the traffic\(before.map { " from \($0)" } ?? "")")
    }
    for uid in pods.uids(of: key) where pods[uid]?.counts == true && pods[uid]?.revision != name {
      drain(uid, reason: "RevisionReplaced", message: "\(name) serves now")
    }
    ensurePods(key)
    await collectRevisions(key)
  }

  /// A revision could not start: the function says so, and what served before goes on.
  func rejectRevision(_ key: String, _ name: String, _ message: String) async throws(APIStatus) {
    guard let record = functions[key] else { return }
    let time = clock()
    let changed = try await objects.change(Revision.self, record.function.metadata.namespace, name) { revision in
      var status = revision.status ?? RevisionStatus()
      status.conditions.set(
        Condition(type: "Ready", status: false, reason: "StartFailed", message: message, at: time))
      revision.status = status
      return true
    }
    if let changed { functions[key]?.revisions[name] = changed }
    let rest = record.serving.map { "; \($0) keeps serving" } ?? ""
    try await condition(key, ready: false, "RevisionFailed", "\(name) could not start\(rest): \(message)")
    note(record.function, "RevisionFailed", "\(name) could not start\(rest): \(message)", warning: true)
  }

  /// Sets the Ready condition of a function when it differs.
  func condition(_ key: String, ready: Bool, _ reason: String, _ message: String) async throws(APIStatus) {
    guard let record = functions[key] else { return }
    func stands(_ status: FunctionStatus?) -> Bool {
      let known = status?.conditions.first { $0.type == "Ready" }
      return known?.reason == reason && known?.message == message
    }
    if stands(record.function.status) { return }
    let time = clock()
    let changed = try await objects.change(
      Function.self, record.function.metadata.namespace, record.function.metadata.name
    ) { function in
      var status = function.status ?? FunctionStatus()
      if stands(status) { return false }
      status.conditions.set(Condition(type: "Ready", status: ready, reason: reason, message: message, at: time))
      function.status = status
      return true
    }
    if let changed { functions[key]?.function = changed }
  }

  /// Deletes revisions beyond the last `Limits.revisionsKept`, never the serving or the newest one.
  private func collectRevisions(_ key: String) async {
    guard let record = functions[key] else { return }
    let old = record.revisions.values.sorted { $0.spec.number > $1.spec.number }.dropFirst(Limits.revisionsKept)
    for revision in old where revision.metadata.name != record.serving && revision.metadata.name != record.latest {
      let path = ObjectKeys.key(.revision, revision.metadata.namespace, revision.metadata.name)
      do {
        _ = try await objects.durable.commit([], [.delete(path)])
        functions[key]?.revisions[revision.metadata.name] = nil
      } catch {
        logger.warning("an old revision could not be collected", metadata: ["error": "\(error)"])
      }
    }
  }

  /// Digests that some revision or function still names.
  package func referencedArtifacts() -> Set<String> {
    var digests: Set<String> = []
    for record in functions.values {
      if let source = record.function.spec.source { digests.insert(source.digest) }
      for revision in record.revisions.values { digests.insert(revision.spec.template.source?.digest ?? "") }
    }
    return digests
  }
}
