import ClusterAPI
import ClusterModel

/// Writes functions so that a change by someone else meanwhile is never lost.
struct FunctionWrite {
  /// Times a write is tried when the object changed meanwhile.
  static let attempts = 8

  /// The cluster.
  let cluster: ClusterConnection
  /// The namespace.
  let namespace: String

  /// Reads a function, changes it, and writes it back; again when someone came between.
  func change(_ name: String, _ change: (inout JSONValue) throws -> Void) async throws -> Function {
    for attempt in 1... {
      var object = try await cluster.object(.function, name, in: namespace)
      try change(&object)
      do {
        return try await cluster.resources.update(
          .function, namespace: namespace, name: name, subresource: nil, object: object
        ).decoded(as: Function.self)
      } catch let status as APIStatus where status.reason == "Conflict" && attempt < Self.attempts {
        continue
      }
    }
    throw Failure("\(name) changes too fast to be written")
  }

  /// Writes a function that is not there yet; a conflict when it is.
  func create(_ manifest: JSONValue) async throws -> Function {
    var object = manifest
    object["status"] = nil
    var metadata = object["metadata"] ?? .object([:])
    metadata["namespace"] = .string(namespace)
    object["metadata"] = metadata
    return try await cluster.resources.create(.function, namespace: namespace, object: object)
      .decoded(as: Function.self)
  }

  /// Puts a manifest's metadata and spec in place: a new function, or a new spec of the one that is there.
  ///
  /// What the manifest does not say about scale stays as `apus scale` left it.
  func apply(_ manifest: JSONValue, name: String) async throws -> Function {
    do {
      return try await create(manifest)
    } catch let status as APIStatus where status.reason == "AlreadyExists" {
      return try await change(name) { current in current = FunctionWrite.merged(manifest, into: current) }
    }
  }

  /// The stored object with the manifest's spec, labels and annotations.
  static func merged(_ manifest: JSONValue, into current: JSONValue) -> JSONValue {
    var next = current
    var spec = manifest["spec"] ?? .object([:])
    if spec["scale"] == nil { spec["scale"] = current["spec"]?["scale"] }
    next["spec"] = spec
    var metadata = current["metadata"] ?? .object([:])
    for part in ["labels", "annotations"] {
      if let given = manifest["metadata"]?[part] { metadata[part] = given }
    }
    next["metadata"] = metadata
    return next
  }
}
