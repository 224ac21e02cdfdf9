package import ClusterAPI
package import ClusterModel

/// A watch that outlives connections: it lists, watches from there, watches again after a break, lists again on 410.
package struct ResumingWatch: Sendable {
  /// What the watcher hears.
  package enum Update: Sendable, Hashable {
    /// Everything there is; what was known before and is not in it is gone.
    case listed(ResourceList)
    /// One change (never a bookmark).
    case changed(WatchEvent)
    /// The connection broke; it is tried again by itself.
    case interrupted(APIStatus)
  }

  private let resources: any ResourceService
  private let kind: ResourceKind
  private let namespace: String?
  private let options: ListOptions
  private let retry: RetryPolicy

  /// A watch of a kind; its attempts in a row are not limited, only the waits between them are.
  package init(
    _ resources: any ResourceService, _ kind: ResourceKind, namespace: String?, options: ListOptions = ListOptions(),
    retry: RetryPolicy = RetryPolicy(attempts: .max, firstDelay: .milliseconds(50), longestDelay: .seconds(2))
  ) {
    self.resources = resources
    self.kind = kind
    self.namespace = namespace
    self.options = options
    self.retry = retry
  }

  /// Calls `handle` with each update until the task is cancelled, or an error comes that waiting does not cure (400,
  /// 401, 403, 404, 405), which is thrown.
  package func run(_ handle: (Update) async throws -> Void) async throws {
    var version: String?
    var failures = 0
    while !Task.isCancelled {
      do {
        if version == nil {
          let list = try await resources.list(kind, namespace: namespace, options: options)
          try await handle(.listed(list))
          version = list.resourceVersion
        }
        let events = try await resources.watch(kind, namespace: namespace, options: options, after: version)
        for try await event in events {
          failures = 0
          version = event.resourceVersion ?? version
          if case .bookmark = event { continue }
          try await handle(.changed(event))
        }
      } catch let status as APIStatus where status.code == 410 {
        version = nil
      } catch let status as APIStatus where !Self.final.contains(status.code) {
        if Task.isCancelled { break }
        try await handle(.interrupted(status))
      }
      failures += 1
      let delay = retry.delay(
        afterFailure: min(failures, 32), progress: .unsent, idempotent: true, chance: Double.random(in: 0...1))
      if let delay { try await Task.sleep(for: delay) }
    }
    throw CancellationError()
  }

  private static let final: Set<Int> = [400, 401, 403, 404, 405]
}

extension WatchEvent {
  /// The version that the event brings its watcher to.
  package var resourceVersion: String? {
    switch self {
    case .added(let object), .modified(let object), .deleted(let object):
      object.at(path: "metadata.resourceVersion")?.stringValue
    case .bookmark(let version, _): version
    }
  }
}
