/// What a watcher reads when the ring no longer reaches back to it.
protocol WatchHistory: Sendable {
  /// Throws when a watch cannot begin after `revision`.
  func checkWatch(after revision: Int64) async throws(StoreError)
  /// The matching batches after `revision` up to at most `head`, a bounded number, and how far they reach.
  func history(prefix: String, after revision: Int64, head: Int64) async throws(StoreError) -> WatchHistoryPage
}

/// A bounded piece of the log.
struct WatchHistoryPage: Sendable {
  let batches: [StoreWatchBatch]
  /// Everything up to and including this revision is in `batches`.
  let through: Int64
}

/// One watch: pulls the batches its consumer asks for, from the ring or the log, and waits at the head.
actor Watcher {
  private let hub: WatchHub
  private let history: any WatchHistory
  private let prefix: String
  /// Everything up to here was looked at.
  private var cursor: Int64
  /// Everything up to here was told to the consumer.
  private var reported: Int64
  private var ready: ArraySlice<StoreWatchBatch> = []
  private var started = false
  /// True once the watch first reached the head.
  private var caughtUp = false

  init(hub: WatchHub, history: any WatchHistory, prefix: String, after revision: Int64) {
    self.hub = hub
    self.history = history
    self.prefix = prefix
    cursor = revision
    reported = revision
  }

  /// The stream a consumer iterates; it pulls, nothing runs in between.
  static func stream(
    hub: WatchHub, history: any WatchHistory, prefix: String, after revision: Int64
  ) -> AsyncThrowingStream<StoreWatchBatch, any Error> {
    let watcher = Watcher(hub: hub, history: history, prefix: prefix, after: revision)
    return AsyncThrowingStream { try await watcher.next() }
  }

  /// The next batch; nil when the consuming task is cancelled.
  func next() async throws(StoreError) -> StoreWatchBatch? {
    do {
      return try await find()
    } catch .cancelled {
      return nil
    }
  }

  private func find() async throws(StoreError) -> StoreWatchBatch? {
    if !started {
      started = true
      try await history.checkWatch(after: cursor)
    }
    while !Task.isCancelled {
      if let batch = ready.popFirst() {
        reported = batch.revision
        return batch
      }
      if cursor - reported >= StoreLimits.progressRevisions { return progress() }
      switch hub.look(prefix: prefix, after: cursor) {
      case .found(let batches, let through):
        ready = batches[...]
        cursor = through
      case .behind(let head):
        let page = try await history.history(prefix: prefix, after: cursor, head: head)
        ready = page.batches[...]
        cursor = page.through
      case .current:
        if !caughtUp {
          caughtUp = true
          if cursor > reported { return progress() }  // the consumer learns that the past is complete
        }
        switch await hub.wait(prefix: prefix, cursor: cursor, reported: reported) {
        case .news(let cursor): self.cursor = cursor
        case .cancelled: return nil
        case .closed: throw .closed
        }
      case .closed: throw .closed
      }
    }
    return nil
  }

  private func progress() -> StoreWatchBatch {
    reported = cursor
    return StoreWatchBatch(revision: cursor, events: [])
  }
}
