package import ClusterAPI
package import ClusterModel
import FoundationEssentials
import StateStore

/// The resource API over the stores: admission, versions, generations, subresources.
package final class ResourceRegistry: ResourceService, Sendable {
  let objects: ObjectStore
  let overlay: SoftOverlay
  let vault: SecretVault
  /// Asks for the end of a pod; answers whether there was one.
  let endPod: @Sendable (_ uid: String) async -> Bool
  let now: @Sendable () -> Timestamp

  /// A registry; `endPod` is called for deletions of pods.
  package init(
    objects: ObjectStore, overlay: SoftOverlay, vault: SecretVault,
    now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }, endPod: @escaping @Sendable (String) async -> Bool
  ) {
    self.objects = objects
    self.overlay = overlay
    self.vault = vault
    self.now = now
    self.endPod = endPod
  }

  /// One object as clients see it.
  package func get(_ kind: ResourceKind, namespace: String?, name: String) async throws(APIStatus) -> JSONValue {
    guard let tree = try await objects.tree(kind, namespace, name) else { throw .notFound(kind, name) }
    return shown(tree, kind)
  }

  /// A page of objects as clients see them.
  package func list(
    _ kind: ResourceKind, namespace: String?, options: ListOptions
  ) async throws(APIStatus) -> ResourceList {
    let prefix = ObjectKeys.prefix(kind, namespace)
    var items: [JSONValue] = []
    var (after, revision) = try Self.position(options.continueToken)
    do {
      while true {
        let room = options.limit > 0 ? options.limit - items.count : StoreLimits.pageItemsMax
        let page = try await objects.store(for: kind).list(prefix: prefix, after: after, limit: room, at: revision)
        revision = page.revision
        for item in page.items {
          let object = shown(try ObjectStore.tree(item), kind)
          if matches(object, options) { items.append(object) }
        }
        after = page.next
        if after == nil || (options.limit > 0 && items.count >= options.limit) { break }
      }
    } catch {
      throw ObjectStore.status(error, kind, "")
    }
    // Events are read from the oldest to the newest; nobody looks one up by its name.
    if kind == .event, options.limit == 0 {
      items.sort { ($0["lastTimestamp"]?.stringValue ?? "") < ($1["lastTimestamp"]?.stringValue ?? "") }
    }
    let token = after.map { Data("\(revision ?? 0) \($0)".utf8).base64EncodedString() }
    return ResourceList(items: items, resourceVersion: String(revision ?? 0), continueToken: token)
  }

  private static func position(_ token: String?) throws(APIStatus) -> (String?, Int64?) {
    guard let token, !token.isEmpty else { return (nil, nil) }
    guard let data = Data(base64Encoded: token), let text = String(bytes: data, encoding: .utf8),
      let space = text.firstIndex(of: " "), let revision = Int64(text[..<space])
    else { throw .badRequest("the continue token is not one of ours; start the list again") }
    return (String(text[text.index(after: space)...]), revision)
  }

  /// Whether an object is in a selection.
  func matches(_ object: JSONValue, _ options: ListOptions) -> Bool {
    guard !options.labels.terms.isEmpty || !options.fields.terms.isEmpty else { return true }
    var labels: [String: String] = [:]
    for (key, value) in object.at(path: "metadata.labels")?.objectValue ?? [:] { labels[key] = value.stringValue }
    return options.labels.matches(labels) && options.fields.matches(object)
  }

  /// An object as clients may see it: secrets without values, functions with their soft status.
  func shown(_ tree: JSONValue, _ kind: ResourceKind) -> JSONValue {
    switch kind {
    case .secret: SecretVault.redacted(tree)
    case .function: overlay.merged(into: tree)
    case .node: overlay.merged(intoNode: tree)
    default: tree
    }
  }

  /// Stores a new object.
  package func create(
    _ kind: ResourceKind, namespace: String?, object: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    var object = object
    let name = object.at(path: "metadata.name")?.stringValue ?? ""
    if kind.namespaced, var metadata = object["metadata"] {
      let named = metadata["namespace"]?.stringValue
      if let named, let namespace, named != namespace {
        throw .badRequest("metadata.namespace \"\(named)\" is not the namespace of the request \"\(namespace)\"")
      }
      metadata["namespace"] = .string(named ?? namespace ?? "default")
      object["metadata"] = metadata
    }
    let space = kind.namespaced ? object.at(path: "metadata.namespace")?.stringValue : nil
    guard kind != .pod, kind != .event, kind != .revision, kind != .node else {
      throw .methodNotAllowed(
        "\(kind.plural) are made by the control plane; deploy a function or start a worker instead")
    }
    var admitted = try await admit(kind, object, name: name, namespace: space)
    var metadata = admitted["metadata"] ?? .object([:])
    metadata["uid"] = .string(UUIDv7.make())
    metadata["creationTimestamp"] = .string(now().wholeSeconds.description)
    metadata["generation"] = .int(1)
    metadata["deletionTimestamp"] = nil
    admitted["metadata"] = metadata
    admitted["status"] = kind == .namespace ? .object(["phase": .string("Active")]) : nil
    if kind == .function { admitted["status"] = .object(["conditions": .array([])]) }
    if kind == .secret { admitted = try vault.sealed(admitted) }
    let key = ObjectKeys.key(kind, space, name)
    for _ in 0..<ObjectStore.casAttempts {
      var compares: [StoreCompare] = [.absent(key)]
      if let space { compares.append(try await open(namespace: space)) }
      do {
        let revision = try await objects.store(for: kind).commit(
          compares, [.put(key, value: ObjectStore.bytes(of: admitted), expires: nil)])
        return shown(Self.versioned(admitted, revision), kind)
      } catch StoreError.conflict {
        if try await objects.tree(kind, space, name) != nil { throw .alreadyExists(kind, name) }
      } catch {
        throw ObjectStore.status(error, kind, name)
      }
    }
    throw .conflict(kind, name, "its namespace changes too fast")
  }

  /// That a namespace is as it is now: there, and not being deleted.
  private func open(namespace: String) async throws(APIStatus) -> StoreCompare {
    guard let tree = try await objects.tree(.namespace, nil, namespace) else { throw .notFound(.namespace, namespace) }
    guard tree.at(path: "metadata.deletionTimestamp")?.stringValue == nil else {
      throw .conflict(.namespace, namespace, "it is being deleted")
    }
    let revision = Int64(tree.at(path: "metadata.resourceVersion")?.stringValue ?? "") ?? 0
    return .modRevision(ObjectKeys.key(.namespace, nil, namespace), equals: revision)
  }

  /// Checks an object and writes its defaults in.
  func admit(
    _ kind: ResourceKind, _ object: JSONValue, name: String, namespace: String?
  ) async throws(APIStatus) -> JSONValue {
    if kind == .function {
      switch Admission.admit(function: object) {
      case .failure(let faults): throw .invalid(kind, name, faults)
      case .success(let function):
        do { return try JSONValue(encoding: function) } catch { throw .internalError("\(error)") }
      }
    }
    let schema = Schemas.object(kind)
    let faults = schema.faults(in: object)
    guard faults.isEmpty else { throw .invalid(kind, name, Faults(all: faults)) }
    return schema.withDefaults(object)
  }

  /// A tree with a resourceVersion.
  static func versioned(_ tree: JSONValue, _ revision: Int64) -> JSONValue {
    var tree = tree
    var metadata = tree["metadata"] ?? .object([:])
    metadata["resourceVersion"] = .string(String(revision))
    tree["metadata"] = metadata
    return tree
  }
}
