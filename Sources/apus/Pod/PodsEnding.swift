import ClusterAPI
import ClusterModel

/// Waits until every pod of a selection is gone, by watching.
struct PodsEnding {
  /// The cluster.
  let cluster: ClusterConnection
  /// The namespace; nil for all.
  let namespace: String?
  /// Labels the pods carry.
  let labels: LabelSelector
  /// Which of them count.
  let counts: @Sendable (Pod) -> Bool

  /// Returns when none is left; throws a `Failure` when some are after so many milliseconds.
  func run(atMost milliseconds: Int64, changed: @escaping @Sendable (Int) -> Void) async throws {
    let failure = Failure(
      "some pods are still there after \(TimeSpan(milliseconds: milliseconds))",
      next: "`apus get pods -A -o wide` shows them; they end by themselves when their calls do.")
    try await Deadline.within(milliseconds, else: failure) { try await untilGone(changed) }
  }

  private func untilGone(_ changed: @Sendable (Int) -> Void) async throws {
    var options = ListOptions()
    options.labels = labels
    while true {
      let page = try await cluster.resources.list(.pod, namespace: namespace, options: options)
      var left = Set(page.items.compactMap(alive))
      changed(left.count)
      if left.isEmpty { return }
      let events = try await cluster.resources.watch(
        .pod, namespace: namespace, options: options, after: page.resourceVersion)
      do {
        for try await event in events {
          switch event {
          case .added(let object), .modified(let object):
            guard let uid = object.at(path: "metadata.uid")?.stringValue else { continue }
            if alive(object) == nil { left.remove(uid) } else { left.insert(uid) }
          case .deleted(let object):
            if let uid = object.at(path: "metadata.uid")?.stringValue { left.remove(uid) }
          case .bookmark: continue
          }
          changed(left.count)
          if left.isEmpty { return }
        }
      } catch let status as APIStatus where status.code == 410 {
        continue
      }
    }
  }

  /// The uid of a pod that counts and is not gone.
  private func alive(_ object: JSONValue) -> String? {
    guard let pod = try? object.decoded(as: Pod.self), pod.status.apus.life != .gone, counts(pod) else { return nil }
    return pod.metadata.uid
  }
}

/// Work with a bound on its time.
enum Deadline {
  /// The work's answer; throws `failure` when it takes longer than so many milliseconds.
  static func within<T: Sendable>(
    _ milliseconds: Int64, else failure: Failure, _ work: @escaping @Sendable () async throws -> T
  ) async throws -> T {
    try await withThrowingTaskGroup(of: T?.self) { group in
      group.addTask { try await work() }
      group.addTask {
        try await Task.sleep(for: .milliseconds(milliseconds))
        return nil
      }
      defer { group.cancelAll() }
      guard let first = try await group.next(), let answer = first else { throw failure }
      return answer
    }
  }
}
