import ClusterAPI
import ClusterModel
import FoundationEssentials
import Logging
import ServiceLifecycle
import StateStore
import Synchronization

/// Running calls: whose turn it is comes from the board, what an attempt means from `RetrySchedule`.
extension CallService {
  /// How often time alone is looked at: calls whose wait is over, results whose time is over; milliseconds.
  static let tickMilliseconds: Int64 = 100
  /// Pause before an end that the store did not take is written again, milliseconds.
  static let storePause: Int64 = 1000
  /// How often the store's history is forgotten, ticks.
  private static let compactTicks = 100
  /// Revisions of the store that are kept; nobody watches it.
  private static let revisionsKept: Int64 = 1000

  /// Runs calls until cancelled or told to shut down. Attempts that are under way then are given up; their calls wait
  /// for the next start.
  package func run() async {
    await cancelWhenGracefulShutdown {
      await withDiscardingTaskGroup { group in
        group.addTask { await self.tickForever() }
        for await _ in self.wakes {
          while let id = await self.next() { group.addTask { await self.attempt(id) } }
          while let (id, attempts) = self.board.withLock({ $0.nextCallback() }) {
            group.addTask { await self.callBack(id, attempts: attempts) }
          }
        }
        group.cancelAll()
      }
    }
  }

  /// The call whose turn it is, now running; nil when none may start.
  private func next() async -> String? {
    while let lane = board.withLock({ $0.nextLane }) {
      let parts = lane.split(separator: "/", maxSplits: 1).map(String.init)
      let route = await route(parts[0], parts[1])
      // Calls of a function that is gone run too: to their end as dead letters.
      let limit = route.map { max(1, $0.concurrency * $0.maxPods) } ?? Limits.asyncRunningOfFunction
      if let id = board.withLock({ $0.start(lane, atMost: limit) }) { return id }
    }
    return nil
  }

  private func tickForever() async {
    var ticks = 0
    while !Task.isCancelled {
      do { try await Task.sleep(for: .milliseconds(Self.tickMilliseconds)) } catch { return }
      let now = clock()
      if board.withLock({ $0.wake(now) }) { wake.yield() }
      await expire(now)
      ticks += 1
      if ticks % Self.compactTicks == 0 { await forgetHistory() }
    }
  }

  /// Removes results whose time is over.
  func expire(_ now: Timestamp) async {
    let limit = now.advanced(milliseconds: -options.resultTime)
    while true {
      let gone = board.withLock { $0.expire(before: limit, atMost: CallRecords.removedAtOnce) }
      guard !gone.isEmpty else { return }
      do {
        _ = try await store.commit(
          [], gone.flatMap { CallRecords.remove(CallRecords.name($1.namespace, $1.function, $0)) })
      } catch {
        // They are found again at the next start.
        return logger.warning("results could not be removed", metadata: ["error": "\(error)"])
      }
    }
  }

  private func forgetHistory() async {
    do {
      let head = await store.currentRevision
      if await store.oldestRevision + Self.revisionsKept < head {
        try await store.compact(before: head - Self.revisionsKept)
      }
    } catch {
      logger.warning("the history of calls could not be compacted", metadata: ["error": "\(error)"])
    }
  }

  // MARK: one attempt

  private func attempt(_ id: String) async {
    guard let entry = board.withLock({ $0.entries[id] }) else { return }
    let name = CallRecords.name(entry.namespace, entry.function, id)
    var call: AsyncCall?
    var outcome: CallOutcome
    var dead: String?
    do {
      call = try await CallRecords.call(name, in: store)
      if let call {
        (outcome, dead) = await invoke(call)
      } else {
        (outcome, dead) = (.broken("the call's record is gone"), "the call's record is gone")
      }
    } catch {
      outcome = .unreached("the call could not be read: \(error)")
    }
    // The server shuts down: nobody knows how far the attempt came.
    if Task.isCancelled { return board.withLock { $0.putBack(id) } }
    var attempts = entry.attempts
    if case .unreached = outcome {} else { attempts += 1 }
    let now = clock()
    var verdict = RetrySchedule.verdict(outcome, attempts: attempts, now: now, chance: .random(in: 0...1))
    if let dead { verdict = .dead(reason: dead) }
    await settle(id, name, call, outcome, verdict, attempts: attempts, at: now)
    wake.yield()
  }

  /// Calls the function, unless it is gone; then the second part says so.
  private func invoke(_ call: AsyncCall) async -> (CallOutcome, String?) {
    guard let route = await route(call.head.namespace, call.head.function) else {
      return (.broken("the function was deleted"), "the function was deleted before the call was run")
    }
    let patience = route.timeout.milliseconds + route.queueTimeout.milliseconds + Limits.asyncPatience
    return (await invoker.invoke(call, patience: patience), nil)
  }

  /// Makes durable what an attempt came to, then tells the board.
  private func settle(
    _ id: String, _ name: String, _ call: AsyncCall?, _ outcome: CallOutcome, _ verdict: RetrySchedule.Verdict,
    attempts: Int, at now: Timestamp
  ) async {
    var progress = CallRecords.Progress(state: .retrying, attempts: attempts)
    var body: [UInt8] = []
    if case .answered(let answer) = outcome {
      progress.status = answer.status
      progress.headers = answer.headers
      progress.seconds = answer.seconds
      progress.truncated = answer.truncated
      body = answer.body
    }
    let status = progress.status
    let function = board.withLock { $0.entries[id]?.lane } ?? ""
    switch verdict {
    case .retry(let at, let reason, let counts):
      metrics.ended(function, counts ? .retried : .unreached)
      // The answer of an attempt that is not the last is not kept; one that met nobody changes nothing durable.
      progress.next = at
      progress.reason = reason
      progress.headers = []
      let counted = counts ? attempts : max(0, board.withLock { $0.entries[id]?.attempts ?? 0 })
      if counts, await !write(progress, [], name, id) { return }
      board.withLock { $0.retry(id, at: at, attempts: counted, status: status, reason: reason) }
      logger.debug("an asynchronous call is tried again", metadata: ["call.id": "\(id)", "reason": "\(reason)"])
    case .done, .dead:
      progress.state = .done
      progress.ended = now
      progress.bytes = body.count
      if case .dead(let reason) = verdict {
        progress.state = .dead
        progress.reason = reason
        logger.info("an asynchronous call is a dead letter", metadata: ["call.id": "\(id)", "reason": "\(reason)"])
      }
      if call?.head.callback != nil { progress.callback = CallbackOutcome.waiting }
      guard await write(progress, body, name, id) else { return }
      let ended = progress
      metrics.ended(function, ended.state == .dead ? .dead : .done)
      board.withLock { board in
        board.end(
          id, dead: ended.state == .dead, at: now, attempts: attempts, status: status, reason: ended.reason,
          resultBytes: ended.bytes, callback: ended.callback != nil)
      }
    }
  }

  /// Writes what became of a call, again until the store takes it; false when the server shuts down before, and the
  /// call waits for the next start.
  private func write(_ progress: CallRecords.Progress, _ body: [UInt8], _ name: String, _ id: String) async -> Bool {
    while true {
      do {
        _ = try await store.commit([], CallRecords.put(progress, body: body, name))
        return true
      } catch {
        logger.warning("the end of a call could not be kept yet", metadata: ["call.id": "\(id)", "error": "\(error)"])
      }
      do { try await Task.sleep(for: .milliseconds(Self.storePause)) } catch {
        board.withLock { $0.putBack(id) }
        return false
      }
    }
  }

  // MARK: callbacks

  private func callBack(_ id: String, attempts: Int) async {
    var again: Timestamp?
    defer {
      board.withLock { $0.callbackEnded(id, again: again) }
      wake.yield()
    }
    guard let entry = board.withLock({ $0.entries[id] }) else { return }
    let name = CallRecords.name(entry.namespace, entry.function, id)
    guard let call = try? await CallRecords.call(name, in: store), let url = call.head.callback,
      let (end, body) = try? await CallRecords.end(name, in: store)
    else { return }
    var progress = end
    let post = CallbackPost(url: url, headers: Self.callbackHeaders(call.head, progress), body: body)
    let failure = await invoker.deliver(post, rules: options.callbacks)
    // At the next start it is sent again.
    if Task.isCancelled { return }
    if failure != nil, attempts + 1 < Limits.callbackAttempts {
      let wait = RetrySchedule.backoff(attempts: attempts + 1, chance: .random(in: 0...1))
      again = clock().advanced(milliseconds: wait)
      return metrics.called(entry.lane, .retried)
    }
    metrics.called(entry.lane, failure == nil ? .sent : .givenUp)
    progress.callback = failure ?? CallbackOutcome.sent
    if let failure {
      logger.info("a callback was given up", metadata: ["call.id": "\(id)", "reason": "\(failure)"])
    }
    // Reopened or removed meanwhile: then there is nothing to note.
    _ = try? await store.commit([.exists(CallRecords.ends + name)], CallRecords.put(progress, body: body, name))
  }

  /// The function's header fields, and ours (docs/async-calls.md).
  static func callbackHeaders(_ head: AsyncCall.Head, _ progress: CallRecords.Progress) -> [CallHeader] {
    let ours: Set<String> = ["x-call-id", "x-duration-seconds", "x-function-status", "x-function-name"]
    let label = head.namespace == "default" ? head.function : "\(head.function).\(head.namespace)"
    let microseconds = Int64(max(0, progress.seconds) * 1_000_000)
    let fraction = String(microseconds % 1_000_000)
    let seconds = "\(microseconds / 1_000_000)." + String(repeating: "0", count: 6 - fraction.utf8.count) + fraction
    return progress.headers.filter { !ours.contains($0.name.lowercased()) } + [
      CallHeader("X-Call-Id", head.id), CallHeader("X-Duration-Seconds", seconds),
      CallHeader("X-Function-Status", "\(progress.status ?? 503)"), CallHeader("X-Function-Name", label),
    ]
  }
}
