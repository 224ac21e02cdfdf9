package import ClusterAPI
package import ClusterModel
import StateStore

extension ResourceRegistry {
  /// Changes after a version; nil or "0" starts with every present object.
  package func watch(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) async throws(APIStatus) -> AsyncThrowingStream<WatchEvent, any Error> {
    var present: [JSONValue]?
    var start: Int64
    var soft: SoftChanges?
    if let resourceVersion, resourceVersion != "0", !resourceVersion.isEmpty {
      guard let revision = Int64(resourceVersion) else {
        throw .badRequest("resourceVersion \"\(resourceVersion)\" is not a number")
      }
      start = revision
      soft = softChanges(of: kind)
    } else {
      var everything = options
      everything.limit = 0
      everything.continueToken = nil
      // Before anything is read: what changes meanwhile is told.
      soft = softChanges(of: kind)
      do throws(APIStatus) {
        let list = try await list(kind, namespace: namespace, options: everything)
        present = list.items
        start = Int64(list.resourceVersion) ?? 0
      } catch {
        soft?.end()
        throw error
      }
    }
    let changes = objects.store(for: kind).watch(prefix: ObjectKeys.prefix(kind, namespace), after: start)
    let (initial, version, softly) = (present, String(start), soft)
    // What was there is in memory already; beyond it a watcher may fall behind by so much.
    let (stream, continuation) = AsyncThrowingStream.makeStream(
      of: WatchEvent.self, throwing: (any Error).self,
      bufferingPolicy: .bufferingOldest((initial?.count ?? 0) + Self.watchBuffer))
    let task = Task {
      defer { softly?.end() }
      do {
        if let initial {
          for object in initial { try Self.send(.added(object), continuation) }
          try Self.send(.bookmark(resourceVersion: version, endsInitial: true), continuation)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { try await self.forward(changes, kind, options, continuation) }
          if let softly {
            group.addTask { try await self.forwardSoft(softly, kind, namespace, options, continuation) }
          }
          try await group.next()
          group.cancelAll()
        }
        continuation.finish()
      } catch {
        continuation.finish(throwing: ObjectStore.status(error, kind, ""))
      }
    }
    continuation.onTermination = { _ in task.cancel() }
    return stream
  }

  private func softChanges(of kind: ResourceKind) -> SoftChanges? {
    kind == .function || kind == .node ? overlay.changes() : nil
  }

  /// Events one watcher may fall behind before its watch is ended.
  static let watchBuffer = 16_384

  private static func send(
    _ event: WatchEvent, _ continuation: AsyncThrowingStream<WatchEvent, any Error>.Continuation
  ) throws {
    if case .dropped = continuation.yield(event) {
      throw APIStatus.expired("this watch read too slowly; list again and watch from there")
    }
  }

  private func forward(
    _ changes: AsyncThrowingStream<StoreWatchBatch, any Error>, _ kind: ResourceKind, _ options: ListOptions,
    _ continuation: AsyncThrowingStream<WatchEvent, any Error>.Continuation
  ) async throws {
    for try await batch in changes {
      if batch.isProgress {
        try Self.send(.bookmark(resourceVersion: String(batch.revision)), continuation)
      }
      for event in batch.events {
        if let event = try translated(event, kind, options) { try Self.send(event, continuation) }
      }
    }
  }

  /// A store's event in the API's words, seen through the selectors.
  private func translated(
    _ event: StoreEvent, _ kind: ResourceKind, _ options: ListOptions
  ) throws -> WatchEvent? {
    let now = try event.object.map { shown(try ObjectStore.tree($0), kind) }
    let before = try event.previous.map { shown(try ObjectStore.tree($0), kind) }
    let isIn = now.map { matches($0, options) } ?? false
    let wasIn = before.map { matches($0, options) } ?? false
    switch (wasIn, isIn) {
    case (false, true): return now.map(WatchEvent.added)
    case (true, true): return now.map(WatchEvent.modified)
    case (true, false): return before.map { .deleted(Self.versioned($0, event.revision)) }
    case (false, false): return nil
    }
  }

  /// Objects whose soft status changed, as modifications that keep their resourceVersion.
  private func forwardSoft(
    _ changes: SoftChanges, _ kind: ResourceKind, _ namespace: String?, _ options: ListOptions,
    _ continuation: AsyncThrowingStream<WatchEvent, any Error>.Continuation
  ) async throws {
    for await _ in changes.signals {
      for path in changes.take() {
        let parts = path.split(separator: "/").map(String.init)
        guard parts.count == 3, parts[0] == kind.plural, namespace == nil || namespace == parts[1],
          options.fields.mayTake(name: parts[2]),
          let tree = try await objects.tree(kind, kind.namespaced ? parts[1] : nil, parts[2])
        else { continue }
        let object = shown(tree, kind)
        if matches(object, options) { try Self.send(.modified(object), continuation) }
      }
    }
  }
}
