package import ClusterAPI
package import ClusterModel
import FoundationEssentials
package import StateStore

/// Typed access to stored objects for the control plane's own parts.
///
/// Bytes in the store carry no resourceVersion; it is written in on the way out from the store's revision.
package struct ObjectStore: Sendable {
  /// Attempts of a read-change-write before it gives up with a conflict.
  static let casAttempts = 16

  /// The store of intent.
  package let durable: any StateStore
  /// The store of soft kinds.
  package let soft: any StateStore

  /// A view of both stores.
  package init(durable: any StateStore, soft: any StateStore) {
    self.durable = durable
    self.soft = soft
  }

  /// The store of a kind.
  func store(for kind: ResourceKind) -> any StateStore { kind.soft ? soft : durable }

  /// An object as a tree with its resourceVersion, or nil.
  func tree(_ kind: ResourceKind, _ namespace: String?, _ name: String) async throws(APIStatus) -> JSONValue? {
    do {
      let object = try await store(for: kind).get(ObjectKeys.key(kind, namespace, name))
      return try object.map(Self.tree)
    } catch {
      throw Self.status(error, kind, name)
    }
  }

  /// A typed object, or nil.
  package func get<Object: Resource>(
    _ type: Object.Type, _ namespace: String?, _ name: String
  ) async throws(APIStatus) -> Object? {
    do {
      let object = try await store(for: type.kind).get(ObjectKeys.key(type.kind, namespace, name))
      return try object.map { try Self.typed($0) }
    } catch {
      throw Self.status(error, type.kind, name)
    }
  }

  /// Every typed object of a kind, with the revision; objects that cannot be decoded are left out and named.
  package func all<Object: Resource>(
    _ type: Object.Type
  ) async throws(APIStatus) -> (objects: [Object], damaged: [String], revision: Int64) {
    do {
      let page = try await store(for: type.kind).listAll(prefix: ObjectKeys.prefix(type.kind, nil))
      var objects: [Object] = []
      var damaged: [String] = []
      for item in page.items {
        if let object: Object = try? Self.typed(item) {
          objects.append(object)
        } else {
          damaged.append(item.key)
        }
      }
      return (objects, damaged, page.revision)
    } catch {
      throw Self.status(error, type.kind, "")
    }
  }

  /// Reads, changes and writes an object until nobody came between; nil from `change` writes nothing.
  @discardableResult
  package func change<Object: Resource>(
    _ type: Object.Type, _ namespace: String?, _ name: String, _ change: (inout Object) -> Bool
  ) async throws(APIStatus) -> Object? {
    for _ in 0..<Self.casAttempts {
      guard var object = try await get(type, namespace, name) else { return nil }
      let revision = Int64(object.metadata.resourceVersion ?? "") ?? 0
      guard change(&object) else { return object }
      let key = ObjectKeys.key(type.kind, namespace, name)
      do {
        let bytes = try Self.bytes(of: object)
        let written = try await store(for: type.kind).commit(
          [.modRevision(key, equals: revision)], [.put(key, value: bytes, expires: nil)])
        object.metadata.resourceVersion = String(written)
        return object
      } catch StoreError.conflict {
        continue
      } catch {
        throw Self.status(error, type.kind, name)
      }
    }
    throw .conflict(type.kind, name, "it changes too fast; \(Self.casAttempts) attempts failed")
  }

  /// The bytes of an object as they are stored: without resourceVersion.
  static func bytes(of object: some Resource) throws -> [UInt8] {
    var object = object
    object.metadata.resourceVersion = nil
    return Array(try JSONCoding.encoder.encode(object))
  }

  /// The bytes of a tree as they are stored.
  static func bytes(of tree: JSONValue) -> [UInt8] {
    var tree = tree
    if var metadata = tree["metadata"] {
      metadata["resourceVersion"] = nil
      tree["metadata"] = metadata
    }
    return Array(tree.encoded())
  }

  /// A stored object with its resourceVersion.
  static func typed<Object: Resource>(_ stored: StoredObject) throws -> Object {
    var object = try JSONDecoder().decode(Object.self, from: Data(stored.value))
    object.metadata.resourceVersion = String(stored.modRevision)
    return object
  }

  /// A stored object as a tree with its resourceVersion.
  static func tree(_ object: StoredObject) throws -> JSONValue {
    var tree = try JSONValue(bytes: object.value)
    if var metadata = tree["metadata"] {
      metadata["resourceVersion"] = .string(String(object.modRevision))
      tree["metadata"] = metadata
    }
    return tree
  }

  /// A store's error in the API's words.
  static func status(_ error: any Error, _ kind: ResourceKind, _ name: String) -> APIStatus {
    switch error {
    case let status as APIStatus: status
    case StoreError.conflict:
      .conflict(kind, name, "the object has been modified; read it again and apply your change to it")
    case StoreError.compacted, StoreError.futureRevision:
      .expired("that resource version is no longer kept; list again and watch from there")
    case StoreError.tooLarge, StoreError.tooManyOperations: .tooLarge("\(error)")
    case StoreError.full: .storageFull("the disk of the control plane is full; nothing was written: \(error)")
    default: .internalError("the store failed while working on \(kind.plural) \"\(name)\": \(error)")
    }
  }
}
