import ClusterAPI
import ClusterModel
import Synchronization

/// The pods of this node: who they are, their slots, and what each last reported.
final class PodTable: Sendable {
  /// How long a pod that the server does not want to keep has after SIGTERM, milliseconds: it was replaced elsewhere.
  static let unwantedGrace: Int64 = 1000

  private struct Entry {
    var runner: PodRunner
    var assignment: PodAssignment
    var report: PodReport?
  }

  private struct State {
    var pods: [String: Entry] = [:]
    var slots: SlotTable
    var closed = false
    var emptied: [AsyncStream<Void>.Continuation] = []
  }

  private let limit: Int
  private let outbox: Outbox
  private let state: Mutex<State>

  /// A table without pods, for `limit` of them at most, whose slots begin at `firstSlot`.
  init(limit: Int, firstSlot: Int = 0, outbox: Outbox) {
    self.limit = limit
    self.outbox = outbox
    state = Mutex(State(slots: SlotTable(first: firstSlot, count: limit + StemPlan.most)))
  }

  /// A slot for a stem; nil when all are taken.
  func takeSlot() -> Int? { state.withLock { $0.slots.take() } }

  /// Gives a slot back that no pod had.
  func giveSlot(_ slot: Int) { state.withLock { $0.slots.give(slot) } }

  /// Starts a pod; does nothing when it is here already.
  func start(_ assignment: PodAssignment, services: PodServices) async {
    enum Answer { case known, refused(String), started(PodRunner) }
    let answer = state.withLock { state -> Answer in
      if state.pods[assignment.uid] != nil { return .known }
      if state.closed { return .refused("the worker is stopping") }
      // The stem's slot, if there is a stem, is the pod's now.
      let stem = state.pods.count < limit ? Self.stem(for: assignment, services) : nil
      guard state.pods.count < limit, let slot = stem?.slot ?? state.slots.take() else {
        return .refused("the node has \(state.pods.count) pods of at most \(limit)")
      }
      let runner = PodRunner(assignment, slot: slot, stem: stem, services: services)
      state.pods[assignment.uid] = Entry(runner: runner, assignment: assignment)
      return .started(runner)
    }
    switch answer {
    case .known: break
    case .refused(let why): outbox.put(Self.refusal(assignment, why))
    case .started(let runner): await runner.begin()
    }
  }

  private static func stem(for assignment: PodAssignment, _ services: PodServices) -> WaitingStem? {
    StemKind(assignment.spec.template, namespace: assignment.namespace).flatMap { services.stems.take($0) }
  }

  /// Keeps only the pods the server names.
  func keep(_ uids: [String]) async {
    let wanted = Set(uids)
    for runner in runners(where: { !wanted.contains($0) }) { await runner.stop(graceMilliseconds: Self.unwantedGrace) }
  }

  /// Lets a pod take no new work.
  func drain(_ uid: String) async { await runner(uid)?.drain() }

  /// Stops a pod.
  func stop(_ uid: String, graceMilliseconds: Int64) async {
    await runner(uid)?.stop(graceMilliseconds: graceMilliseconds)
  }

  /// Lets every pod take no new work, and takes no new pod.
  func drainAll() async {
    state.withLock { $0.closed = true }
    for runner in runners(where: { _ in true }) { await runner.drain() }
  }

  /// Stops every pod with its function's grace; answers the longest.
  func stopAll() async -> Int64 {
    let all = state.withLock { state in
      state.closed = true
      return state.pods.values.map { ($0.runner, $0.assignment.spec.template.grace.milliseconds) }
    }
    for (runner, grace) in all { await runner.stop(graceMilliseconds: grace) }
    return all.map(\.1).max() ?? 0
  }

  /// Asks every pod for its memory.
  func sampleMemory() async { for runner in runners(where: { _ in true }) { await runner.sampleMemory() } }

  /// Notes what a pod reports, and passes it on.
  func note(_ report: PodReport) {
    state.withLock { $0.pods[report.uid]?.report = report }
    outbox.put(report)
  }

  /// A pod is gone for good; its slot is free again.
  func finished(_ uid: String, slot: Int) {
    let waiters = state.withLock { state -> [AsyncStream<Void>.Continuation] in
      state.pods[uid] = nil
      state.slots.give(slot)
      guard state.pods.isEmpty else { return [] }
      defer { state.emptied = [] }
      return state.emptied
    }
    for waiter in waiters { waiter.finish() }
  }

  /// Waits until there is no pod; cancellable.
  func untilEmpty() async {
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    let empty = state.withLock { state -> Bool in
      if !state.pods.isEmpty { state.emptied.append(continuation) }
      return state.pods.isEmpty
    }
    if empty { return }
    for await _ in stream {}
  }

  /// The newest report of every pod that is not gone.
  var reports: [PodReport] {
    state.withLock { $0.pods.values.compactMap(\.report).filter { $0.detail.life != .gone } }
  }

  /// The socket of a pod that may be connected to.
  func socketPath(_ uid: String) -> String? {
    state.withLock { $0.pods[uid]?.report?.detail.endpoint?.socket }
  }

  /// Whether a pod is on its way to being ready.
  var isStarting: Bool {
    state.withLock { $0.pods.values.contains { ($0.report?.detail.life ?? .starting) == .starting } }
  }

  /// Pods here now.
  var count: Int { state.withLock { $0.pods.count } }

  private func runner(_ uid: String) -> PodRunner? { state.withLock { $0.pods[uid]?.runner } }

  private func runners(where wanted: (String) -> Bool) -> [PodRunner] {
    state.withLock { $0.pods.filter { wanted($0.key) }.map(\.value.runner) }
  }

  private static func refusal(_ assignment: PodAssignment, _ why: String) -> PodReport {
    var detail = PodDetail(function: assignment.spec.function, revision: assignment.revision, life: .placed)
    detail.enter(.gone, at: .now(), reason: PodDetail.refused, message: why)
    detail.failed = true
    detail.everReady = false
    return PodReport(uid: assignment.uid, name: assignment.name, namespace: assignment.namespace, detail: detail)
  }
}
