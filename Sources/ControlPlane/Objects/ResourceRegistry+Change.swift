package import ClusterAPI
package import ClusterModel
import HTTPService
import FoundationEssentials
import StateStore

extension ResourceRegistry {
  /// Replaces an object; it must carry the current resourceVersion.
  package func update(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, object: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    if subresource == .scale {
      return try await patch(kind, namespace: namespace, name: name, subresource: .scale, patch: object)
    }
    guard let current = try await objects.tree(kind, namespace, name) else { throw .notFound(kind, name) }
    guard let version = object.at(path: "metadata.resourceVersion")?.stringValue else {
      throw .conflict(kind, name, "an update needs metadata.resourceVersion; read the object and change that")
    }
    guard version == current.at(path: "metadata.resourceVersion")?.stringValue else {
      throw .conflict(kind, name, "the object has been modified; read it again and apply your change to it")
    }
    return try await write(kind, namespace, name, from: current, to: object, subresource)
  }

  /// Applies a merge patch, again when somebody came between.
  package func patch(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, patch: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    let pinned = patch.at(path: "metadata.resourceVersion")?.stringValue
    var last = APIStatus.conflict(kind, name, "it changes too fast")
    for _ in 0..<ObjectStore.casAttempts {
      guard let current = try await objects.tree(kind, namespace, name) else { throw .notFound(kind, name) }
      if let pinned, pinned != current.at(path: "metadata.resourceVersion")?.stringValue {
        throw .conflict(kind, name, "the object has been modified; read it again and apply your change to it")
      }
      do {
        let changed = try Self.applied(patch, to: current, kind, subresource)
        return try await write(kind, namespace, name, from: current, to: changed, subresource)
      } catch  where error.reason == "Conflict" && pinned == nil {
        last = error
      }
    }
    throw last
  }

  private static func applied(
    _ patch: JSONValue, to current: JSONValue, _ kind: ResourceKind, _ subresource: Subresource?
  ) throws(APIStatus) -> JSONValue {
    if kind == .secret { return SecretVault.patched(current, with: patch) }
    guard subresource == .scale else { return current.merging(patch: patch) }
    guard kind == .function, let replicas = patch.at(path: "spec.replicas")?.intValue else {
      throw .badRequest("scale needs spec.replicas, a number of pods, and a function")
    }
    let most = max(current.at(path: "spec.scale.max")?.intValue ?? 1, replicas)
    return current.merging(
      patch: .object(["spec": .object(["scale": .object(["min": .int(replicas), "max": .int(most)])])]))
  }

  private func write(
    _ kind: ResourceKind, _ namespace: String?, _ name: String, from current: JSONValue, to object: JSONValue,
    _ subresource: Subresource?
  ) async throws(APIStatus) -> JSONValue {
    guard !kind.soft, kind != .revision || subresource == .status else {
      throw .methodNotAllowed("\(kind.plural) cannot be changed; they follow from functions and workers")
    }
    var next = try await admitChange(kind, namespace, name, from: current, to: object, subresource)
    let specChanged = next["spec"] != current["spec"]
    var metadata = next["metadata"] ?? .object([:])
    for fixed in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "resourceVersion"] {
      metadata[fixed] = current["metadata"]?[fixed]
    }
    let generation = current.at(path: "metadata.generation")?.intValue ?? 1
    metadata["generation"] = .int(specChanged ? generation + 1 : generation)
    next["metadata"] = metadata
    if next == current { return shown(current, kind) }
    let key = ObjectKeys.key(kind, namespace, name)
    let revision = Int64(current.at(path: "metadata.resourceVersion")?.stringValue ?? "") ?? 0
    do {
      let written = try await objects.store(for: kind).commit(
        [.modRevision(key, equals: revision)], [.put(key, value: ObjectStore.bytes(of: next), expires: nil)])
      return shown(Self.versioned(next, written), kind)
    } catch {
      throw ObjectStore.status(error, kind, name)
    }
  }

  /// What a change may become: status through its subresource only, everything else admitted anew.
  private func admitChange(
    _ kind: ResourceKind, _ namespace: String?, _ name: String, from current: JSONValue, to object: JSONValue,
    _ subresource: Subresource?
  ) async throws(APIStatus) -> JSONValue {
    if subresource == .status {
      var next = current
      next["status"] = object["status"]
      try Self.readable(next, kind, name)
      return next
    }
    var object = object
    object["status"] = nil
    if kind == .secret { return try vault.merged(try await admitSecret(name, namespace, object), into: current) }
    object["apiVersion"] = object["apiVersion"] ?? current["apiVersion"]
    object["kind"] = object["kind"] ?? current["kind"]
    var admitted = try await admit(kind, object, name: name, namespace: namespace)
    admitted["status"] = current["status"]
    return admitted
  }

  /// Refuses a status that the control plane could not read back.
  private static func readable(_ object: JSONValue, _ kind: ResourceKind, _ name: String) throws(APIStatus) {
    do {
      switch kind {
      case .function: _ = try object.decoded(as: Function.self)
      case .revision: _ = try object.decoded(as: Revision.self)
      case .node: _ = try object.decoded(as: Node.self)
      default: break
      }
    } catch {
      throw APIStatus(
        code: 422, reason: "Invalid",
        message: "\(kind.rawValue) \"\(name)\" is invalid: status: \(JSONFault.words(error))")
    }
  }

  private func admitSecret(
    _ name: String, _ namespace: String?, _ object: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    var object = object
    object["sealed"] = nil
    object["apiVersion"] = object["apiVersion"] ?? .string("v1")
    object["kind"] = object["kind"] ?? .string("Secret")
    return try await admit(.secret, object, name: name, namespace: namespace)
  }

  /// Deletes an object; what belongs to it goes in the same commit.
  package func delete(
    _ kind: ResourceKind, namespace: String?, name: String, uid: String?
  ) async throws(APIStatus) -> JSONValue {
    guard var current = try await objects.tree(kind, namespace, name) else { throw .notFound(kind, name) }
    if let uid, uid != current.at(path: "metadata.uid")?.stringValue {
      throw .conflict(kind, name, "its uid is not \(uid); it is another object of that name")
    }
    switch kind {
    case .pod:
      _ = await endPod(current.at(path: "metadata.uid")?.stringValue ?? "")
      var ending = current
      var metadata = ending["metadata"] ?? .object([:])
      metadata["deletionTimestamp"] = .string(now().wholeSeconds.description)
      ending["metadata"] = metadata
      return ending
    case .event, .revision:
      throw .methodNotAllowed("\(kind.plural) are collected by the control plane; they cannot be deleted")
    case .node where overlay.isJoined(node: name):
      throw .conflict(
        kind, name,
        "its worker is joined; drain it (apus drain \(name)) and stop its worker first, or it is back at once")
    case .namespace:
      current = try await closeNamespace(name, current)
      try await emptyNamespace(name)
    default: break
    }
    try await remove(kind, namespace, name, current, uid: uid)
    return shown(current, kind)
  }

  private func remove(
    _ kind: ResourceKind, _ namespace: String?, _ name: String, _ current: JSONValue, uid: String?
  ) async throws(APIStatus) {
    let key = ObjectKeys.key(kind, namespace, name)
    let revision = Int64(current.at(path: "metadata.resourceVersion")?.stringValue ?? "") ?? 0
    do {
      var operations: [StoreOperation] = [.delete(key)]
      if kind == .function {
        let prefix = ObjectKeys.prefix(.revision, namespace) + name + "-"
        let owned = try await objects.durable.list(
          prefix: prefix, after: nil, limit: StoreLimits.operationsMax - 1, at: nil)
        for item in owned.items where (try? ObjectStore.tree(item).at(path: "spec.function")?.stringValue) == name {
          operations.append(.delete(item.key))
        }
      }
      _ = try await objects.store(for: kind).commit([.modRevision(key, equals: revision)], operations)
    } catch StoreError.conflict {
      _ = try await delete(kind, namespace: namespace, name: name, uid: uid)
    } catch {
      throw ObjectStore.status(error, kind, name)
    }
  }

  /// Marks a namespace as being deleted, so that nothing new is made in it; `default` stays. Answers it as it is then.
  private func closeNamespace(_ name: String, _ found: JSONValue) async throws(APIStatus) -> JSONValue {
    if name == "default" { throw .forbidden("the namespace \"default\" cannot be deleted") }
    var current = found
    let key = ObjectKeys.key(.namespace, nil, name)
    for _ in 0..<ObjectStore.casAttempts where current.at(path: "metadata.deletionTimestamp")?.stringValue == nil {
      let revision = Int64(current.at(path: "metadata.resourceVersion")?.stringValue ?? "") ?? 0
      var closed = current
      var metadata = closed["metadata"] ?? .object([:])
      metadata["deletionTimestamp"] = .string(now().wholeSeconds.description)
      closed["metadata"] = metadata
      closed["status"] = .object(["phase": .string("Terminating")])
      do {
        let written = try await objects.store(for: .namespace).commit(
          [.modRevision(key, equals: revision)], [.put(key, value: ObjectStore.bytes(of: closed), expires: nil)])
        return Self.versioned(closed, written)
      } catch StoreError.conflict {
        guard let next = try await objects.tree(.namespace, nil, name) else { throw .notFound(.namespace, name) }
        current = next
      } catch {
        throw ObjectStore.status(error, .namespace, name)
      }
    }
    return current
  }

  /// Deletes what a namespace holds; what somebody else deletes meanwhile is gone too.
  private func emptyNamespace(_ name: String) async throws(APIStatus) {
    for kind in [ResourceKind.function, .secret] {
      for item in try await list(kind, namespace: name, options: ListOptions()).items {
        guard let inner = item.at(path: "metadata.name")?.stringValue else { continue }
        do { _ = try await delete(kind, namespace: name, name: inner, uid: nil) } catch  where error.code == 404 {}
      }
    }
  }
}
