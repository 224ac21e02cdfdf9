import ClusterAPI
import ClusterModel
import Foundation
import Synchronization

/// A small resource service in memory: versions, selectors, watches, a horizon before which watches are refused.
final class FakeResources: ResourceService {
  private struct Key: Hashable {
    let kind: ResourceKind
    let namespace: String
    let name: String
  }

  private struct Watcher {
    let kind: ResourceKind
    let namespace: String?
    let options: ListOptions
    let sink: AsyncThrowingStream<WatchEvent, any Error>.Continuation
  }

  private struct State {
    var version = 100
    var objects: [Key: JSONValue] = [:]
    var history: [(version: Int, key: Key, event: WatchEvent)] = []
    var watchers: [Int: Watcher] = [:]
    var nextWatcher = 0
    var oldest = 0
    var failures: [APIStatus] = []
    var refusesWatches = false
  }

  private let state = Mutex(State())

  /// Watches that are open.
  var watchers: Int { state.withLock { $0.watchers.count } }

  /// Forgets history: watches from before now are refused with 410.
  func compact() { state.withLock { $0.oldest = $0.version } }

  /// Ends every open watch, as a server that goes down does.
  func dropWatchers() {
    let sinks = state.withLock { state in
      defer { state.watchers = [:] }
      return state.watchers.values.map(\.sink)
    }
    for sink in sinks { sink.finish() }
  }

  /// Whether watches are refused with 503.
  func refuseWatches(_ refuses: Bool) { state.withLock { $0.refusesWatches = refuses } }

  /// The next calls of `get` throw these, one each.
  func fail(_ failures: [APIStatus]) { state.withLock { $0.failures = failures } }

  func get(_ kind: ResourceKind, namespace: String?, name: String) async throws(APIStatus) -> JSONValue {
    let result: Result<JSONValue, APIStatus> = state.withLock { state in
      if !state.failures.isEmpty { return .failure(state.failures.removeFirst()) }
      guard let object = state.objects[Key(kind: kind, namespace: namespace ?? "", name: name)] else {
        return .failure(.notFound(kind, name))
      }
      return .success(object)
    }
    return try result.get()
  }

  func list(
    _ kind: ResourceKind, namespace: String?, options: ListOptions
  ) async throws(APIStatus) -> ResourceList {
    state.withLock { state in
      var items = state.objects.filter { $0.key.kind == kind && (namespace == nil || $0.key.namespace == namespace) }
        .sorted { ($0.key.namespace, $0.key.name) < ($1.key.namespace, $1.key.name) }.map(\.value)
        .filter { Self.matches($0, options) }
      let start = options.continueToken.flatMap { Int($0) } ?? 0
      items = Array(items.dropFirst(start))
      var token: String?
      if options.limit > 0, items.count > options.limit {
        items = Array(items.prefix(options.limit))
        token = String(start + options.limit)
      }
      return ResourceList(items: items, resourceVersion: String(state.version), continueToken: token)
    }
  }

  func create(_ kind: ResourceKind, namespace: String?, object: JSONValue) async throws(APIStatus) -> JSONValue {
    guard let name = object.at(path: "metadata.name")?.stringValue else {
      throw .invalid(kind, "", Faults(all: [Fault(path: "metadata.name", message: "is required")]))
    }
    if kind == .function {
      let faults = Schemas.function.faults(in: object)
      if !faults.isEmpty { throw .invalid(kind, name, Faults(all: faults)) }
    }
    let key = Key(kind: kind, namespace: namespace ?? "", name: name)
    return try change { state throws(APIStatus) in
      if state.objects[key] != nil { throw .alreadyExists(kind, name) }
      var object = object
      var metadata = object["metadata"] ?? .object([:])
      if let namespace { metadata["namespace"] = .string(namespace) }
      if metadata["uid"] == nil { metadata["uid"] = .string(UUIDv7.make()) }
      if metadata["creationTimestamp"] == nil {
        metadata["creationTimestamp"] = .string(Timestamp.now().wholeSeconds.description)
      }
      object["metadata"] = metadata
      return (key, object, true)
    }
  }

  func update(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, object: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    let key = Key(kind: kind, namespace: namespace ?? "", name: name)
    return try change { state throws(APIStatus) in
      guard let current = state.objects[key] else { throw .notFound(kind, name) }
      if subresource == .scale { return (key, Self.scaled(current, object), false) }
      guard object.at(path: "metadata.resourceVersion") == current.at(path: "metadata.resourceVersion") else {
        throw .conflict(kind, name, "the object has been modified")
      }
      if subresource == .status {
        var next = current
        next["status"] = object["status"]
        return (key, next, false)
      }
      return (key, object, false)
    }
  }

  func patch(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, patch: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    let key = Key(kind: kind, namespace: namespace ?? "", name: name)
    return try change { state throws(APIStatus) in
      guard let current = state.objects[key] else { throw .notFound(kind, name) }
      if subresource == .scale { return (key, Self.scaled(current, patch), false) }
      return (key, current.merging(patch: patch), false)
    }
  }

  private static func scaled(_ object: JSONValue, _ scale: JSONValue) -> JSONValue {
    let replicas = scale.at(path: "spec.replicas") ?? .int(0)
    return object.merging(patch: .object(["spec": .object(["scale": .object(["min": replicas])])]))
  }

  func delete(_ kind: ResourceKind, namespace: String?, name: String, uid: String?) async throws(APIStatus) -> JSONValue
  {
    let key = Key(kind: kind, namespace: namespace ?? "", name: name)
    let result: Result<JSONValue, APIStatus> = state.withLock { state in
      guard let current = state.objects[key] else { return .failure(.notFound(kind, name)) }
      if let uid, current.at(path: "metadata.uid")?.stringValue != uid {
        return .failure(.conflict(kind, name, "the uid is another"))
      }
      state.objects[key] = nil
      Self.publish(&state, key, { .deleted($0) }, of: current)
      return .success(current)
    }
    return try result.get()
  }

  func watch(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) async throws(APIStatus) -> AsyncThrowingStream<WatchEvent, any Error> {
    let (stream, sink) = AsyncThrowingStream<WatchEvent, any Error>.makeStream(bufferingPolicy: .bufferingOldest(1000))
    let result: Result<Int, APIStatus> = state.withLock { state in
      let watcher = Watcher(kind: kind, namespace: namespace, options: options, sink: sink)
      if state.refusesWatches { return .failure(.unavailable("not now")) }
      if let after = resourceVersion.flatMap({ Int($0) }) {
        guard after >= state.oldest else { return .failure(.expired("version \(after) is too old")) }
        for entry in state.history where entry.version > after { Self.send(entry.event, of: entry.key, to: watcher) }
      } else {
        for (key, object) in state.objects { Self.send(.added(object), of: key, to: watcher) }
      }
      sink.yield(.bookmark(resourceVersion: String(state.version)))
      state.nextWatcher += 1
      state.watchers[state.nextWatcher] = watcher
      return .success(state.nextWatcher)
    }
    let id = try result.get()
    sink.onTermination = { [weak self] _ in self?.state.withLock { $0.watchers[id] = nil } }
    return stream
  }

  private static func matches(_ object: JSONValue, _ options: ListOptions) -> Bool {
    let labels = (object.at(path: "metadata.labels")?.objectValue ?? [:]).compactMapValues(\.stringValue)
    return options.labels.matches(labels) && options.fields.matches(object)
  }

  private static func send(_ event: WatchEvent, of key: Key, to watcher: Watcher) {
    guard key.kind == watcher.kind, watcher.namespace == nil || watcher.namespace == key.namespace else { return }
    if case .added(let object) = event, !matches(object, watcher.options) { return }
    if case .modified(let object) = event, !matches(object, watcher.options) { return }
    if case .deleted(let object) = event, !matches(object, watcher.options) { return }
    watcher.sink.yield(event)
  }

  private static func publish(
    _ state: inout State, _ key: Key, _ event: (JSONValue) -> WatchEvent, of object: JSONValue
  ) {
    state.version += 1
    var object = object
    var metadata = object["metadata"] ?? .object([:])
    metadata["resourceVersion"] = .string(String(state.version))
    object["metadata"] = metadata
    let event = event(object)
    state.history.append((state.version, key, event))
    for watcher in state.watchers.values { send(event, of: key, to: watcher) }
  }

  private func change(
    _ body: (inout State) throws(APIStatus) -> (Key, JSONValue, Bool)
  ) throws(APIStatus) -> JSONValue {
    let result: Result<JSONValue, APIStatus> = state.withLock { state in
      do throws(APIStatus) {
        var (key, object, isNew) = try body(&state)
        var metadata = object["metadata"] ?? .object([:])
        metadata["resourceVersion"] = .string(String(state.version + 1))
        object["metadata"] = metadata
        state.objects[key] = object
        Self.publish(&state, key, { isNew ? .added($0) : .modified($0) }, of: object)
        return .success(object)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}
