package import ClusterAPI
package import ClusterModel
package import Logging
package import StateStore
import Synchronization

/// Asynchronous calls: takes them durably, runs them at least once, keeps what came of them.
///
/// The board in memory decides, the store remembers: a call is acknowledged after its commit, an end is told after its
/// commit. One service owns a store; `prepare` loads it before anybody may enqueue.
package final class CallService: Sendable {
  /// How the service behaves.
  package struct Options: Sendable {
    /// How long a result is kept, milliseconds.
    package var resultTime: Int64
    /// Which addresses callbacks may go to.
    package var callbacks: CallbackRules

    /// Options; the defaults are those of `Limits`.
    package init(
      resultTime: Int64 = Limits.asyncResultTime.milliseconds, callbacks: CallbackRules = CallbackRules()
    ) {
      self.resultTime = resultTime
      self.callbacks = callbacks
    }
  }

  let store: any StateStore
  let options: Options
  let route: @Sendable (_ namespace: String, _ function: String) async -> FunctionRoute?
  let invoker: any CallInvoker
  let clock: @Sendable () -> Timestamp
  let logger: Logger
  let board = Mutex(CallBoard())
  let metrics = CallMetrics()
  /// Says that something may start.
  let wakes: AsyncStream<Void>
  let wake: AsyncStream<Void>.Continuation

  /// A service over a store of its own. `route` answers a function's limits, nil when there is no such function.
  package init(
    store: any StateStore, options: Options = Options(), invoker: any CallInvoker, logger: Logger,
    clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
    route: @escaping @Sendable (_ namespace: String, _ function: String) async -> FunctionRoute?
  ) {
    self.store = store
    self.options = options
    self.invoker = invoker
    self.logger = logger
    self.clock = clock
    self.route = route
    (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
  }

  /// Loads every call that was acknowledged; before anybody enqueues. Those that were running wait again.
  package func prepare() async throws {
    var progress: [String: CallRecords.Progress] = [:]
    try await each(CallRecords.ends) { name, value in
      progress[name] = try CallRecords.read(CallRecords.Progress.self, value)
    }
    var open: [(id: String, entry: CallBoard.Entry)] = []
    var done: [(id: String, entry: CallBoard.Entry)] = []
    try await each(CallRecords.calls) { name, value in
      let request = try CallRecords.read(CallRecords.Request.self, value)
      let entry = Self.entry(request, value.count, progress.removeValue(forKey: name))
      if entry.phase == .done { done.append((request.head.id, entry)) } else { open.append((request.head.id, entry)) }
    }
    open.sort { ($0.entry.enqueued, $0.id) < ($1.entry.enqueued, $1.id) }
    done.sort { ($0.entry.ended ?? $0.entry.enqueued, $0.id) < ($1.entry.ended ?? $1.entry.enqueued, $1.id) }
    board.withLock { board in for (id, entry) in open + done { board.restore(id, entry) } }
    if !open.isEmpty { logger.notice("asynchronous calls wait", metadata: ["calls": "\(open.count)"]) }
    wake.yield()
  }

  private func each(_ prefix: String, _ body: (String, [UInt8]) throws -> Void) async throws {
    var after: String?
    repeat {
      let page = try await store.list(prefix: prefix, after: after, limit: StoreLimits.pageItemsMax, at: nil)
      for object in page.items {
        do {
          try body(String(object.key.dropFirst(prefix.count)), object.value)
        } catch {
          logger.error("a stored call cannot be read and is left alone", metadata: ["key": "\(object.key)"])
        }
      }
      after = page.next
    } while after != nil
  }

  private static func entry(
    _ request: CallRecords.Request, _ record: Int, _ progress: CallRecords.Progress?
  ) -> CallBoard.Entry {
    let head = request.head
    var entry = CallBoard.Entry(
      namespace: head.namespace, function: head.function, enqueued: head.enqueued,
      bytes: weight(head, request.bytes), phase: .ready)
    guard let progress else { return entry }
    entry.attempts = progress.attempts
    entry.ended = progress.ended
    entry.status = progress.status
    entry.reason = progress.reason
    entry.resultBytes = progress.bytes
    switch progress.state {
    case .queued, .running: break
    case .retrying: if let next = progress.next { entry.phase = .waiting(until: next) }
    case .done: entry.phase = .done
    case .dead: entry.phase = .dead
    }
    if progress.callback == CallbackOutcome.waiting { entry.callback = .waiting(attempts: 0) }
    return entry
  }

  /// Bytes a request counts for: its body, and what stands before it.
  private static func weight(_ head: AsyncCall.Head, _ body: Int) -> Int {
    head.headers.reduce(body + head.path.utf8.count + 256) { $0 + $1.name.utf8.count + $1.value.utf8.count }
  }

  /// What stands in a record about its callback, besides why it was given up.
  enum CallbackOutcome {
    static let waiting = "waiting"
    static let sent = "sent"
  }
}

extension CallService: CallQueue {
  /// Puts a call into its function's queue; returns once it is durable.
  package func enqueue(_ call: AsyncCall) async throws(APIStatus) { try await enqueue(call, with: []) }

  /// The same, with something else that becomes durable with the call, or not at all.
  func enqueue(_ call: AsyncCall, with operations: [StoreOperation]) async throws(APIStatus) {
    let head = call.head
    try Self.check(call)
    guard await route(head.namespace, head.function) != nil else { throw .notFound(.function, head.function) }
    let bytes = Self.weight(head, call.body.count)
    let admitted: Result<Void, CallBoard.Refusal> = board.withLock { board in
      do throws(CallBoard.Refusal) {
        return .success(try board.admit(head.id, head, bytes: bytes))
      } catch {
        return .failure(error)
      }
    }
    if case .failure(let refusal) = admitted { throw Self.status(refusal, head.id, head.function) }
    let name = CallRecords.name(head.namespace, head.function, head.id)
    do {
      _ = try await store.commit([.absent(CallRecords.calls + name)], CallRecords.put(call) + operations)
    } catch {
      board.withLock { $0.abandon(head.id) }
      throw Self.status(error)
    }
    board.withLock { $0.written(head.id) }
    metrics.taken("\(head.namespace)/\(head.function)")
    wake.yield()
  }

  /// What became of a call, for the holder of the credential it was sent with.
  package func result(_ id: String, owner: String) async throws(APIStatus) -> CallDetail {
    guard let namespace = board.withLock({ $0.entries[id]?.namespace }),
      let detail = try? await show(namespace: namespace, id: id), detail.owner == owner
    else {
      throw APIStatus(
        code: 404, reason: "NotFound",
        message: "this credential sent no call \"\(id)\" that is still kept; results are shown to the credential that "
          + "sent the call, for a time")
    }
    return detail
  }

  /// Makes something durable beside the calls.
  func write(_ operations: [StoreOperation]) async throws(APIStatus) {
    do { _ = try await store.commit([], operations) } catch { throw Self.status(error) }
  }

  /// Whether a call waits or runs.
  func isOpen(_ id: String) -> Bool {
    board.withLock { board in
      guard let phase = board.entries[id]?.phase else { return false }
      return phase != .done && phase != .dead
    }
  }

  private static func check(_ call: AsyncCall) throws(APIStatus) {
    guard call.body.count <= Limits.asyncBody else {
      throw .tooLarge("the body is larger than the \(Limits.asyncBody) bytes an asynchronous call may have")
    }
    let id = call.head.id.utf8
    let isID =
      (1...64).contains(id.count)
      && id.allSatisfy { byte in
        (97...122).contains(byte) || (65...90).contains(byte) || (45...46).contains(byte) || byte == 95
          || (48...58).contains(byte)
      }
    guard isID else { throw .badRequest("the call id is none: ^[A-Za-z0-9._:-]{1,64}$") }
    if let url = call.head.callback, case .failure(let fault) = CallbackRules.check(url) {
      throw .badRequest(fault.message)
    }
  }

  static func status(_ refusal: CallBoard.Refusal, _ id: String, _ function: String) -> APIStatus {
    switch refusal {
    case .known:
      APIStatus(code: 409, reason: "AlreadyExists", message: "call \"\(id)\" is known already; take another X-Call-Id")
    case .full(let why):
      .tooManyRequests("the queue of function \"\(function)\" is full: \(why)", retryAfterSeconds: 1)
    }
  }

  static func status(_ error: StoreError) -> APIStatus {
    switch error {
    case .full: .storageFull("the call could not be kept: \(error)")
    case .overloaded: .tooManyRequests("the call could not be kept: \(error)", retryAfterSeconds: 1)
    case .conflict:
      APIStatus(code: 409, reason: "AlreadyExists", message: "this call is known already; take another X-Call-Id")
    default: .unavailable("the call could not be kept: \(error)")
    }
  }
}

extension CallService: CallCatalog {
  /// Calls of a namespace, oldest first.
  package func list(_ filter: CallFilter) async throws(APIStatus) -> [CallSummary] {
    board.withLock { $0.list(filter) }
  }

  /// One call with its result.
  package func show(namespace: String, id: String) async throws(APIStatus) -> CallDetail {
    let entry = try entry(namespace, id)
    let name = CallRecords.name(namespace, entry.function, id)
    do {
      guard let call = try await CallRecords.call(name, in: store) else { throw Self.missing(id, namespace) }
      let end = try await CallRecords.end(name, in: store)
      let result = end.flatMap { progress, body in
        progress.status.map {
          CallDetail.Result(
            status: $0, headers: progress.headers, body: .init(body), truncated: progress.truncated,
            seconds: progress.seconds)
        }
      }
      return CallDetail(
        call: entry.summary(id), method: call.head.method, path: call.head.path.isEmpty ? "/" : call.head.path,
        bodyBytes: call.body.count, callback: call.head.callback, callbackOutcome: end?.0.callback, result: result,
        owner: call.head.owner)
    } catch let status as APIStatus {
      throw status
    } catch {
      throw .unavailable("the call could not be read: \(error)")
    }
  }

  /// Queues a dead letter, or a call that is done, once more.
  package func retry(namespace: String, id: String) async throws(APIStatus) -> CallSummary {
    let before = try entry(namespace, id)
    let reopened: Result<Bool, CallBoard.Refusal> = board.withLock { board in
      do throws(CallBoard.Refusal) { return .success(try board.reopen(id)) } catch { return .failure(error) }
    }
    switch reopened {
    case .failure(let refusal): throw Self.status(refusal, id, before.function)
    case .success(false):
      throw APIStatus(
        code: 409, reason: "Conflict",
        message: "call \"\(id)\" is \(before.state.rawValue); it runs without being asked")
    case .success(true): break
    }
    do {
      let name = CallRecords.name(namespace, before.function, id)
      _ = try await store.commit([.exists(CallRecords.calls + name)], CallRecords.removeEnd(name))
    } catch {
      board.withLock { $0.reopenFailed(id, dead: before.phase == .dead) }
      throw Self.status(error)
    }
    board.withLock { $0.reopened(id) }
    wake.yield()
    return try entry(namespace, id).summary(id)
  }

  /// Removes the dead letters of a function.
  package func purge(namespace: String, function: String) async throws(APIStatus) -> Int {
    let ids = board.withLock { $0.deadLetters("\(namespace)/\(function)") }
    var removed = 0
    while removed < ids.count {
      let batch = ids[removed..<min(ids.count, removed + CallRecords.removedAtOnce)]
      do {
        _ = try await store.commit(
          [], batch.flatMap { CallRecords.remove(CallRecords.name(namespace, function, $0)) })
      } catch {
        throw Self.status(error)
      }
      board.withLock { board in for id in batch { board.purged(id) } }
      removed += batch.count
    }
    return removed
  }

  private func entry(_ namespace: String, _ id: String) throws(APIStatus) -> CallBoard.Entry {
    guard let entry = board.withLock({ $0.entries[id] }), entry.namespace == namespace else {
      throw Self.missing(id, namespace)
    }
    return entry
  }

  private static func missing(_ id: String, _ namespace: String) -> APIStatus {
    APIStatus(
      code: 404, reason: "NotFound",
      message: "call \"\(id)\" is not kept in namespace \"\(namespace)\"; results are kept for a time only")
  }
}
