/// A commit that waits for the writer.
struct CommitRequest: Sendable {
  let compares: [StoreCompare]
  let operations: [StoreOperation]
  let bytes: Int
  let reply: CheckedContinuation<Result<Int64, StoreError>, Never>
}

/// The commits that wait for the one writer, in order of arrival. Pure: the store acts on what it answers.
struct CommitQueue {
  enum Enqueued {
    /// The writer is at work and will come to it.
    case queued
    /// Nobody writes: start the writer.
    case startWriter
    case refused(StoreError)
  }

  enum Finished {
    /// More is waiting: go on.
    case writeOn
    /// Nothing waits; tell those who waited for that.
    case idle([CheckedContinuation<Void, Never>])
  }

  private var pending: [CommitRequest] = []
  private var first = 0
  private var pendingBytes = 0
  private var writing = false
  private var refusal: StoreError?
  private var idleWaiters: [CheckedContinuation<Void, Never>] = []

  init() {}

  mutating func enqueue(_ request: CommitRequest) -> Enqueued {
    if let refusal { return .refused(refusal) }
    let waiting = pending.count - first
    guard waiting < StoreLimits.pendingCommitsMax, pendingBytes + request.bytes <= StoreLimits.pendingBytesMax else {
      return .refused(.overloaded(pending: waiting))
    }
    pending.append(request)
    pendingBytes += request.bytes
    if writing { return .queued }
    writing = true
    return .startWriter
  }

  /// The next commits to share a transaction.
  mutating func nextGroup() -> [CommitRequest] {
    var group: [CommitRequest] = []
    var bytes = 0
    while first < pending.count, group.count < StoreLimits.groupCommitsMax {
      let request = pending[first]
      if !group.isEmpty, bytes + request.bytes > StoreLimits.groupBytesMax { break }
      group.append(request)
      bytes += request.bytes
      first += 1
    }
    pendingBytes -= bytes
    if first == pending.count {
      pending.removeAll(keepingCapacity: true)
      first = 0
    }
    return group
  }

  mutating func finishGroup() -> Finished {
    if first < pending.count { return .writeOn }
    writing = false
    defer { idleWaiters = [] }
    return .idle(idleWaiters)
  }

  /// From now on every new commit gets this answer; the first reason stays.
  mutating func refuse(_ error: StoreError) {
    if refusal == nil { refusal = error }
  }

  /// Registers a continuation for the end of all waiting commits; false when nothing waits.
  mutating func whenIdle(_ continuation: CheckedContinuation<Void, Never>) -> Bool {
    guard writing else { return false }
    idleWaiters.append(continuation)
    return true
  }
}
