import ClusterAPI
import ClusterModel
import Crypto
import FoundationEssentials
import Logging
import ServiceLifecycle
import StateStore
import Synchronization

/// Puts calls of functions with a `schedule` into the queue of asynchronous calls when their time comes.
///
/// `ScheduleBoard` decides; a run and the note that it was run are one commit, so that no restart runs a time twice or
/// forgets one. The call id follows from function, schedule and time, so that a second try finds the first.
package final class ScheduleService: Sendable {
  /// How often the clock is looked at, milliseconds: how late a run may be.
  static let tickMilliseconds: Int64 = 100
  /// Where schedules are kept in the store of calls.
  static let prefix = "schedules/"

  private let calls: CallService
  private let overlay: SoftOverlay
  private let events: EventRecorder
  private let functions: @Sendable (_ since: Int64) async -> (version: Int64, functions: [ScheduledFunction])?
  private let logger: Logger
  let board = Mutex(ScheduleBoard())
  private let state = Mutex(State())

  private struct State {
    var version: Int64 = -1
    /// Records as they were found at the start, until they are matched with the functions.
    var kept: [ScheduleBoard.Key: ScheduleBoard.Record]?
    /// Functions whose schedules are shown.
    var shown: Set<String> = []
  }

  /// Schedules over a queue of calls. `functions` answers all functions with schedules and the version of that list,
  /// nil when it is still the one named.
  init(
    calls: CallService, overlay: SoftOverlay, events: EventRecorder, logger: Logger,
    functions: @escaping @Sendable (_ since: Int64) async -> (version: Int64, functions: [ScheduledFunction])?
  ) {
    self.calls = calls
    self.overlay = overlay
    self.events = events
    self.logger = logger
    self.functions = functions
  }

  /// Loads what was kept; before `run`.
  package func prepare() async throws {
    var kept: [ScheduleBoard.Key: ScheduleBoard.Record] = [:]
    for object in try await calls.store.listAll(prefix: Self.prefix).items {
      let parts = object.key.dropFirst(Self.prefix.count).split(separator: "/").map(String.init)
      guard parts.count == 4,
        let record = try? JSONDecoder().decode(ScheduleBoard.Record.self, from: Data(object.value))
      else {
        logger.error("a stored schedule cannot be read and is left alone", metadata: ["key": "\(object.key)"])
        continue
      }
      kept[.init(namespace: parts[0], function: parts[1], uid: parts[2], name: parts[3])] = record
    }
    state.withLock { $0.kept = kept }
  }

  /// Follows the schedules until cancelled or told to shut down.
  package func run() async {
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        await self.tick()
        do { try await Task.sleep(for: .milliseconds(Self.tickMilliseconds)) } catch { return }
      }
    }
  }

  /// One look at functions and clock; separate from the timer so that tests can turn the clock themselves.
  func tick() async {
    await follow()
    let now = calls.clock()
    while true {
      let steps = board.withLock { $0.due(now, atMost: Limits.scheduledAtOnce, isOpen: calls.isOpen) }
      guard !steps.isEmpty else { return }
      // At once, so that they share a transaction.
      await withDiscardingTaskGroup { group in
        for step in steps { group.addTask { await self.take(step, at: now) } }
      }
      for function in Set(steps.map { "\($0.key.namespace)/\($0.key.function)" }) { show(function) }
    }
  }

  private func follow() async {
    guard let (version, functions) = await functions(state.withLock { $0.version }) else { return }
    let kept = state.withLock { state in
      state.version = version
      defer { state.kept = nil }
      return state.kept
    }
    let now = calls.clock()
    let (changed, gone) = board.withLock {
      $0.follow(functions, kept: kept ?? [:], isStart: kept != nil, at: now)
    }
    var operations = gone.map { StoreOperation.delete(Self.prefix + $0.path) }
    operations += changed.map { Self.put($0.key, $0.value) }
    for start in stride(from: 0, to: operations.count, by: StoreLimits.operationsMax) {
      do {
        _ = try await calls.store.commit(
          [], Array(operations[start..<min(operations.count, start + StoreLimits.operationsMax)]))
      } catch {
        // The next run writes it; until then a restart begins later than it should.
        logger.warning("the beginning of schedules could not be kept", metadata: ["error": "\(error)"])
      }
    }
    let present = Set(functions.map(\.key))
    let before = state.withLock { state in
      defer { state.shown = present }
      return state.shown
    }
    for function in present.union(before) { show(function) }
  }

  private func show(_ function: String) {
    let statuses = board.withLock { $0.statuses(of: function) }
    overlay.update(function) { $0.schedules = statuses }
  }

  /// Makes a step durable: the record, and with it the call.
  private func take(_ step: ScheduleBoard.Step, at now: Timestamp) async {
    let operations = [Self.put(step.key, step.record)]
    do throws(APIStatus) {
      if let time = step.run, let spec = board.withLock({ $0.lines[step.key]?.spec }) {
        do throws(APIStatus) {
          try await calls.enqueue(Self.call(step.key, spec, time, at: now), with: operations)
        } catch  where error.code == 409 {
          // It is queued already: then only the note of it is missing.
          try await calls.write(operations)
        }
      } else {
        try await calls.write(operations)
      }
    } catch {
      board.withLock { $0.failed(step, why: error.message, at: now) }
      logger.warning(
        "a scheduled run could not be queued yet",
        metadata: ["function.name": "\(step.key.function)", "error": "\(error.message)"])
      return
    }
    board.withLock { $0.settle(step) }
    let function = "\(step.key.namespace)/\(step.key.function)"
    if step.run != nil { calls.metrics.scheduled(function) }
    for note in step.notes { await tell(note, step.key, function, at: now) }
  }

  private func tell(
    _ note: ScheduleBoard.Note, _ key: ScheduleBoard.Key, _ function: String, at now: Timestamp
  ) async {
    let object = ObjectReference(.function, namespace: key.namespace, name: key.function, uid: key.uid)
    switch note {
    case .missed(let count, let isMore, let why):
      calls.metrics.missed(function, count)
      let runs = isMore ? "more than \(count) runs" : count == 1 ? "1 run" : "\(count) runs"
      await events.record(
        object, reason: "ScheduleMissed", message: "schedule \"\(key.name)\" missed \(runs): \(why)", warning: true,
        at: now)
    case .skipped:
      calls.metrics.skipped(function)
      await events.record(
        object, reason: "ScheduleSkipped",
        message: "schedule \"\(key.name)\" left a run out: the one before is not over (concurrencyPolicy Forbid)",
        at: now)
    }
  }

  private static func put(_ key: ScheduleBoard.Key, _ record: ScheduleBoard.Record) -> StoreOperation {
    // Texts, numbers and times always encode.
    .put(prefix + key.path, value: Array((try? JSONCoding.encoder.encode(record)) ?? Data()))
  }

  /// The call of a run.
  static func call(_ key: ScheduleBoard.Key, _ spec: ScheduleSpec, _ time: Timestamp, at now: Timestamp) -> AsyncCall {
    var headers = [
      CallHeader("host", "localhost"), CallHeader("x-apus-schedule", spec.name),
      CallHeader("x-apus-scheduled-time", time.description),
    ]
    if let type = spec.call.contentType { headers.append(CallHeader("content-type", type)) }
    return AsyncCall(
      .init(
        id: callID(key, time), namespace: key.namespace, function: key.function, method: spec.call.method,
        path: spec.call.path, headers: headers, enqueued: now), body: Array((spec.call.body ?? "").utf8))
  }

  /// The call id of a run: the same for the same function, schedule and time.
  static func callID(_ key: ScheduleBoard.Key, _ time: Timestamp) -> String {
    let hash = SHA256.hash(data: Data("\(key.uid)/\(key.name)".utf8)).prefix(8)
    return "schedule-\(hash.hex)-\(time.milliseconds / 1000)"
  }
}
